//go:build unix

package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func isWine() bool { return false }

// alive reports whether there is a process with this ID.
func alive(pid int) bool { return syscall.Kill(pid, 0) != syscall.ESRCH }

func session() int {
	sid, _ := unix.Getsid(0)
	return sid
}

func fileOfDescriptor(fd string) string {
	target, err := os.Readlink("/proc/self/fd/" + fd)
	if err != nil {
		return "closed"
	}
	return target
}

// The server has nothing of its starter.
func TestDetached(t *testing.T) {
	d := server(t)
	d.Dir = "/"
	inherited, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer inherited.Close()
	fd := int(inherited.Fd())
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
		t.Fatal(err)
	}
	const high = 200
	if err := dup2(fd, high); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(high)
	pid := ask(t, d, "pid")
	for request, want := range map[string]string{
		"session":                    pid,
		"dir":                        "/",
		"env " + stderrEnv:           "",
		"file 0":                     os.DevNull,
		"file 1":                     os.DevNull,
		"file 2":                     os.DevNull,
		"file " + strconv.Itoa(fd):   "",
		"env " + roleEnv:             "server",
		"say nobody listens to this": "",
		"file " + strconv.Itoa(high): "closed",
	} {
		got := ask(t, d, request)
		if request == "file "+strconv.Itoa(fd) {
			if got == os.DevNull {
				t.Errorf("%q: the descriptor was inherited", request)
			}
			continue
		}
		if got != want {
			t.Errorf("%q: %q", request, got)
		}
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags != 0 {
		t.Errorf("the descriptor's flags have become %d, %v", flags, err)
	}
}

// What does not listen is ended after MaxWait with all that it has started.
func TestMaxWaitEndsChildren(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"parent ignores SIGTERM": `sleep 1000 & echo $! $$ >"$0"; trap '' TERM; wait; wait`,
		"child ignores SIGTERM":  `trap '' TERM; sleep 1000 & trap - TERM; echo $! $$ >"$0"; wait`,
	} {
		d := server(t)
		file := filepath.Join(t.TempDir(), "pids")
		d.Program, d.Args = "sh", []string{"-c", script, file}
		var pids [2]int
		for d.MaxWait = 100 * time.Millisecond; pids[1] == 0; d.MaxWait *= 2 { // on a busy machine it starts late
			if err := d.Start(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("%s: %v", name, err)
			}
			text, _ := os.ReadFile(file)
			fmt.Sscan(string(text), &pids[0], &pids[1])
		}
		for _, pid := range pids {
			gone(t, pid)
		}
	}
}

// The lock that somebody has left behind, or that another user may hold, keeps
// nobody away.
func TestLockStartAfterOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ipc")
	name := filepath.Join(filepath.Dir(path), ".ipc.start")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	unlock, locked := lockStart(path)
	if !locked {
		t.Error("a lock that nobody holds cannot be had")
	}
	if _, again := lockStart(path); again {
		t.Error("it can be had twice")
	}
	if os.Getuid() == 0 {
		if err := os.Chown(name, 1, 1); err != nil {
			t.Fatal(err)
		}
		if _, locked := lockStart(path); !locked {
			t.Error("another user's lock is respected")
		}
	}
	unlock()
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it stays: %v", err)
	}
}

// What systemd tells a service is not for the servers that it starts.
func TestEnvironmentOfService(t *testing.T) {
	told := map[string]string{"NOTIFY_SOCKET": "/nowhere", "LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "a", "WATCHDOG_PID": "1", "WATCHDOG_USEC": "1"}
	for name, value := range told {
		t.Setenv(name, value)
	}
	t.Setenv(roleEnv, "server")
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	d := server(t)
	for _, d.Env = range [][]string{nil, os.Environ()} {
		for name := range told {
			if v := ask(t, d, "env "+name); v != "" {
				t.Errorf("%s is %q", name, v)
			}
		}
		stop(t, d)
	}
}
