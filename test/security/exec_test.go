//go:build linux

package security

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"example.com/simpleipc"
)

// descriptors lists what a program that is started now has open, but for files
// elsewhere, which it may have opened itself.
func descriptors(t *testing.T, dir string) map[string]bool {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	must(t, cmd.Start())
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()
	fds := fmt.Sprintf("/proc/%d/fd", cmd.Process.Pid)
	entries, err := os.ReadDir(fds)
	must(t, err)
	open := map[string]bool{}
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(fds, e.Name()))
		if err == nil && (!strings.HasPrefix(target, "/") || strings.HasPrefix(target, dir)) {
			open[e.Name()+" "+target] = true
		}
	}
	return open
}

// TestDescriptorsAreNotPassedOn: programs that a daemon or a client starts do
// not get the listening socket, a connection or anything else of this package.
// It needs no second user.
func TestDescriptorsAreNotPassedOn(t *testing.T) {
	dir, err := os.MkdirTemp("", "ipc")
	must(t, err)
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "sock")
	before := descriptors(t, dir)
	check := func(when string) {
		t.Helper()
		if now := descriptors(t, dir); !maps.Equal(now, before) {
			t.Errorf("%s: a child has %v, before it was %v", when, now, before)
		}
	}
	l, err := simpleipc.Listen(t.Context(), path)
	must(t, err)
	check("listening")
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	srv := &simpleipc.Server{Handler: simpleipc.HandlerFunc(func(_ context.Context, _ *simpleipc.ResponseWriter, r *simpleipc.Request) error {
		if string(r.Body) == "check" {
			check("in a handler")
		}
		return nil
	})}
	go func() { done <- srv.Serve(ctx, l) }()
	var conns []*simpleipc.Conn
	for range 3 {
		c, err := new(simpleipc.Dialer).Dial(t.Context(), path)
		must(t, err)
		conns = append(conns, c)
		_, err = c.Call(t.Context(), []byte("check"))
		must(t, err)
	}
	check("with connections")

	// While descriptors come and go.
	busy, idle := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for busy.Err() == nil {
			if _, err := simpleipc.Call(t.Context(), path, nil); err != nil {
				t.Error(err)
				return
			}
			other, err := simpleipc.Listen(t.Context(), path+"2")
			if err != nil {
				t.Error(err)
				return
			}
			other.Close()
		}
	})
	for range 30 {
		check("meanwhile")
	}
	idle()
	wg.Wait()
	for _, c := range conns {
		c.Close()
	}
	stop()
	<-done
}
