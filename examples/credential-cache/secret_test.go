//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/simpleipc"
)

// nobody is a user other than the one who runs the tests as root.
const nobody = 65534

// as runs a program as that user.
func (h *home) as(user uint32, input, program string, args ...string) (string, error) {
	cmd := exec.Command(program, args...)
	cmd.Env = append(slices.Clone(h.env), "TMPDIR="+os.TempDir())
	cmd.Dir = "/"
	cmd.Stdin = strings.NewReader(input)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s as user %d: %w: %s", program, user, err, out)
	}
	return string(out), err
}

// TestSecretsAreNowhere: a password is neither in a file nor in what the system
// tells about the daemon, nor is what Git's environment has.
func TestSecretsAreNowhere(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	secret, token := newSecret(), newSecret()
	h.env = append(h.env, "TOKEN="+token)
	h.config = []string{"http.extraHeader=Authorization: Bearer " + token}
	h.approve(site("example.com"), "bob", secret)
	h.want(site("example.com"), secret)
	pid := h.daemon()
	has := func(text []byte) bool {
		return bytes.Contains(text, []byte(secret)) || bytes.Contains(text, []byte(token))
	}

	proc := fmt.Sprintf("/proc/%d/", pid)
	for _, name := range []string{"cmdline", "environ", "status", "maps"} {
		text, err := os.ReadFile(proc + name)
		switch {
		case errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0: // nobody is told
		case err != nil:
			t.Error(err)
		case has(text):
			t.Errorf("%s%s: %q", proc, name, text)
		}
	}
	if fds, err := os.ReadDir(proc + "fd"); err == nil {
		for _, fd := range fds {
			target, err := os.Readlink(proc + "fd/" + fd.Name())
			// The runtime has files in /sys open.
			if err == nil && strings.HasPrefix(target, "/") && !strings.HasPrefix(target, "/sys/") && target != os.DevNull && target != filepath.Dir(h.socket()) {
				t.Errorf("the daemon has %s open", target)
			}
		}
	} else if os.Geteuid() == 0 {
		t.Error(err)
	}

	h.must(h.helper("", "exit"))
	h.wantGone()
	err := filepath.WalkDir(h.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if text, err := os.ReadFile(path); err != nil || has(text) {
			t.Errorf("%s: %q, %v", path, text, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestMemoryIsClosed: other processes of the same user cannot look at the daemon.
func TestMemoryIsClosed(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.approve(site("example.com"), "bob", "secret")
	proc := fmt.Sprintf("/proc/%d/", h.daemon())
	limits, err := os.ReadFile(proc + "limits")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(limits), "\nMax core file size        0                    0 ") {
		t.Errorf("core dumps have no limit of 0:\n%s", limits)
	}
	if os.Geteuid() == 0 {
		// Nobody's daemon is looked at by nobody.
		h := newHome(t)
		dir := filepath.Join(h.dir, "nobody")
		if err := errors.Join(os.Chmod(h.dir, 0o711), os.Mkdir(dir, 0o700), os.Chown(dir, nobody, nobody)); err != nil {
			t.Fatal(err)
		}
		run := func(input, action string) string {
			t.Helper()
			return h.must(h.as(nobody, input, h.program, "--socket="+filepath.Join(dir, "socket"), action))
		}
		run(site("example.com", "username", "bob", "password", "secret"), "store")
		if out := run(site("example.com"), "get"); !strings.Contains(out, "secret") {
			t.Errorf("get: %q", out)
		}
		proc := fmt.Sprintf("/proc/%d/", h.daemon())
		for _, name := range []string{"environ", "mem", "maps"} {
			if out, err := h.as(nobody, "", "head", "-c1", proc+name); err == nil {
				t.Errorf("%s can be read: %q", name, out)
			}
		}
		return
	}
	for _, name := range []string{"environ", "mem", "maps"} {
		if _, err := os.ReadFile(proc + name); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s can be read: %v", name, err)
		}
	}
}

// TestOtherUser: another user gets nothing, even if the directory and the socket
// are opened to all.
func TestOtherUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can run a process as another user")
	}
	h := newHome(t)
	dir := filepath.Join(h.dir, "root")
	if err := errors.Join(os.Chmod(h.dir, 0o711), os.Mkdir(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	secret := newSecret()
	socket := filepath.Join(dir, "socket")
	h.options = []string{"--socket=" + socket}
	h.approve(site("example.com"), "bob", secret)
	try := func(wantRefused string) {
		t.Helper()
		for _, args := range [][]string{
			{h.program, "--socket=" + socket, "get"},
			{filepath.Join(programs, "ask"), socket},
		} {
			input := site("example.com")
			if len(args) == 2 {
				input = "get\n" + input
			}
			out, err := h.as(nobody, input, args[0], args[1:]...)
			if err == nil || strings.Contains(out, secret) {
				t.Errorf("%s as another user: %q, %v", args, out, err)
			}
			if len(args) == 2 && !strings.Contains(out, wantRefused) {
				t.Errorf("another user was told %q, want %q", out, wantRefused)
			}
		}
	}
	try("permission denied")
	if err := errors.Join(os.Chmod(dir, 0o777), os.Chmod(socket, 0o666)); err != nil {
		t.Fatal(err)
	}
	try("connection closed")
	out, err := h.run("get\n"+site("example.com"), filepath.Join(programs, "ask"), socket)
	if err != nil || !strings.Contains(out, secret) {
		t.Errorf("the same by the same user: %q, %v", out, err)
	}
}

// TestForgottenIsOverwritten looks for a password in the daemon's memory.
func TestForgottenIsOverwritten(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	secret, other := newSecret(), newSecret()
	h.approve(site("example.com"), "bob", secret)
	h.approve(site("example.org"), "bob", other)
	h.want(site("example.com"), secret)
	pid := h.daemon()
	copies := func(of string) int {
		t.Helper()
		n, err := countInMemory(pid, []byte(of))
		if errors.Is(err, fs.ErrPermission) {
			t.Skip("only root can look at the daemon's memory:", err)
		}
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if copies(secret) == 0 {
		t.Fatal("the password is not in the daemon's memory: the test looks in the wrong place")
	}
	h.must(h.git(site("example.com", "username", "bob", "password", secret), "credential", "reject"))
	// Connections leave copies until their memory is used again.
	h.everyNow(200*time.Millisecond, "no copy is left", func() bool {
		for range 200 {
			if _, err := simpleipc.Call(t.Context(), h.socket(), []byte("get\n"+site("example.org"))); err != nil {
				t.Fatal(err)
			}
		}
		return copies(secret) == 0
	})
	if copies(other) == 0 {
		t.Error("the other password is not in the daemon's memory")
	}
}

// countInMemory returns how often text is in what a process can write to.
func countInMemory(pid int, text []byte) (n int, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, err
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return 0, err
	}
	defer mem.Close()
	const most = 16 << 20 // larger ones are the race detector's
	for line := range strings.Lines(string(maps)) {
		var begin, end int64
		var permissions string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &begin, &end, &permissions); err != nil || !strings.HasPrefix(permissions, "rw") || end-begin >= most {
			continue
		}
		// Parts may be unmapped meanwhile.
		data := make([]byte, end-begin)
		read, _ := mem.ReadAt(data, begin)
		n += bytes.Count(data[:read], text)
	}
	return n, nil
}
