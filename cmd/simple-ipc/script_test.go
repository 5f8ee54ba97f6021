package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"example.com/simpleipc"
	eventstream "example.com/simpleipc/internal/stream"
)

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			tmp := filepath.Join(e.WorkDir, ".tmp")
			for _, name := range []string{"TMPDIR", "TMP", "TEMP"} {
				e.Setenv(name, tmp)
			}
			e.Setenv("PIPE", fmt.Sprintf(`\\.\pipe\simple-ipc-test-%d`, os.Getpid()))
			e.Defer(func() { quitAll(t, e.WorkDir) })
			return os.MkdirAll(tmp, 0o700)
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "root":
				return os.Geteuid() == 0, nil
			case "full":
				_, err := os.Stat("/dev/full")
				return err == nil && runtime.GOOS != "windows", nil // which Wine shows, too
			case "links":
				return makeLink(".", filepath.Join(t.TempDir(), "link"))
			}
			return false, fmt.Errorf("unknown condition %s", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"appears":   cmdAppears,
			"await":     cmdAwait,
			"busy":      cmdBusy,
			"ended":     cmdEnded,
			"events":    cmdEvents,
			"fd":        cmdFD,
			"gone":      cmdGone,
			"hangup":    cmdHangUp,
			"interrupt": cmdInterrupt,
			"lines":     cmdLines,
			"longpath":  cmdLongPath,
			"names":     cmdNames,
			"nosocket":  cmdNoSocket,
			"pairs":     cmdPairs,
			"pid":       cmdPID,
			"random":    cmdRandom,
			"rows":      cmdRows,
			"shapes":    cmdShapes,
			"special":   cmdSpecial,
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
				awaitSilence(path, c.Peer().PID)
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

// events DIR N OUT waits until N processes have ended their traces in DIR, a file
// for each, checks these strictly, and writes to OUT their events, one a line: the
// depth of the process, the kind of the thread, the event and what it is about.
func cmdEvents(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	var traces []byte
	ts.Check(await(func() bool {
		traces = nil
		files, _ := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "*")) // the pattern is a good one
		for _, file := range files {
			traces = append(traces, ts.ReadFile(file)...)
		}
		return bytes.Count(traces, []byte(`"event":"atexit"`)) == n
	}))
	list, err := eventstream.Parse(traces, false)
	ts.Check(err)
	var out strings.Builder
	for _, e := range list {
		thread := e.Text("thread")
		_, kind, numbered := strings.Cut(thread, ":")
		if !numbered {
			kind = thread
		}
		fmt.Fprintf(&out, "d%d %s %s", strings.Count(e.Text("sid"), "/"), kind, e.Text("event"))
		for _, name := range []string{"hierarchy", "name", "param", "category", "label", "key", "value", "child_class", "ready", "msg", "code"} {
			if value, ok := e[name]; ok {
				fmt.Fprintf(&out, " %v", value)
			}
		}
		out.WriteByte('\n')
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(out.String()), 0o600))
}

// await PATH waits until a server listens at PATH.
func cmdAwait(ts *testscript.TestScript, _ bool, args []string) {
	_, err := awaitServer(ts.MkAbs(args[0]))
	ts.Check(err)
}

// busy PATH keeps a thread of the server busy until the script ends.
func cmdBusy(ts *testscript.TestScript, _ bool, args []string) {
	r, err := new(simpleipc.Dialer).CallStream(context.Background(), ts.MkAbs(args[0]), strings.NewReader("slow"))
	ts.Check(err)
	ts.Defer(func() { r.Close() })
}

// gone PATH waits until nobody listens at PATH.
func cmdGone(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(awaitSilence(ts.MkAbs(args[0]), 0))
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

// interrupt FILE does to the command of the same "interruptible FILE" what
// Ctrl-C does.
func cmdInterrupt(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(interrupt(ts.MkAbs(args[0])))
}

// lines PREFIX FILE prints the lines of FILE that begin so.
func cmdLines(ts *testscript.TestScript, _ bool, args []string) {
	for line := range strings.Lines(ts.ReadFile(args[1])) {
		if strings.HasPrefix(line, args[0]) {
			_, err := io.WriteString(ts.Stdout(), line)
			ts.Check(err)
		}
	}
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

// names DIR NAME... checks that there are files of these names in DIR, and no
// others.
func cmdNames(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(hasNames(ts.MkAbs(args[0]), args[1:]))
}

// hasNames returns an error unless a folder has these files, and no others.
func hasNames(dir string, want []string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("%s has %q, and should have %q", dir, got, want)
	}
	return nil
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

// random DATA REQUEST makes two files: one of some megabytes, and the request to
// echo that.
func cmdRandom(ts *testscript.TestScript, _ bool, args []string) {
	data := make([]byte, 3000000)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), append([]byte("echo "), data...), 0o600))
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

