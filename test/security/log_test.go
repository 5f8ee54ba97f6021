//go:build linux

package security

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/simpleipc"
)

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// TestLogHoldsNoMessages logs all there is to log. Of what clients send, there
// is nothing in it, not even where it was no message. What a handler returns as
// its error is in it. It needs no second user.
func TestLogHoldsNoMessages(t *testing.T) {
	dir, err := os.MkdirTemp("", "ipc")
	must(t, err)
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "sock")
	l, err := simpleipc.Listen(t.Context(), path)
	must(t, err)
	var log syncBuffer
	srv := &simpleipc.Server{
		MaxRequest:  20,
		ReadTimeout: 50 * time.Millisecond,
		Handler: simpleipc.HandlerFunc(func(_ context.Context, w *simpleipc.ResponseWriter, r *simpleipc.Request) error {
			w.Write(r.Body)
			switch {
			case bytes.HasSuffix(r.Body, []byte("fail")):
				return errors.New("the handler's own words")
			case bytes.HasSuffix(r.Body, []byte("panic")):
				panic("the handler's panic")
			}
			return nil
		}),
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(context.Background(), l) }()
	for _, sent := range []string{
		"000asecret0000",
		"000esecretfail0000",
		"000fsecretpanic0000",
		"00ffsecret",         // more than the limit
		"0010secret",         // never complete
		"000asecret0001",     // not a request
		"GET /secret HTTP/1", // nor this
	} {
		c, err := net.Dial("unix", path)
		must(t, err)
		_, err = io.WriteString(c, sent)
		must(t, err)
		if sent == "000asecret0000" {
			_, err = io.ReadFull(c, make([]byte, len(sent)))
			must(t, err)
		} else {
			io.Copy(io.Discard, c) // until it is closed
		}
		c.Close()
	}
	must(t, srv.Shutdown(t.Context()))
	<-done
	text := log.String()
	if strings.Contains(text, "secret") || strings.Contains(text, "GET") {
		t.Errorf("the log has bytes of messages in it:\n%s", text)
	}
	for _, want := range []string{"the handler's own words", "the handler's panic", "more than 20 bytes", "took longer", "protocol error"} {
		if !strings.Contains(text, want) {
			t.Errorf("the log does not have %q:\n%s", want, text)
		}
	}
}
