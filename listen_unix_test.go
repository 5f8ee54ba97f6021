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
