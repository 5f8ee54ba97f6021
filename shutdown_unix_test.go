//go:build unix

package simpleipc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestShutdownIsBounded shuts a server down while its path's lock is held.
func TestShutdownIsBounded(t *testing.T) {
	l, err := ListenConfig{LockTimeout: time.Hour}.Listen(t.Context(), tempPath(t))
	if err != nil {
		t.Fatal(err)
	}
	s := serveListener(t, &Server{}, l)
	wantCall(t, s.path, "x", "x")
	release := hold(t, s.path)
	defer release()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); err != context.DeadlineExceeded {
		t.Errorf("Shutdown: %v", err)
	}
	s.wait(t)
}

// TestDrainEnds shuts down a server to which clients keep connecting, by
// another name.
func TestDrainEnds(t *testing.T) {
	s := serve(t, &Server{DrainTimeout: 50 * time.Millisecond})
	wantCall(t, s.path, "x", "x")
	other := s.path + ".other"
	if err := os.Link(s.path, other); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				c, err := connect(other)
				if err == nil {
					c.Close()
				} else if stateOf(err) != NotListening || !errors.Is(err, syscall.EAGAIN) {
					return
				}
			}
		})
	}
	s.stats(t, "connections", func(st Stats) bool { return st.Accepted > 10 })
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

// TestStolen takes the socket away in every way. The server ends in order, and
// leaves alone what has taken its place.
func TestStolen(t *testing.T) {
	for name, steal := range map[string]func(path string) (left []string, err error){
		"deleted": func(path string) ([]string, error) { return nil, os.Remove(path) },
		"replaced by a file": func(path string) ([]string, error) {
			os.Remove(path)
			return []string{"sock"}, os.WriteFile(path, []byte("precious"), 0o600)
		},
		"replaced by a directory": func(path string) ([]string, error) {
			os.Remove(path)
			return []string{"sock"}, os.Mkdir(path, 0o700)
		},
		"replaced by another server": func(path string) ([]string, error) {
			os.Remove(path)
			l, err := Listen(context.Background(), path)
			if err == nil {
				l.closeSocket() // its file stays
			}
			return []string{"sock"}, err
		},
		"renamed": func(path string) ([]string, error) {
			return []string{"elsewhere"}, os.Rename(path, filepath.Join(filepath.Dir(path), "elsewhere"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, &Server{})
			wantCall(t, s.path, "x", "x")
			left, err := steal(s.path)
			if err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			if err := s.wait(t); !errors.Is(err, ErrStolen) {
				t.Errorf("Serve: %v", err)
			}
			t.Logf("noticed after %v", time.Since(begun).Round(time.Millisecond))
			wantFiles(t, s.path, left...)
		})
	}
	t.Run("directory renamed", func(t *testing.T) {
		t.Parallel()
		s := serve(t, &Server{})
		dir := filepath.Dir(s.path)
		if err := os.Rename(dir, dir+".away"); err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir + ".away")
		if err := s.wait(t); !errors.Is(err, ErrStolen) {
			t.Errorf("Serve: %v", err)
		}
		// The socket is this server's own, wherever it is now.
		wantFiles(t, filepath.Join(dir+".away", "sock"))
	})
}

// TestStolenWithoutInotify is for when the kernel cannot watch: a timer does.
func TestStolenWithoutInotify(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("a timer is all there is")
	}
	s := start(t, child(t, "claim-unwatched", tempPath(t)))
	s.expect(t, "served")
}

func init() {
	// claim-unwatched PATH: serves the path with no descriptor left for
	// inotify, deletes the socket, and says what Serve returns.
	childFuncs["claim-unwatched"] = func(args []string) error {
		l, err := Listen(context.Background(), args[0])
		if err != nil {
			return err
		}
		var limit syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			return err
		}
		limit.Cur = 3 // below those that are open: no further one
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			return err
		}
		if w := l.watch(); w.file != nil || w.interval != checkInterval {
			return fmt.Errorf("a watch without a descriptor: %+v", w)
		}
		// Later, so that it is the timer which finds it.
		time.AfterFunc(100*time.Millisecond, func() { os.Remove(args[0]) })
		err = (&Server{Handler: HandlerFunc(echo)}).Serve(context.Background(), l)
		if !errors.Is(err, ErrStolen) {
			return err
		}
		fmt.Println("served")
		return nil
	}
}

// TestStolenLink replaces a symbolic link above the socket.
func TestStolenLink(t *testing.T) {
	dir := filepath.Dir(tempPath(t))
	for _, name := range []string{"a", "b"} {
		if err := os.MkdirAll(filepath.Join(dir, name, "run"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("a", link); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(t.Context(), filepath.Join(link, "run", "sock"))
	if err != nil {
		t.Fatal(err)
	}
	s := serveListener(t, &Server{}, l)
	wantCall(t, s.path, "x", "x")
	if err := os.Symlink("b", link+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+".new", link); err != nil {
		t.Fatal(err)
	}
	if err := s.wait(t); !errors.Is(err, ErrStolen) {
		t.Errorf("Serve: %v", err)
	}
	wantFiles(t, filepath.Join(dir, "a", "run", "sock"))
}
