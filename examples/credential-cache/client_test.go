package main

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"example.com/simpleipc"
)

func TestPersist(t *testing.T) {
	other := errors.New("other")
	for name, c := range map[string]struct {
		first  string
		err    error
		calls  int
		answer string
		want   error
	}{
		"answered":  {"yes", nil, 1, "yes", nil},
		"failed":    {"", other, 1, "", other},
		"ending":    {closing, nil, 2, "again", nil},
		"hung up":   {"", fmt.Errorf("call: %w", simpleipc.ErrConnClosed), 2, "again", nil},
		"too busy":  {"", &simpleipc.Error{State: simpleipc.NotListening, Err: simpleipc.ErrBusy}, 2, "again", nil},
		"has gone":  {"", &simpleipc.Error{State: simpleipc.NotListening, Err: other}, 1, "", other},
		"not there": {"", &simpleipc.Error{State: simpleipc.PathNotFound, Err: other}, 1, "", other},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			answer, err := persist(t.Context(), func() ([]byte, error) {
				if calls++; calls == 1 {
					return []byte(c.first), c.err
				}
				return []byte("again"), nil
			})
			if calls != c.calls || string(answer) != c.answer || !errors.Is(err, c.want) {
				t.Errorf("after %d calls: %q, %v", calls, answer, err)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		answer, err := persist(ctx, func() ([]byte, error) { return []byte(closing), nil })
		if answer != nil || err == nil {
			t.Errorf("a daemon that never ends: %q, %v", answer, err)
		}
	})
}
