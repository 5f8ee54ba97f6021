//go:build unix

package simpleipc

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDotDot uses a path whose ".." follows a symbolic link.
func TestDotDot(t *testing.T) {
	dir := filepath.Dir(tempPath(t))
	if err := os.MkdirAll(filepath.Join(dir, "real", "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real/sub", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	path := dir + "/link/../sock"
	l, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, p := range []string{path, filepath.Join(dir, "real", "sock")} {
		if _, err := os.Lstat(p); err != nil {
			t.Error(err)
		}
		if state, err := Probe(t.Context(), p); state != Listening {
			t.Errorf("%s: %v, %v", p, state, err)
		}
	}
	for _, p := range []string{dir + "/link/..", "..", "../", "."} {
		if state, err := Probe(t.Context(), p); state != InvalidPath {
			t.Errorf("%s: %v, %v", p, state, err)
		}
	}
	if state, err := Probe(t.Context(), dir+"/no/../sock"); state != PathNotFound {
		t.Errorf("%v, %v", state, err)
	}
}

// TestLongPaths uses paths that no socket address holds, absolute and relative.
func TestLongPaths(t *testing.T) {
	dir := filepath.Dir(tempPath(t))
	for i := range 3 {
		dir = filepath.Join(dir, strings.Repeat(string(rune('a'+i)), 100))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	long := filepath.Join(dir, strings.Repeat("s", 240))
	relative, err := filepath.Rel(wd, long)
	if err != nil {
		t.Fatal(err)
	}
	before, err := openFiles()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "sock"), long, relative} {
		if state, err := Probe(t.Context(), path); state != PathNotFound {
			t.Errorf("Probe before: %v, %v", state, err)
		}
		l, err := Listen(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		srv := &Server{Handler: HandlerFunc(echo)}
		done := make(chan error, 1)
		go func() { done <- srv.Serve(context.Background(), l) }()
		if state, err := Probe(t.Context(), path); state != Listening {
			t.Errorf("Probe: %v, %v", state, err)
		}
		if _, err := Listen(t.Context(), path); !errors.Is(err, ErrInUse) {
			t.Errorf("Listen again: %v", err)
		}
		wantCall(t, path, "hello", "hello")
		srv.Shutdown(t.Context())
		receive(t, done)
		wantFiles(t, l.Path())
		// A stale one.
		if l, err = Listen(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		l.closeSocket()
		if state, err := Probe(t.Context(), path); state != NotListening {
			t.Errorf("Probe of a stale socket: %v, %v", state, err)
		}
		if l, err = Listen(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		l.Close()
		wantFiles(t, l.Path())
	}
	if now, err := os.Getwd(); err != nil || now != wd {
		t.Errorf("the working directory is %s now, %v", now, err)
	}
	eventually(t, "descriptors closed", func() bool {
		now, err := openFiles()
		return err == nil && now == before
	})
	if _, err := Listen(t.Context(), filepath.Join(dir, strings.Repeat("s", 256))); !errors.Is(err, ErrInvalidPath) {
		t.Errorf("a name longer than any: %v", err)
	}
}

// TestLinkAddress is for the systems where a long path takes a symbolic link.
func TestLinkAddress(t *testing.T) {
	path := tempPath(t)
	l, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	address, done, err := linkAddress(path)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := connect(address); err != errNotSocket {
		s.Close()
		t.Errorf("connect follows a link: %v", err)
	}
	fd, err := newStreamSocket()
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: address}); err != nil {
		t.Error(err)
	}
	unix.Close(fd)
	done()
	if _, err := os.Lstat(filepath.Dir(address)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the link's directory is still there: %v", err)
	}
	t.Setenv("TMPDIR", filepath.Join(filepath.Dir(path), "missing"))
	if _, _, err := linkAddress(path); err == nil {
		t.Error("no error without a directory for the link")
	}
}
