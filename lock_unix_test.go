//go:build unix

package simpleipc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestLock has lock files of all kinds in the way.
func TestLock(t *testing.T) {
	old := time.Now().Add(-emptyLockLife)
	ours := fmt.Sprintf("%s%d\n", lockContent, 1)
	for _, tt := range []struct {
		name    string
		put     func(lock string) error
		err     error // of Listen
		remains bool  // the lock file
	}{
		{"of a dead process", func(lock string) error { return os.WriteFile(lock, []byte(ours), 0o600) }, nil, false},
		{"of Git, young", func(lock string) error { return os.WriteFile(lock, nil, 0o600) }, ErrLocked, true},
		{"of Git, old", func(lock string) error {
			os.WriteFile(lock, nil, 0o600)
			return os.Chtimes(lock, old, old)
		}, nil, false},
		{"of Git, from the future", func(lock string) error {
			os.WriteFile(lock, nil, 0o600)
			return os.Chtimes(lock, old.Add(time.Hour), old.Add(time.Hour))
		}, nil, false},
		{"another file", func(lock string) error { return os.WriteFile(lock, []byte("precious"), 0o600) }, ErrLocked, true},
		{"a short file", func(lock string) error { return os.WriteFile(lock, []byte("x"), 0o600) }, ErrLocked, true},
		{"directory", func(lock string) error { return os.Mkdir(lock, 0o700) }, ErrLocked, true},
		{"FIFO", func(lock string) error { return unix.Mkfifo(lock, 0o600) }, ErrLocked, true},
		{"link to nothing", func(lock string) error { return os.Symlink("nothing", lock) }, ErrLocked, true},
		{"link to a lock", func(lock string) error {
			os.WriteFile(filepath.Join(filepath.Dir(filepath.Dir(lock)), "victim"), []byte(ours), 0o600)
			return os.Symlink("../victim", lock)
		}, ErrLocked, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(filepath.Dir(tempPath(t)), "dir", "sock")
			if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := tt.put(path + lockSuffix); err != nil {
				t.Fatal(err)
			}
			before, _ := os.Lstat(path + lockSuffix)
			l, err := ListenConfig{LockTimeout: 20 * time.Millisecond}.Listen(t.Context(), path)
			if !errors.Is(err, tt.err) {
				t.Errorf("Listen: %v, want %v", err, tt.err)
			}
			if err != nil {
				t.Log(err)
			}
			var files []string
			if l != nil {
				defer l.Close()
				files = append(files, "sock")
			}
			if tt.remains {
				files = append(files, "sock.lock")
				after, err := os.Lstat(path + lockSuffix)
				if err != nil || !os.SameFile(before, after) || before.Size() != after.Size() {
					t.Errorf("the lock file has changed: %v", err)
				}
			}
			wantFiles(t, path, files...)
		})
	}
}

