package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"example.com/simpleipc"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"simple-ipc": main})
}

// testPatience is how long a test waits for what should take no time.
const testPatience = 20 * time.Second

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			tmp := filepath.Join(e.WorkDir, ".tmp")
			e.Setenv("TMPDIR", tmp)
			e.Setenv("GORACE", "atexit_sleep_ms=0") // or each process would take a second
			e.Defer(func() { quitAll(t, e.WorkDir) })
			return os.MkdirAll(tmp, 0o700)
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "root":
				return os.Geteuid() == 0, nil
			case "full":
				_, err := os.Stat("/dev/full")
				return err == nil, nil
			}
			return false, fmt.Errorf("unknown condition %s", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"appears":  cmdAppears,
			"await":    cmdAwait,
			"busy":     cmdBusy,
			"ended":    cmdEnded,
			"fd":       cmdFD,
			"gone":     cmdGone,
			"hangup":   cmdHangUp,
			"longpath": cmdLongPath,
			"nosocket": cmdNoSocket,
			"pairs":    cmdPairs,
			"pid":      cmdPID,
			"rows":     cmdRows,
			"shapes":   cmdShapes,
			"special":  cmdSpecial,
		},
	})
}

// quitAll ends the servers that a script has left in dir.
func quitAll(t *testing.T, dir string) {
	filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type() == fs.ModeSocket {
			ctx, cancel := context.WithTimeout(context.Background(), testPatience)
			defer cancel()
			c, err := new(simpleipc.Dialer).Dial(ctx, path)
			if err != nil {
				return nil // its server is dead
			}
			defer c.Close()
			if _, err := c.Call(ctx, []byte("quit")); err == nil {
				t.Logf("a server was still there at %s", path)
				awaitSilence(ctx, path, c.Peer().PID)
			}
		}
		return nil
	})
}

// appears FILE waits until there is a file.
func cmdAppears(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(await(func() bool {
		_, err := os.Lstat(ts.MkAbs(args[0]))
		return err == nil
	}))
}

// ended FILE waits until the process whose ID is in FILE has ended.
func cmdEnded(ts *testscript.TestScript, _ bool, args []string) {
	pid, err := strconv.Atoi(strings.TrimSpace(ts.ReadFile(args[0])))
	ts.Check(err)
	ts.Check(await(func() bool { return hasEnded(pid) }))
}

// awaitSilence waits until the server with this process ID does not listen any
// more, or any server if the ID is 0.
func awaitSilence(ctx context.Context, path string, pid int) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		c, err := new(simpleipc.Dialer).Dial(ctx, path)
		if err == nil {
			other := pid > 0 && c.Peer().PID != pid
			c.Close()
			if other {
				return nil
			}
		} else if ctx.Err() == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// await PATH waits until a server listens at PATH.
func cmdAwait(ts *testscript.TestScript, _ bool, args []string) {
	d := simpleipc.Dialer{WaitNotFound: true, Timeout: testPatience}
	c, err := d.Dial(context.Background(), ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(c.Close())
}

// busy PATH keeps a thread of the server busy until the script ends.
func cmdBusy(ts *testscript.TestScript, _ bool, args []string) {
	r, err := new(simpleipc.Dialer).CallStream(context.Background(), ts.MkAbs(args[0]), strings.NewReader("slow"))
	ts.Check(err)
	ts.Defer(func() { r.Close() })
}

// gone PATH waits until there is nothing at PATH.
func cmdGone(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), testPatience)
	defer cancel()
	ts.Check(awaitSilence(ctx, ts.MkAbs(args[0]), 0))
}

// fd VAR PATH sets VAR to the files that the server at PATH has open, without
// those of the Go runtime and its sockets.
func cmdFD(ts *testscript.TestScript, _ bool, args []string) {
	c, err := new(simpleipc.Dialer).Dial(context.Background(), ts.MkAbs(args[1]))
	ts.Check(err)
	defer c.Close()
	dir := fmt.Sprintf("/proc/%d/fd", c.Peer().PID)
	entries, err := os.ReadDir(dir)
	ts.Check(err)
	var files []string
	for _, e := range entries {
		target, _ := os.Readlink(filepath.Join(dir, e.Name()))
		if target != "" && !strings.HasPrefix(target, "socket:") && !strings.HasPrefix(target, "anon_inode:") {
			files = append(files, e.Name()+"="+target)
		}
	}
	ts.Setenv(args[0], strings.Join(files, " "))
}

