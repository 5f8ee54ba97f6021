//go:build unix

package daemon

import (
	"os"
	"strconv"
	"syscall"
	"testing"

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
	pid := ask(t, d, "pid")
	for request, want := range map[string]string{
		"session":                     pid,
		"dir":                         "/",
		"env " + stderrEnv:            "",
		"file 0":                      os.DevNull,
		"file 1":                      os.DevNull,
		"file 2":                      os.DevNull,
		"file " + strconv.Itoa(fd):    "",
		"env " + roleEnv:              "server",
		"say nobody listens to this":  "",
		"file " + strconv.Itoa(10000): "closed",
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

// What systemd tells a service is not for the servers that it starts.
func TestEnvironmentOfService(t *testing.T) {
	told := map[string]string{"NOTIFY_SOCKET": "/nowhere", "LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "a", "WATCHDOG_PID": "1", "WATCHDOG_USEC": "1"}
	for name, value := range told {
		t.Setenv(name, value)
	}
	t.Setenv(roleEnv, "server")
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	d := server(t)
	d.Env = nil
	for name := range told {
		if v := ask(t, d, "env "+name); v != "" {
			t.Errorf("%s is %q", name, v)
		}
	}
}
