//go:build linux

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestKilled(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.approve(site("example.com"), "bob", "first")
	if err := syscall.Kill(h.daemon(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.eventually("the daemon has been killed", func() bool { return len(h.daemons()) == 0 })
	if _, err := os.Stat(h.socket()); err != nil {
		t.Errorf("there should be a stale socket: %v", err)
	}
	for _, action := range []string{"get", "erase", "exit"} {
		if out, err := h.helper(site("example.com"), action); out != "" || err != nil {
			t.Errorf("%s: %q, %v", action, out, err)
		}
	}
	h.approve(site("example.com"), "bob", "second")
	h.want(site("example.com"), "second")
}

func TestTerminated(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.approve(site("example.com"), "bob", "secret")
	if err := syscall.Kill(h.daemon(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	h.wantGone()
}

func TestExit(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.must(h.helper("", "exit"))
	h.approve(site("example.com"), "bob", "secret")
	h.must(h.helper("", "exit"))
	if _, err := os.Stat(h.socket()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("exit has returned, and the socket: %v", err)
	}
	h.wantNone(site("example.com"))
	h.wantGone()
}

// TestStoreWhileEnding: when the last credential is erased, the daemon ends. What
// is stored in this moment is kept, by the next one.
func TestStoreWhileEnding(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	for i := range 20 {
		password := fmt.Sprint("password", i)
		h.must(h.helper(site("example.com", "username", "bob", "password", password), "store"))
		if out := h.must(h.helper(site("example.com"), "get")); out != lines("username", "bob", "password", password) {
			t.Fatalf("round %d: %q", i, out)
		}
		h.must(h.helper(site("example.com"), "erase"))
	}
	h.wantGone()
}

// TestReplacedProgram: the program is replaced by a new one while its daemon
// runs, which goes on.
func TestReplacedProgram(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	link := func() {
		t.Helper()
		next := filepath.Join(h.dir, "next")
		err := os.Link(filepath.Join(programs, "test"), next)
		if err == nil {
			err = os.Rename(next, h.program)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	h.program = filepath.Join(h.dir, "credential-cache")
	if err := os.Link(filepath.Join(programs, "test"), h.program); err != nil {
		t.Fatal(err)
	}
	h.approve(site("example.com"), "bob", "secret")
	pid := h.daemon()
	if err := os.Remove(h.program); err != nil {
		t.Fatal(err)
	}
	link()
	h.want(site("example.com"), "secret")
	h.approve(site("example.org"), "bob", "secret")
	if now := h.daemon(); now != pid {
		t.Errorf("the daemon is %d, not %d", now, pid)
	}
}

// TestUpgrade: a daemon that speaks an older protocol is replaced when there is
// something to store. An older program does not replace a newer one's.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	current := h.program
	h.program = filepath.Join(programs, "older-credential-cache")
	h.approve(site("example.com"), "bob", "old")
	h.want(site("example.com"), "old")
	old := h.daemon()

	h.program = current
	h.wantNone(site("example.com"))
	if pid := h.daemon(); pid != old {
		t.Errorf("fill has replaced the daemon %d by %d", old, pid)
	}
	h.approve(site("example.org"), "bob", "new")
	h.eventually("one daemon", func() bool { pids := h.daemons(); return len(pids) == 1 && pids[0] != old })
	h.want(site("example.org"), "new")
	h.wantNone(site("example.com"))

	h.program = filepath.Join(programs, "older-credential-cache")
	for _, action := range []string{"store", "get", "erase"} {
		if _, err := h.helper(site("example.com", "username", "bob", "password", "p"), action); err == nil || !strings.Contains(err.Error(), "newer version") {
			t.Errorf("%s by the older program: %v", action, err)
		}
	}
	h.program = current
	h.want(site("example.org"), "new")
	h.program = filepath.Join(programs, "older-credential-cache")
	h.must(h.helper("", "exit")) // this it can
	h.wantGone()
}

// TestDirectory: where the socket is, and where it must not be.
func TestDirectory(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.approve(site("example.com"), "bob", "secret")
	for path, want := range map[string]fs.FileMode{h.socket(): fs.ModeSocket | 0o600, filepath.Dir(h.socket()): fs.ModeDir | 0o700} {
		if info, err := os.Lstat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, want)
		}
	}

	for _, name := range []string{"XDG_CACHE_HOME", "XDG_RUNTIME_DIR"} { // the later one is stronger
		dir := filepath.Join(h.dir, name)
		h.env = append(h.env, name+"="+dir)
		h.wantNone(site("example.com"))
		h.approve(site("example.com"), "bob", name)
		h.want(site("example.com"), name)
		if _, err := os.Stat(filepath.Join(dir, "credential-cache", "socket")); err != nil {
			t.Error(err)
		}
	}

	open := filepath.Join(h.dir, "open")
	file := filepath.Join(h.dir, "file")
	if err := errors.Join(os.Mkdir(open, 0o700), os.Chmod(open, 0o750), os.WriteFile(file, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	dirs := map[string]string{open: "is open to others", file: "not a directory"}
	if os.Geteuid() == 0 {
		foreign := filepath.Join(h.dir, "foreign")
		if err := errors.Join(os.Mkdir(foreign, 0o700), os.Chown(foreign, 65534, 65534)); err != nil {
			t.Fatal(err)
		}
		dirs[foreign] = "belongs to user 65534"
	}
	for dir, message := range dirs {
		for _, action := range []string{"store", "get", "erase", "serve"} {
			_, err := h.run(site("example.com", "username", "bob", "password", "p"), h.program, "--socket="+filepath.Join(dir, "socket"), action)
			if err == nil || !strings.Contains(err.Error(), message) {
				t.Errorf("%s in %s: %v, want %q", action, dir, err, message)
			}
		}
		entries, _ := os.ReadDir(dir)
		if len(entries) > 0 {
			t.Errorf("%s has %v", dir, entries)
		}
	}
}