// hangup PATH N keeps N threads of a server with N threads busy for seconds,
// and hangs up. Then it must have time for another request.
func cmdHangUp(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), slowRows*slowPause/2)
	defer cancel()
	path := ts.MkAbs(args[0])
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	for range n {
		r, err := new(simpleipc.Dialer).CallStream(ctx, path, strings.NewReader("slow"))
		ts.Check(err)
		defer r.Close() // in case of an error
		row := make([]byte, len(appendRow(nil, 0)))
		_, err = io.ReadFull(r, row)
		ts.Check(err)
		if !bytes.Equal(row, appendRow(nil, 0)) {
			ts.Fatalf("the first row is %q", row)
		}
		r.Close()
	}
	_, err = simpleipc.Call(ctx, path, []byte("ping"))
	ts.Check(err)
}

// longpath VAR N sets VAR to a path in the work directory that is N bytes
// long, and makes its directory.
func cmdLongPath(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	path := ts.MkAbs(".")
	for n-len(path) > 60 {
		path += "/" + strings.Repeat("d", 40)
	}
	ts.Check(os.MkdirAll(path, 0o700))
	path += "/" + strings.Repeat("s", n-len(path)-1)
	ts.Setenv(args[0], path)
}

// nosocket PATH fails if anything is at PATH or beside it that belongs to it.
func cmdNoSocket(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	entries, err := os.ReadDir(filepath.Dir(path))
	ts.Check(err)
	for _, e := range entries {
		if strings.HasPrefix(strings.TrimPrefix(e.Name(), "."), filepath.Base(path)) {
			ts.Fatalf("%s was left", e.Name())
		}
	}
}

// pairs FILE checks that FILE has a line for 7 callers, A to G, with each size
// from 19 to 31, and the line that counts them.
func cmdPairs(ts *testscript.TestScript, _ bool, args []string) {
	lines := strings.Split(ts.ReadFile(args[0]), "\n")
	if n := len(lines); n != 93 || lines[n-1] != "" || lines[n-2] != "client (good 91) (join 7), (errors 0)" {
		ts.Fatalf("%d lines, and the last is %q", n-1, lines[max(0, n-2)])
	}
	seen := make(map[string]int)
	for _, l := range lines[:91] {
		seen[l]++
	}
	for c := 'A'; c <= 'G'; c++ {
		for n := 19; n <= 31; n++ {
			want := fmt.Sprintf("sent:%c000000%d rcvd:%c000000%d", c, n, c, n)
			if seen[want] != 1 {
				ts.Fatalf("%d lines %q", seen[want], want)
			}
		}
	}
}

// pid VAR PATH sets VAR to the process ID of the server at PATH.
func cmdPID(ts *testscript.TestScript, _ bool, args []string) {
	c, err := new(simpleipc.Dialer).Dial(context.Background(), ts.MkAbs(args[1]))
	ts.Check(err)
	defer c.Close()
	ts.Setenv(args[0], strconv.Itoa(c.Peer().PID))
}

// rows FILE N checks that FILE has N numbered rows and an empty line.
func cmdRows(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	var want strings.Builder
	for i := range n {
		digits := strconv.Itoa(i)
		want.WriteString("big: " + strings.Repeat("0", 75-len(digits)) + digits + "\n")
	}
	want.WriteString("\n")
	if got := ts.ReadFile(args[0]); got != want.String() {
		ts.Fatalf("%s: %d bytes that are not the %d expected", args[0], len(got), want.Len())
	}
}

// shapes FILE... checks that no line of the files is wider than 80 columns or
// has blanks at its end, and that there are no escape sequences.
func cmdShapes(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		for _, l := range strings.Split(ts.ReadFile(name), "\n") {
			if columns(l) > 80 || strings.TrimRight(l, " ") != l || strings.ContainsAny(l, "\x1b\r\t") {
				ts.Fatalf("%s: %q", name, l)
			}
		}
	}
}