// special DIR makes things in DIR that are no regular files, and some that are.
// There are four of these.
func cmdSpecial(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(makeSpecial(dir))
	if ok, err := makeLink(dir, filepath.Join(dir, "loop")); ok {
		ts.Check(err)
		ts.Check(os.Symlink("/nowhere", filepath.Join(dir, "link")))
	}
	// More than two pieces, and exactly two.
	ts.Check(os.WriteFile(filepath.Join(dir, "large"), bytes.Repeat([]byte("0123456789"), pieceSize/4), 0o600))
	ts.Check(os.WriteFile(filepath.Join(dir, "even"), make([]byte, 2*pieceSize), 0o600))
}

// TestStartTogether starts many servers at once, of which one comes to serve.
// Who was too late to see it begin is told.
func TestStartTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ipc")
	var starting sync.WaitGroup
	for range 8 {
		starting.Go(func() {
			out, err := tool(t, "start-daemon", "--name="+path).CombinedOutput()
			if err != nil && string(out) != "error: cannot serve '"+path+"': another server is listening\n" {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	starting.Wait()
	server, err := awaitServer(path)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := tool(t, "stop-daemon", "--name="+path).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if s, err := simpleipc.Probe(t.Context(), path); s != simpleipc.PathNotFound {
		t.Errorf("there is still a server: %v", err)
	}
	awaitEnd(t, server.PID)
}

// TestStartAsAnotherEnds starts a server while an older one is just going
// away. Either the older one was still there, and says so, or the new one
// listens.
func TestStartAsAnotherEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ipc")
	t.Cleanup(func() { quitAll(t, filepath.Dir(path)) })
	for i := range 20 {
		if out, err := tool(t, "start-daemon", "--name="+path).CombinedOutput(); err != nil {
			t.Fatalf("%s", out)
		}
		older, err := new(simpleipc.Dialer).Dial(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		asked := make(chan error, 1)
		time.AfterFunc(time.Duration(i)*250*time.Microsecond, func() {
			_, err := older.Call(t.Context(), []byte("quit"))
			older.Close()
			asked <- err
		})
		out, err := tool(t, "start-daemon", "--name="+path).CombinedOutput()
		if err != nil && !strings.Contains(string(out), "another server is listening") {
			t.Errorf("start-daemon: %s", out)
		}
		if err := <-asked; err != nil {
			t.Error(err)
		}
		if err != nil {
			if err := awaitSilence(path, older.Peer().PID); err != nil {
				t.Error(err)
			}
		} else if out, err := tool(t, "stop-daemon", "--name="+path).CombinedOutput(); err != nil {
			t.Errorf("no server after start-daemon: %s", out)
		}
	}
}

// A demo that is interrupted leaves nothing behind, whatever it is doing.
func TestDemoInterrupted(t *testing.T) {
	large := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, 1<<30); err != nil { // it takes no space
		t.Fatal(err)
	}
	for _, wait := range []string{"", "ipc", "echo"} {
		t.Run("at "+wait, func(t *testing.T) {
			t.Parallel()
			work := t.TempDir()
			endless := slices.Repeat([]string{large}, 100)
			cmd, interruptIt := interruptibleTool(t, append([]string{"demo"}, endless...)...)
			cmd.Env = append(os.Environ(), "TMPDIR="+work, "TMP="+work)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			kill := time.AfterFunc(3*testPatience, func() { cmd.Process.Kill() })
			defer kill.Stop()
			var server simpleipc.Peer
			dir := awaitMatch(t, filepath.Join(work, "simple-ipc-demo*"))
			if wait != "" {
				var err error
				if server, err = awaitServer(filepath.Join(dir, wait)); err != nil {
					t.Fatal(err)
				}
			}
			if err := interruptIt(); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err == nil {
				t.Error("it succeeded")
			}
			if got := stderr.String(); got != "error: interrupted\n" {
				t.Errorf("it said %q", got)
			}
			wantNames(t, work)
			if server.PID > 0 {
				awaitEnd(t, server.PID)
			}
		})
	}
}
