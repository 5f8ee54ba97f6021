package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"example.com/simpleipc"
)

func TestMain(m *testing.M) {
	os.Setenv("GORACE", "atexit_sleep_ms=0") // or each process would take a second
	testscript.Main(testsOf{m}, map[string]func(){
		"simple-ipc":    main,
		"act":           act,
		"interruptible": interruptible,
	})
}

// testsOf are the tests, which leave no process behind.
type testsOf struct{ *testing.M }

func (m testsOf) Run() int {
	if err := containProcesses(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	return m.M.Run()
}

// testPatience is how long a test waits for what should take no time.
const testPatience = 60 * time.Second

// tool returns a command of the tool.
func tool(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return program(t, "simple-ipc", args...)
}

// interruptibleTool returns one that can be interrupted, and what does that.
func interruptibleTool(t *testing.T, args ...string) (cmd *exec.Cmd, interruptIt func() error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "interruptible")
	cmd = program(t, "interruptible", append([]string{path, tool(t).Path}, args...)...)
	return cmd, func() error { return interrupt(path) }
}

// program returns a command of the test's own.
func program(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return exec.Command(exe, args...)
}

// makeLink makes a symbolic link, and reports whether it leads to target. On
// Windows not everybody may do that, and under Wine it has no effect.
func makeLink(target, name string) (bool, error) {
	err := os.Symlink(target, name)
	if err == nil {
		_, err = os.Stat(name)
	}
	if runtime.GOOS == "windows" {
		return err == nil, nil
	}
	return true, err
}

// awaitServer waits until a server listens at path, and returns its process.
func awaitServer(path string) (simpleipc.Peer, error) {
	d := simpleipc.Dialer{WaitNotFound: true, Timeout: testPatience}
	c, err := d.Dial(context.Background(), path)
	if err != nil {
		return simpleipc.Peer{}, err
	}
	defer c.Close()
	return c.Peer(), nil
}

// awaitSilence waits until the server with this process ID does not listen any
// more, or any server if the ID is 0.
func awaitSilence(path string, pid int) error {
	d := simpleipc.Dialer{NoWaitBusy: true}
	return await(func() bool {
		c, err := d.Dial(context.Background(), path)
		if err != nil {
			return true
		}
		defer c.Close()
		return pid > 0 && c.Peer().PID != pid
	})
}

// awaitMatch waits until there is a file of this pattern.
func awaitMatch(t *testing.T, pattern string) (path string) {
	t.Helper()
	err := await(func() bool {
		found, _ := filepath.Glob(pattern)
		if len(found) > 0 {
			path = found[0]
		}
		return len(found) > 0
	})
	if err != nil {
		t.Fatalf("there is no %s: %v", pattern, err)
	}
	return path
}

// awaitEnd waits until the process has ended.
func awaitEnd(t *testing.T, pid int) {
	t.Helper()
	if err := await(func() bool { return hasEnded(pid) }); err != nil {
		t.Errorf("process %d has not ended: %v", pid, err)
	}
}

// await waits for what gives no sign when it happens.
func await(happened func() bool) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for late := time.After(testPatience); !happened(); {
		select {
		case <-tick.C:
		case <-late:
			return fmt.Errorf("waited for %v", testPatience)
		}
	}
	return nil
}
