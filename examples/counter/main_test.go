package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/simpleipc"
)

const roleEnv = "COUNTER_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(roleEnv) != "" { // a test, or a client that starts the daemon
		main()
		return
	}
	os.Exit(m.Run())
}

// counterCommand returns the program as a command.
func counterCommand(t *testing.T, path string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, append([]string{"--socket=" + path}, args...)...)
	cmd.Env = append(os.Environ(), roleEnv+"=1", "GORACE=atexit_sleep_ms=0")
	return cmd
}

func count(t *testing.T, path string, args ...string) string {
	t.Helper()
	out, err := counterCommand(t, path, args...).CombinedOutput()
	if err != nil {
		t.Errorf("counter %q: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// TestCounter has many clients count at once, with nobody to start the daemon
// but themselves.
func TestCounter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ipc")
	t.Cleanup(func() { count(t, path, "stop") })
	const n = 20
	seen := make(map[string]bool)
	var mu sync.Mutex
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			number := count(t, path)
			mu.Lock()
			defer mu.Unlock()
			seen[number] = true
		})
	}
	all.Wait()
	for i := 1; i <= n; i++ {
		if !seen[strconv.Itoa(i)] {
			t.Errorf("nobody got %d", i)
		}
	}
	if got := count(t, path, "--add=-20"); got != "0" {
		t.Errorf("the count is %s", got)
	}
	count(t, path, "stop")
	count(t, path, "stop") // which is none any more
	if got := count(t, path); got != "1" {
		t.Errorf("a new daemon's count is %s", got)
	}
}

func TestIdle(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ipc")
	// Long enough for the request to come on a busy machine: on Windows, one that
	// meets the server's end is lost.
	count(t, path, "--idle=1s")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if s, _ := simpleipc.Probe(ctx, path); s == simpleipc.PathNotFound {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the daemon does not end")
		}
	}
}

func TestErrors(t *testing.T) {
	path, why := filepath.Join(t.TempDir(), "no", "such", "directory"), "directory of the socket"
	if runtime.GOOS == "windows" { // where the path is only a name
		path, why = filepath.Join(t.TempDir(), strings.Repeat("x", 256)), "more than 256 characters"
	}
	for _, tt := range []struct{ args, want string }{
		{"", why},
		{"count", "unknown command"},
		{"serve", why},
	} {
		out, err := counterCommand(t, path, strings.Fields(tt.args)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), tt.want) {
			t.Errorf("counter %s: %v: %s", tt.args, err, out)
		}
	}
}