// TestAdoptedLockIsNotWritten plants a hard link at the lock: were it written
// to, so would be the other file.
func TestAdoptedLockIsNotWritten(t *testing.T) {
	path := tempPath(t)
	victim := filepath.Join(filepath.Dir(path), "victim")
	for _, content := range []string{"", lockContent + "is what this text begins with"} {
		if err := os.WriteFile(victim, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		old := time.Now().Add(-time.Hour)
		if err := os.Chtimes(victim, old, old); err != nil {
			t.Fatal(err)
		}
		if err := os.Link(victim, path+lockSuffix); err != nil {
			t.Fatal(err)
		}
		l, err := Listen(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		if b, err := os.ReadFile(victim); err != nil || string(b) != content {
			t.Errorf("the file has become %q, %v", b, err)
		}
		wantFiles(t, path, "victim")
	}
}

// TestLockHeld waits for a lock that a live process holds, in vain and not.
func TestLockHeld(t *testing.T) {
	path := tempPath(t)
	lock := hold(t, path)
	begun := time.Now()
	_, err := ListenConfig{LockTimeout: 50 * time.Millisecond}.Listen(t.Context(), path)
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "live process") {
		t.Errorf("Listen: %v", err)
	}
	if d := time.Since(begun); d < 50*time.Millisecond {
		t.Errorf("gave up after %v", d)
	}
	if _, err = (ListenConfig{LockTimeout: -1}).Listen(t.Context(), path); !errors.Is(err, ErrLocked) {
		t.Errorf("Listen without waiting: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err = (ListenConfig{LockTimeout: time.Hour}).Listen(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Listen until the context ends: %v", err)
	}
	wantFiles(t, path, "sock.lock")

	listening := make(chan error, 1)
	var l *Listener
	go func() {
		var err error
		l, err = ListenConfig{LockTimeout: patience}.Listen(t.Context(), path)
		listening <- err
	}()
	lock()
	if err := receive(t, listening); err != nil {
		t.Fatal(err)
	}
	l.Close()
}

// hold takes the lock of a path and returns a function that gives it up.
func hold(t testing.TB, path string) (release func()) {
	t.Helper()
	parent, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { parent.Close() })
	w, err := newWorkspace(parent, filepath.Base(path))
	if err != nil {
		t.Fatal(err)
	}
	lock, err := lockPath(t.Context(), w, filepath.Base(path), 0, func() error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	w.close()
	return lock.unlock
}

// TestCloseLeavesSocketIfLocked: without the lock, removing the socket could
// remove a newcomer's.
func TestCloseLeavesSocketIfLocked(t *testing.T) {
	path := tempPath(t)
	l, err := ListenConfig{LockTimeout: 20 * time.Millisecond}.Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	release := hold(t, path)
	if err := l.Close(); !errors.Is(err, ErrLocked) {
		t.Errorf("Close: %v", err)
	}
	release()
	wantFiles(t, path, "sock")
	l, err = Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

func init() {
	// die STEP PATH: stops at a step of Listen, says so, waits to be killed.
	childFuncs["die"] = func(args []string) error {
		step, path := args[0], args[1]
		parent, err := os.OpenRoot(filepath.Dir(path))
		if err != nil {
			return err
		}
		l := &Listener{path: path, base: filepath.Base(path), parent: parent}
		reached := func(s string) {
			if s == step {
				fmt.Println("reached")
				untilKilled()
			}
		}
		w, err := newWorkspace(parent, l.base)
		if err != nil {
			return err
		}
		reached("workspace")
		if step == "candidate" || step == "linked" {
			if _, err := newCandidate(w); err != nil {
				return err
			}
			reached("candidate")
			if err := parent.Link(w.name+"/"+candidateName, l.base+lockSuffix); err != nil {
				return err
			}
			reached("linked")
		}
		lock, err := lockPath(context.Background(), w, l.base, time.Second, l.checkFree)
		if err != nil {
			return err
		}
		reached("locked")
		if step == "bound" {
			fd, err := newStreamSocket()
			if err != nil {
				return err
			}
			if err := bindIn(w, fd, filepath.Join(filepath.Dir(path), w.name)); err != nil {
				return err
			}
			reached("bound")
		}
		if err := l.publish(w, ListenConfig{}); err != nil {
			return err
		}
		reached("published")
		lock.unlock()
		reached("unlocked")
		w.close()
		reached("listening")
		if err := l.remove(context.Background()); err != nil {
			return err
		}
		reached("removed")
		return fmt.Errorf("no such step: %s", step)
	}
}

// TestKilledAtEachStep kills a process at each step of Listen and checks that
// the next Listen succeeds and leaves nothing behind but the socket.
func TestKilledAtEachStep(t *testing.T) {
	for _, step := range []string{"workspace", "candidate", "linked", "locked", "bound", "published", "unlocked", "listening", "removed"} {
		t.Run(step, func(t *testing.T) {
			path := tempPath(t)
			c := start(t, child(t, "die", step, path))
			c.expect(t, "reached")
			c.kill()
			l, err := Listen(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			wantFiles(t, path, "sock")
		})
	}
}

// TestLiveWorkspacesStay checks that what is cleared away belongs to dead
// processes, and to this path.
func TestLiveWorkspacesStay(t *testing.T) {
	path := tempPath(t)
	dir := filepath.Dir(path)
	alive := start(t, child(t, "die", "candidate", path))
	alive.expect(t, "reached")
	for _, name := range []string{".sock.x", ".sock.12345678x", ".sock.1234567z", ".other.12345678"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, ".sock.00000000"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 7 { // these five, the live one, the socket
		t.Errorf("files: %v, %v", entries, err)
	}
}

// TestDebrisLooksLikeIt puts directories of this user where debris would be,
// as somebody else could who may rename things there. They stay as they are.
func TestDebrisLooksLikeIt(t *testing.T) {
	path := tempPath(t)
	dir := filepath.Dir(path)
	write := func(name, content string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(".sock.00000001/lock", "precious")
	write(".sock.00000002/s", "")
	write(".sock.00000003/lock", lockContent)
	write(".sock.00000003/precious", "")
	write(".sock.00000004/lock", lockContent) // debris, but for its mode
	if err := os.Chmod(filepath.Join(dir, ".sock.00000004"), 0o755); err != nil {
		t.Fatal(err)
	}
	write("elsewhere/lock", lockContent) // debris, behind a link
	if err := os.Symlink("elsewhere", filepath.Join(dir, ".sock.00000005")); err != nil {
		t.Fatal(err)
	}
	write(".sock.00000006/lock", lockContent) // debris
	before := files(t, dir)
	l, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	var want []string
	for _, f := range before {
		if !strings.HasPrefix(f, ".sock.00000006") {
			want = append(want, f)
		}
	}
	if got := files(t, dir); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("left: %q, want %q", got, want)
	}
}

// files lists what is in a directory and below, with the permissions.
func files(t testing.TB, dir string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && path != dir {
			list = append(list, strings.TrimPrefix(path, dir+"/")+" "+info.Mode().String())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}
