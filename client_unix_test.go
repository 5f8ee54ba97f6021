//go:build unix

package simpleipc

import (
	"context"
	"errors"
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
