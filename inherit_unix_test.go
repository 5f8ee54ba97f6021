//go:build unix

package simpleipc

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inherited makes a socket that listens at path, as a service manager does.
func inherited(t testing.TB, path string) *os.File {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), "inherited")
	t.Cleanup(func() { f.Close() })
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 10); err != nil {
		t.Fatal(err)
	}
	return f
}

// A server of an inherited socket leaves it and those who wait in its queue to
// the next one.
func TestFileListener(t *testing.T) {
	path := tempPath(t)
	f := inherited(t, path)
	for range 3 {
		l, err := FileListener(f)
		if err != nil {
			t.Fatal(err)
		}
		if l.Path() != path {
			t.Errorf("its path is %q", l.Path())
		}
		s := serveListener(t, &Server{Handler: HandlerFunc(commands)}, l)
		wantCall(t, path, "echo hello", "hello")
		kept := dial(t, path)
		if _, err := kept.Call(t.Context(), []byte("quit")); err != nil {
			t.Error(err)
		}
		if err := s.wait(t); !errors.Is(err, ErrServerClosed) {
			t.Error(err)
		}
		queued := rawConn(t, path) // while nobody serves
		send(t, queued, "000eecho hello0000")
		if s, err := Probe(t.Context(), path); s != Listening {
			t.Error(s, err)
		}
		l, err = FileListener(f)
		if err != nil {
			t.Fatal(err)
		}
		serveListener(t, &Server{Handler: HandlerFunc(commands), IdleExit: time.Nanosecond}, l).wait(t)
		answer := make([]byte, len("0009hello0000"))
		if _, err := io.ReadFull(queued, answer); err != nil || string(answer) != "0009hello0000" {
			t.Errorf("the client in the queue got %q, %v", answer, err)
		}
	}
	wantFiles(t, path, filepath.Base(path))
}

// Removing the path of an inherited socket does not end its server.
func TestFileListenerIsNotStolen(t *testing.T) {
	path := tempPath(t)
	l, err := FileListener(inherited(t, path))
	if err != nil {
		t.Fatal(err)
	}
	serveListener(t, &Server{Handler: HandlerFunc(commands)}, l)
	if err := os.Rename(path, path+"2"); err != nil {
		t.Fatal(err)
	}
	if err := l.Check(); err != nil {
		t.Error(err)
	}
	wantCall(t, path+"2", "echo hello", "hello")
}

func TestFileListenerRefuses(t *testing.T) {
	path := tempPath(t)
	listening := inherited(t, path)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	closed, err := os.Open(".")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	socket := func(family, typ int) *os.File {
		fd, err := unix.Socket(family, typ, 0)
		if err != nil {
			t.Fatal(err)
		}
		return os.NewFile(uintptr(fd), "it")
	}
	file, err := os.Open(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		f    *os.File
		want string
	}{
		{os.NewFile(uintptr(pair[0]), "it"), "does not listen"},
		{os.NewFile(uintptr(pair[1]), "it"), "does not listen"},
		{socket(unix.AF_UNIX, unix.SOCK_STREAM), "does not listen"},
		{socket(unix.AF_UNIX, unix.SOCK_DGRAM), "not a stream socket"},
		{socket(unix.AF_INET, unix.SOCK_STREAM), "not a Unix domain socket"},
		{file, "looking for the socket's address"},
		{closed, "closed"},
	} {
		l, err := FileListener(tt.f)
		var e *Error
		if l != nil || !errors.As(err, &e) || e.Op != "listen" || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %s", err, tt.want)
		}
		tt.f.Close()
	}
	wantFiles(t, path, filepath.Base(path))
	_ = listening
}
