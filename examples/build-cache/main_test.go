package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"example.com/simpleipc"
)

func TestMain(m *testing.M) {
	testscript.Main(leakCheck{m}, map[string]func(){"build-cache": main})
}

// A leakCheck fails if the tests leave goroutines.
type leakCheck struct{ *testing.M }

func (c leakCheck) Run() int {
	code := c.M.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			tmp := filepath.Join(e.WorkDir, ".tmp")
			for _, kv := range []string{
				"TMPDIR=" + tmp,
				"GORACE=atexit_sleep_ms=0", // or each process would take a second
				"GOENV=off", "GOFLAGS=-mod=mod", "GOPROXY=off", "GOTOOLCHAIN=local", "GOWORK=off",
			} {
				key, value, _ := strings.Cut(kv, "=")
				e.Setenv(key, value)
			}
			e.Defer(func() { endDaemons(t, e.WorkDir) })
			return os.MkdirAll(tmp, 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"killdaemon": cmdKillDaemon,
			"only":       cmdOnly,
		},
	})
}

// killdaemon DIR kills the daemon of the cache in DIR.
func cmdKillDaemon(ts *testscript.TestScript, _ bool, args []string) {
	pid, err := daemonPID(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(sendSignal(pid, syscall.SIGKILL))
	ts.Check(awaitEnd(pid))
}

// only DIR NAME... checks that there is nothing else in DIR.
func cmdOnly(ts *testscript.TestScript, _ bool, args []string) {
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got, want := strings.Join(names, " "), strings.Join(args[1:], " "); got != want {
		ts.Fatalf("there is '%s' in %s, and not '%s'", got, args[0], want)
	}
}

// endDaemons ends the daemons of the caches below dir.
func endDaemons(t testing.TB, dir string) {
	filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.Type() != fs.ModeSocket {
			return nil
		}
		pid, err := daemonPID(filepath.Dir(path))
		if err != nil {
			return nil // it was killed
		}
		if _, err := simpleipc.Call(context.Background(), path, []byte("quit")); err != nil {
			t.Error(err)
		}
		if err := awaitEnd(pid); err != nil {
			t.Error(err)
		}
		return nil
	})
}

func daemonPID(dir string) (int, error) {
	o := options{dir: dir}
	c, err := new(simpleipc.Dialer).Dial(context.Background(), o.socket())
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return c.Peer().PID, nil
}

// awaitEnd waits until a process has ended, even if nobody has waited for it.
func awaitEnd(pid int) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); ; {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil && sendSignal(pid, syscall.Signal(0)) != nil || strings.Contains(string(stat), ") Z ") {
			return nil
		}
		select {
		case <-tick.C:
		case <-late:
			return fmt.Errorf("process %d has not ended", pid)
		}
	}
}

func TestByteSize(t *testing.T) {
	for s, want := range map[string]byteSize{
		"1": 1, "500": 500, "4K": 4 << 10, "500M": 500 << 20, "20G": 20 << 30, "8388607T": 8388607 << 40,
		"": 0, "0": 0, "-1": 0, "G": 0, "1KK": 0, "1k": 0, "1.5G": 0, "8388608T": 0, "99999999999999999999": 0, "1 G": 0,
	} {
		var got byteSize
		if err := got.Set(s); got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d, %v; want %d", s, got, err, want)
		}
	}
}
