//go:build unix

package simpleipc

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestStates checks what Probe and Dial find, and what errors.Is finds in
// their errors.
func TestStates(t *testing.T) {
	path := tempPath(t)
	at := func(name string) string { return filepath.Join(filepath.Dir(path), name) }
	l, err := Listen(t.Context(), at("live"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	busy, err := ListenConfig{Backlog: 1}.Listen(t.Context(), at("busy"))
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	fillBacklog(t, at("busy"))
	staleSocket(t, at("stale"))
	os.WriteFile(at("file"), nil, 0o600)
	os.Symlink("live", at("link"))
	os.Symlink("loop", at("loop"))

	for _, tt := range []struct {
		path  string
		state State
		is    error
	}{
		{at("live"), Listening, nil},
		{at("busy"), NotListening, ErrNotListening},
		{at("stale"), NotListening, ErrNotListening},
		{at("nothing"), PathNotFound, fs.ErrNotExist},
		{at("no/directory"), PathNotFound, fs.ErrNotExist},
		{at("file"), InvalidPath, ErrInvalidPath},
		{at("file/below"), InvalidPath, syscall.ENOTDIR},
		{at("link"), InvalidPath, ErrInvalidPath},
		{at("loop/below"), InvalidPath, syscall.ELOOP},
		{filepath.Dir(path), InvalidPath, ErrInvalidPath},
		{at(strings.Repeat("x", 256)), InvalidPath, syscall.ENAMETOOLONG},
		{"", InvalidPath, ErrInvalidPath},
		{"a\x00b", InvalidPath, ErrInvalidPath},
	} {
		wantState(t, tt.path, tt.state, tt.is)
	}
	if e := newError("dial", "/x", syscall.EACCES); e.State != OtherError || !errors.Is(e, fs.ErrPermission) || errors.Is(e, fs.ErrNotExist) {
		t.Errorf("EACCES: %v", e)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if state, err := Probe(ctx, at("live")); state != OtherError || !errors.Is(err, context.Canceled) {
		t.Errorf("Probe after the context's end: %v, %v", state, err)
	}
}

// TestNoWorkingDirectory asks for a relative path in a directory that was
// removed.
func TestNoWorkingDirectory(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	wantState(t, "sock", PathNotFound, fs.ErrNotExist)
}

// TestCloseInterruptsSending closes a connection on which a large request is
// being sent that nobody reads.
func TestCloseInterruptsSending(t *testing.T) {
	started, closed := make(chan struct{}), make(chan struct{})
	path := fake(t, func(s socket) {
		io.ReadFull(s, make([]byte, 1))
		close(started)
		<-closed
	})
	c := dial(t, path)
	result := make(chan error, 1)
	go func() {
		_, err := c.Call(context.Background(), make([]byte, 10<<20))
		result <- err
	}()
	receive(t, started)
	c.Close()
	err := receive(t, result)
	close(closed)
	var e *Error
	if !errors.Is(err, ErrConnClosed) || !errors.As(err, &e) || e.MaybeSeen {
		t.Errorf("the call: %v", err)
	}
}