// special DIR makes things in DIR that are no regular files.
func cmdSpecial(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	ts.Check(os.Symlink("/nowhere", filepath.Join(dir, "link")))
	ts.Check(os.Symlink(dir, filepath.Join(dir, "loop")))
	ts.Check(os.WriteFile(filepath.Join(dir, "control\x1b[31m\n"), nil, 0o600))
	// More than two pieces, and exactly two.
	ts.Check(os.WriteFile(filepath.Join(dir, "large"), bytes.Repeat([]byte("0123456789"), pieceSize/4), 0o600))
	ts.Check(os.WriteFile(filepath.Join(dir, "even"), make([]byte, 2*pieceSize), 0o600))
}

// TestStartAsAnotherEnds starts a server while an older one is just going
// away. Either the older one was still there, and says so, or the new one
// listens.
func TestStartAsAnotherEnds(t *testing.T) {
	exe, err := exec.LookPath("simple-ipc")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ipc")
	t.Cleanup(func() { quitAll(t, filepath.Dir(path)) })
	simpleIPC := func(args ...string) (stderr string, err error) {
		cmd := exec.Command(exe, append(args, "--name="+path)...)
		cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
		var b bytes.Buffer
		cmd.Stderr = &b
		err = cmd.Run()
		return b.String(), err
	}
	for i := range 20 {
		if stderr, err := simpleIPC("start-daemon"); err != nil {
			t.Fatal(stderr)
		}
		c, err := new(simpleipc.Dialer).Dial(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		pid := c.Peer().PID
		c.Close()
		time.AfterFunc(time.Duration(i)*250*time.Microsecond, func() { syscall.Kill(pid, syscall.SIGTERM) })
		stderr, err := simpleIPC("start-daemon", "--max-wait=5")
		if err != nil && !strings.Contains(stderr, "another server is listening") {
			t.Errorf("start-daemon: %s", stderr)
		}
		if err == nil {
			if stderr, err := simpleIPC("stop-daemon"); err != nil {
				t.Errorf("no server after start-daemon: %s", stderr)
			}
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), testPatience)
		if err := awaitSilence(ctx, path, pid); err != nil {
			t.Error(err)
		}
		cancel()
	}
}

// A demo that is interrupted leaves nothing behind, whatever it is doing.
func TestDemoInterrupted(t *testing.T) {
	exe, err := exec.LookPath("simple-ipc")
	if err != nil {
		t.Fatal(err)
	}
	for _, wait := range []string{"", "ipc", "echo"} {
		t.Run("at "+wait, func(t *testing.T) {
			t.Parallel()
			tmp := t.TempDir()
			endless := filepath.Join(tmp, "large")
			if err := os.WriteFile(endless, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(endless, 1<<40); err != nil { // it takes no space
				t.Fatal(err)
			}
			work := filepath.Join(tmp, "work")
			if err := os.Mkdir(work, 0o700); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(exe, "demo", endless)
			cmd.Env = append(os.Environ(), "TMPDIR="+work, "GORACE=atexit_sleep_ms=0")
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			kill := time.AfterFunc(3*testPatience, func() { cmd.Process.Kill() })
			defer kill.Stop()
			pid := 0
			dir := awaitMatch(t, filepath.Join(work, "simple-ipc-demo*"))
			if wait != "" {
				path := awaitMatch(t, filepath.Join(dir, wait))
				c, err := new(simpleipc.Dialer).Dial(t.Context(), path)
				if err != nil {
					t.Fatal(err)
				}
				pid = c.Peer().PID
				c.Close()
			}
			cmd.Process.Signal(syscall.SIGINT)
			if err := cmd.Wait(); err == nil {
				t.Error("it succeeded")
			}
			if got := stderr.String(); got != "error: interrupted\n" {
				t.Errorf("it said %q", got)
			}
			if left, _ := filepath.Glob(filepath.Join(work, "*")); len(left) > 0 {
				t.Errorf("it left %q", left)
			}
			if pid > 0 {
				awaitEnd(t, pid)
			}
		})
	}
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

// hasEnded reports whether the process has ended, even if nobody has waited for
// it.
func hasEnded(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil && syscall.Kill(pid, 0) != nil || bytes.Contains(stat, []byte(") Z "))
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
