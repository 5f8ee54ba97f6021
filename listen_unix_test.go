//go:build unix

package simpleipc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestListen(t *testing.T) {
	path := tempPath(t)
	l, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if l.Path() != path {
		t.Errorf("Path: %q, want %q", l.Path(), path)
	}
	wantFiles(t, path, "sock")
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := l.Check(); err != nil {
		t.Error(err)
	}
	if _, err := Listen(t.Context(), path); !errors.Is(err, ErrInUse) {
		t.Errorf("a second Listen: %v", err)
	}
	wantFiles(t, path, "sock")
	for range 2 {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	wantFiles(t, path)
}

func init() {
	// listen MODE UMASK PATH...: listens at each path, says so, waits.
	childFuncs["listen"] = func(args []string) error {
		var mode fs.FileMode
		var umask int
		if _, err := fmt.Sscanf(args[0]+" "+args[1], "%o %o", &mode, &umask); err != nil {
			return err
		}
		syscall.Umask(umask)
		for _, path := range args[2:] {
			if _, err := (ListenConfig{Mode: mode}).Listen(context.Background(), path); err != nil {
				return err
			}
		}
		fmt.Println("listening")
		untilKilled()
		return nil
	}
}

// untilKilled waits. The runtime would take select {} for a deadlock, and end
// the process.
func untilKilled() { time.Sleep(time.Hour) }

// TestMode checks the socket's permissions whatever the umask is; that takes a
// process of its own.
func TestMode(t *testing.T) {
	for _, tt := range []struct{ mode, umask, want fs.FileMode }{
		{0, 0, 0o600}, {0, 0o022, 0o600}, {0, 0o177, 0o600}, {0, 0o377, 0o600},
		{0o660, 0, 0o660}, {0o660, 0o077, 0o660}, {0o666, 0o022, 0o666},
	} {
		path := tempPath(t)
		c := start(t, child(t, "listen", fmt.Sprintf("%o", tt.mode), fmt.Sprintf("%o", tt.umask), path))
		c.expect(t, "listening")
		info, err := os.Lstat(path)
		if err != nil || info.Mode().Perm() != tt.want {
			t.Errorf("mode %o, umask %o: got %v, %v", tt.mode, tt.umask, info.Mode(), err)
		}
		wantFiles(t, path, "sock")
		c.kill()
	}
}

func TestListenMakesDirectory(t *testing.T) {
	path := filepath.Join(filepath.Dir(tempPath(t)), "run", "sock")
	l, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", info.Mode(), err)
	}
	if _, err := Listen(t.Context(), filepath.Join(filepath.Dir(path), "no", "such", "sock")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("two directories missing: %v", err)
	}
}

// TestListenRefuses puts something at the path that is no socket. It is left
// as it is.
func TestListenRefuses(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"file":             func(path string) error { return os.WriteFile(path, []byte("precious"), 0o600) },
		"directory":        func(path string) error { return os.Mkdir(path, 0o700) },
		"FIFO":             func(path string) error { return unix.Mkfifo(path, 0o600) },
		"link to nothing":  func(path string) error { return os.Symlink("nothing", path) },
		"link to a socket": func(path string) error { return os.Symlink("/run/some/socket", path) },
	} {
		t.Run(name, func(t *testing.T) {
			path := tempPath(t)
			if err := put(path); err != nil {
				t.Fatal(err)
			}
			before, _ := os.Lstat(path)
			if _, err := Listen(t.Context(), path); !errors.Is(err, ErrInvalidPath) {
				t.Errorf("Listen: %v", err)
			}
			if state, err := Probe(t.Context(), path); state != InvalidPath || !errors.Is(err, ErrInvalidPath) {
				t.Errorf("Probe: %v, %v", state, err)
			}
			after, err := os.Lstat(path)
			if err != nil || !os.SameFile(before, after) || before.Size() != after.Size() {
				t.Errorf("what was there has changed: %v", err)
			}
			wantFiles(t, path, "sock")
		})
	}
	for _, path := range []string{"", "a\x00b", "/", "dir/"} {
		if _, err := Listen(t.Context(), path); !errors.Is(err, ErrInvalidPath) {
			t.Errorf("Listen at %q: %v", path, err)
		}
	}
	file := tempPath(t)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(t.Context(), filepath.Join(file, "sock")); !errors.Is(err, ErrInvalidPath) {
		t.Errorf("Listen below a file: %v", err)
	}
}

// staleSocket leaves a socket without a server.
func staleSocket(t testing.TB, path string) {
	t.Helper()
	fd, err := newStreamSocket()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 1); err != nil {
		t.Fatal(err)
	}
}

// TestStaleSocket replaces a dead server's socket. While it does, the path is
// never without one: a client that looks all the time finds the old or the new.
func TestStaleSocket(t *testing.T) {
	for range 20 {
		path := tempPath(t)
		staleSocket(t, path)
		watching, stop := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for first := true; ; first = false {
				select {
				case <-stop:
					return
				default:
				}
				if state, err := Probe(context.Background(), path); state != NotListening && state != Listening {
					t.Errorf("the path was %v: %v", state, err)
					return
				}
				if first {
					close(watching)
				}
			}
		})
		<-watching
		l, err := Listen(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		close(stop)
		wg.Wait()
		wantFiles(t, path, "sock")
		l.Close()
	}
}

// TestUnwritableDirectory needs a user for whom permissions count.
func TestUnwritableDirectory(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere")
	}
	path := tempPath(t)
	if err := os.Chmod(filepath.Dir(path), 0o500); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(t.Context(), path); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Listen: %v", err)
	}
}
