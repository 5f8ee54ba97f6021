package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/simpleipc"
	"example.com/simpleipc/internal/race"
)

func TestDial(t *testing.T) {
	d := server(t)
	c, err := d.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	pid := c.Peer().PID
	if got := ask(t, d, "pid"); got != strconv.Itoa(pid) {
		t.Errorf("the server's process is %s, and at first it was %d", got, pid)
	}
	if err := d.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	gone(t, pid)
	if err := d.Stop(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("stopping none: %v", err)
	}
	if got := ask(t, d, "pid"); got == strconv.Itoa(pid) {
		t.Errorf("the server was not started again")
	}
}

func TestStart(t *testing.T) {
	d := server(t)
	d.Check = func(context.Context, *simpleipc.Conn) error { return errors.New("Start does not check") }
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s, err := simpleipc.Probe(t.Context(), d.Path); s != simpleipc.Listening {
		t.Error(s, err)
	}
	if err := d.Start(t.Context()); !errors.Is(err, simpleipc.ErrInUse) {
		t.Errorf("starting another one: %v", err)
	}
}

// A server that was killed leaves a socket, which does not matter.
func TestDialAfterKill(t *testing.T) {
	d := server(t)
	for range 3 {
		pid, _ := strconv.Atoi(ask(t, d, "pid"))
		kill(t, pid)
		gone(t, pid)
	}
}

// TestManyProcesses has 100 processes ask at once for what no server is there
// yet.
func TestManyProcesses(t *testing.T) {
	n := 100
	if testing.Short() || race.Enabled {
		n = 30
	}
	d := server(t)
	census := filepath.Join(t.TempDir(), "census")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var clients []*exec.Cmd
	var outputs []*bytes.Buffer
	for range n {
		cmd := exec.Command(exe, d.Path, "census="+census)
		cmd.Env = roleOf("client")
		cmd.Stdin = read
		out := new(bytes.Buffer)
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		clients, outputs = append(clients, cmd), append(outputs, out)
	}
	read.Close()
	begin := time.Now()
	write.Close() // and they begin
	pids := map[string]int{}
	var times []int
	for i, cmd := range clients {
		if err := cmd.Wait(); err != nil {
			t.Errorf("client %d: %v: %s", i, err, outputs[i])
			continue
		}
		var pid string
		var took int
		fmt.Sscan(outputs[i].String(), &pid, &took)
		pids[pid]++
		times = append(times, took)
	}
	took := time.Since(begin)
	if len(pids) != 1 {
		t.Errorf("the answers come from these servers: %v", pids)
	}
	started, err := os.ReadFile(census)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(times)
	t.Logf("%d processes started %d servers, and all had their answers after %v; each waited %d to %d µs, in the median %d µs",
		n, bytes.Count(started, []byte("\n")), took, times[0], times[len(times)-1], times[len(times)/2])
	if got := bytes.Count(started, []byte("\n")); got > 1 {
		t.Errorf("%d servers were started", got)
	}
}

// TestManyStart has programs that do not lock anything start servers as well.
func TestManyStart(t *testing.T) {
	if isWine() {
		t.Skip("Wine lets several servers have one pipe")
	}
	d := server(t)
	var all sync.WaitGroup
	var failed atomic.Int32
	for range 10 {
		all.Go(func() {
			c, err := d.launch(t.Context())
			if err != nil {
				t.Error(err)
				failed.Add(1)
				return
			}
			if _, err := c.Call(t.Context(), []byte("pid")); err != nil {
				t.Error(err)
			}
			c.Close()
		})
	}
	all.Wait()
}

func TestStartFails(t *testing.T) {
	d := server(t)
	logFile := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(logFile, []byte("of an earlier run\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	lines := func(from, to int) string {
		var l []string
		for i := from; i <= to; i++ {
			l = append(l, fmt.Sprintf("line %d", i))
		}
		return strings.Join(l, "\n")
	}
	noProgram := fs.ErrNotExist
	if runtime.GOOS == "windows" { // it has looked for programs with other endings, too
		noProgram = exec.ErrNotFound
	}
	for _, tt := range []struct {
		name   string
		change func(*Daemon)
		stderr string
		err    string
		is     error
	}{
		{"failure", func(d *Daemon) { d.Args = []string{"1", "3"} }, "line 1", ": exit status 3: line 1", nil},
		{"many lines", func(d *Daemon) { d.Args = []string{"1000", "1"} }, lines(991, 1000), ":\nline 991\n", nil},
		{"no words", func(d *Daemon) { d.Args = []string{"0", "1"} }, "", ": exit status 1", nil},
		{"success", func(d *Daemon) { d.Args = []string{"2", "0"} }, "line 1\nline 2", "does not listen", errNotListening},
		{"log", func(d *Daemon) { d.Args = []string{"2", "1"}; d.Log = logFile }, "line 1\nline 2", ": exit status 1:\nline 1", nil},
		{"no program", func(d *Daemon) { d.Program = "/nowhere/x" }, "", "start /nowhere/x for ", noProgram},
		{"not in PATH", func(d *Daemon) { d.Program = "no-such-program" }, "", "no-such-program", exec.ErrNotFound},
		{"no log", func(d *Daemon) { d.Log = "/nowhere/log" }, "", "/nowhere/log", fs.ErrNotExist},
		{"no directory", func(d *Daemon) { d.Dir = "/nowhere" }, "", "/nowhere", fs.ErrNotExist},
		{"path in use", func(d *Daemon) { d.Env = roleOf("server"); d.Args[0] = "/dev/null" }, "getting ready", "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name == "path in use" && runtime.GOOS == "windows" {
				t.Skip("every path can be that of a pipe")
			}
			d := *d
			d.Env = roleOf("fail")
			d.Args = slices.Clone(d.Args)
			tt.change(&d)
			for what, f := range map[string]func() error{
				"Start": func() error { return d.Start(t.Context()) },
				"Dial":  func() error { _, err := d.Dial(t.Context()); return err },
				"Call":  func() error { _, err := d.Call(t.Context(), nil); return err },
			} {
				err := f()
				var e *StartError
				if !errors.As(err, &e) {
					t.Fatalf("%s: %v", what, err)
				}
				if tt.name == "path in use" {
					if !strings.Contains(e.Stderr, "not a socket") {
						t.Errorf("%s: %v", what, err)
					}
					continue
				}
				if e.Stderr != tt.stderr || e.Path != d.Path || !strings.Contains(err.Error(), tt.err) || tt.is != nil && !errors.Is(err, tt.is) {
					t.Errorf("%s: %v (%q)", what, err, e.Stderr)
				}
			}
		})
	}
	if text, _ := os.ReadFile(logFile); !strings.HasPrefix(string(text), "of an earlier run\nline 1\nline 2\nline 1\n") {
		t.Errorf("the log is %q", text)
	}
}

// A program that does not listen is ended after MaxWait.
func TestMaxWait(t *testing.T) {
	t.Parallel()
	d := server(t)
	file := filepath.Join(t.TempDir(), "pid")
	d.Env, d.Args = roleOf("stuck"), []string{file}
	d.MaxWait = time.Second
	begin := time.Now()
	var err error
	var stderr string
	for ; ; d.MaxWait *= 2 { // on a busy machine it starts late
		err = d.Start(t.Context())
		var e *StartError
		if !errors.As(err, &e) {
			t.Fatal(err)
		}
		if stderr = e.Stderr; stderr != "" || d.MaxWait > patience {
			break
		}
	}
	if !errors.Is(err, context.DeadlineExceeded) || stderr != "waiting for Godot" || !strings.Contains(err.Error(), "did not listen within") {
		t.Error(err)
	}
	if took := time.Since(begin); took < time.Second {
		t.Errorf("it took only %v", took)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, _ := strconv.Atoi(string(text))
	gone(t, pid)
}

// A context that ends, ends the wait and not the program.
func TestDialContext(t *testing.T) {
	d := server(t)
	file := filepath.Join(t.TempDir(), "pid")
	d.Env, d.Args = roleOf("stuck"), []string{file}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := d.Dial(ctx)
		done <- err
	}()
	pid := 0
	eventually(t, "the program runs", func() bool {
		text, _ := os.ReadFile(file)
		pid, _ = strconv.Atoi(string(text))
		return pid > 0
	})
	defer gone(t, pid)
	defer kill(t, pid)
	// Another one waits for the first.
	second, cancelSecond := context.WithCancel(t.Context())
	cancelSecond()
	if _, err := d.Dial(second); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("after the context's end: %v", err)
	}
	if !alive(pid) {
		t.Error("the program has ended")
	}
}

// A program that asks for its server instead of listening does not start
// others for ever.
func TestStartedProgramAsks(t *testing.T) {
	d := server(t)
	census := filepath.Join(t.TempDir(), "census")
	d.Env, d.Args = roleOf("asker"), []string{d.Path, census}
	_, err := d.Call(t.Context(), []byte("pid"))
	var e *StartError
	if !errors.As(err, &e) || !strings.Contains(e.Stderr, "this process was started to be the server") {
		t.Error(err)
	}
	started, _ := os.ReadFile(census)
	if n := bytes.Count(started, []byte("\n")); n != 1 {
		t.Errorf("%d programs were started", n)
	}
}

// While servers come and go all the time, no Call fails, with a Check or
// without.
func TestCallWhileServersEnd(t *testing.T) {
	// Longer than it takes Dial to look again whether a server listens: were all
	// it starts idle before it looks, it would give up.
	const idle = 150 * time.Millisecond
	census := filepath.Join(t.TempDir(), "census")
	d := server(t, "idle="+idle.String(), "version=1", "census="+census)
	checking := *d
	checking.Check = newer(1)
	const rounds = 30
	for i := range rounds {
		var all sync.WaitGroup
		for _, d := range []*Daemon{d, &checking, d} {
			all.Go(func() {
				if _, err := d.Call(t.Context(), []byte("pid")); err != nil && !isUnclear(err) {
					t.Errorf("round %d: %v", i, err)
				}
			})
		}
		all.Wait()
		<-time.After(idle - 3*time.Millisecond + time.Duration(i)*200*time.Microsecond) // the next ones may meet the server's end
	}
	started, _ := os.ReadFile(census)
	servers := bytes.Count(started, []byte("\n"))
	t.Logf("%d rounds, %d servers", rounds, servers)
	if servers < 5 {
		t.Error("hardly any server has ended meanwhile")
	}
}

// isUnclear reports whether a call failed for what it may do on Windows: a pipe
// takes bytes until it is closed, so it is not known whether the server has
// seen those that came last.
func isUnclear(err error) bool {
	var e *simpleipc.Error
	return runtime.GOOS == "windows" && errors.As(err, &e) && e.MaybeSeen && errors.Is(err, simpleipc.ErrConnClosed)
}

// newer returns a Check that wants at least this version, as docs/daemons.md
// has it.
func newer(version int) func(context.Context, *simpleipc.Conn) error {
	return func(ctx context.Context, c *simpleipc.Conn) error {
		answer, err := c.Call(ctx, []byte("version"))
		if err != nil {
			return err
		}
		if v, err := strconv.Atoi(string(answer)); err != nil || v < version {
			return fmt.Errorf("%w: its version is %s, and %d is needed", ErrOutdated, answer, version)
		}
		return nil
	}
}

// TestUpgrade has upgraded clients replace an older server, all at once, while
// old clients go on.
func TestUpgrade(t *testing.T) {
	census := filepath.Join(t.TempDir(), "census")
	old := server(t, "version=1", "census="+census)
	old.Check = newer(1)
	if v := ask(t, old, "version"); v != "1" {
		t.Fatal(v)
	}
	upgraded := *old
	upgraded.Args = []string{old.Path, "version=2", "census=" + census}
	upgraded.Check = newer(2)
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			for range 5 {
				if v, err := upgraded.Call(t.Context(), []byte("version")); !isUnclear(err) && (err != nil || string(v) != "2") {
					t.Errorf("%q, %v", v, err)
				}
			}
		})
		all.Go(func() {
			if v, err := old.Call(t.Context(), []byte("version")); !isUnclear(err) && (err != nil || string(v) != "1" && string(v) != "2") {
				t.Errorf("%q, %v", v, err)
			}
		})
	}
	all.Wait()
	started, _ := os.ReadFile(census)
	if n := bytes.Count(started, []byte("\n")); n > 2 {
		t.Errorf("%d servers were started for 2 versions", n)
	}
}

// A server that is outdated when it has just been started is no reason to go
// on for ever.
func TestUpgradeInVain(t *testing.T) {
	census := filepath.Join(t.TempDir(), "census")
	d := server(t, "version=1", "census="+census)
	ask(t, d, "pid")
	d.Check = newer(2)
	for range 2 {
		if _, err := d.Dial(t.Context()); !errors.Is(err, ErrOutdated) {
			t.Error(err)
		}
	}
	started, _ := os.ReadFile(census)
	if n := bytes.Count(started, []byte("\n")); n != 3 {
		t.Errorf("%d servers were started", n)
	}
	d.Quit = nil
	if _, err := d.Dial(t.Context()); err == nil || !strings.Contains(err.Error(), "Quit is not set") {
		t.Error(err)
	}
	d.Quit = []byte("quit")
	for _, refuse := range []error{
		errors.New("not this one"),
		// It has asked another server, which is not there.
		&simpleipc.Error{Op: "dial", Path: d.Path + "2", State: simpleipc.PathNotFound, Err: fs.ErrNotExist},
	} {
		d.Check = func(context.Context, *simpleipc.Conn) error { return refuse }
		if _, err := d.Dial(t.Context()); err != refuse {
			t.Error(err)
		}
	}
	stop(t, &Daemon{Path: d.Path, Quit: []byte("quit")})
	for _, refuse := range []error{
		// A server that it has asked for has hung up, or was not started.
		&simpleipc.Error{Op: "call", Path: d.Path + "2", State: simpleipc.Listening, Err: simpleipc.ErrConnClosed},
		&StartError{Path: d.Path + "2", Program: "other", Err: errNotListening},
	} {
		d.Check = func(context.Context, *simpleipc.Conn) error { return refuse }
		if _, err := d.Dial(t.Context()); err != refuse {
			t.Error(err)
		}
	}
	started, _ = os.ReadFile(census)
	if n := bytes.Count(started, []byte("\n")); n != 4 {
		t.Errorf("%d servers were started", n)
	}
}

// An error of Check can be both: the server is outdated, and it has hung up.
func TestOutdatedHangsUp(t *testing.T) {
	d := server(t)
	ask(t, d, "pid")
	var checked []*simpleipc.Conn
	d.Check = func(_ context.Context, c *simpleipc.Conn) error {
		checked = append(checked, c)
		return fmt.Errorf("%w: %w", ErrOutdated, &simpleipc.Error{Op: "call", Path: d.Path, State: simpleipc.Listening, Err: simpleipc.ErrConnClosed})
	}
	if _, err := d.Dial(t.Context()); !errors.Is(err, ErrOutdated) {
		t.Error(err)
	}
	for i, c := range checked {
		if _, err := c.Call(t.Context(), nil); !errors.Is(err, simpleipc.ErrConnClosed) {
			t.Errorf("connection %d is still open: %v", i, err)
		}
	}
}

// A server that is ending hangs up on Check, which is called again if the server
// has not seen its request. On Windows that cannot be told, and it is called
// again in any case.
func TestCheckIsHungUpOn(t *testing.T) {
	d := server(t)
	for seen, again := range map[bool]bool{false: true, true: runtime.GOOS == "windows"} {
		checked := 0
		d.Check = func(context.Context, *simpleipc.Conn) error {
			if checked++; checked > 1 {
				return nil
			}
			return &simpleipc.Error{Op: "call", Path: d.Path, State: simpleipc.Listening, MaybeSeen: seen, Err: simpleipc.ErrConnClosed}
		}
		c, err := d.Dial(t.Context())
		if err == nil {
			c.Close()
		}
		if again && (err != nil || checked != 2) || !again && (!errors.Is(err, simpleipc.ErrConnClosed) || checked != 1) {
			t.Errorf("maybe seen: %t: checked %d times: %v", seen, checked, err)
		}
	}
}

// Stop returns when the server has given its path up, though it has yet to
// answer what it was asked before.
func TestStopDoesNotWaitForAnswers(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the name of a pipe is in use as long as a connection is")
	}
	d := server(t)
	c, err := d.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.CallStream(t.Context(), strings.NewReader("wait"))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	pid := c.Peer().PID
	if !alive(pid) {
		t.Error("the server has ended")
	}
	r.Close() // which the server need not answer any more
	c.Close()
	gone(t, pid)
}

// A server that does not quit is waited for, and reported.
func TestStopFails(t *testing.T) {
	t.Parallel()
	d := server(t)
	ask(t, d, "pid")
	stubborn := *d
	stubborn.Quit = []byte("pid")
	stubborn.MaxWait = 1100 * time.Millisecond
	if err := stubborn.Stop(t.Context()); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "still listens after 1.1s") {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	stubborn.MaxWait = patience
	stubborn.Waiting = func(d time.Duration) {
		cancel()
		if d < time.Second || d%time.Second != 0 {
			t.Errorf("Waiting was told %v", d)
		}
	}
	var e *simpleipc.Error
	if err := stubborn.Stop(ctx); !errors.Is(err, context.Canceled) || !errors.As(err, &e) || e.Op != "stop" || e.Path != d.Path {
		t.Error(err)
	}
}

func TestLog(t *testing.T) {
	logFile := filepath.Join(t.TempDir(), "log")
	d := server(t)
	d.Log = logFile
	ask(t, d, "say hello")
	stop(t, d)
	ask(t, d, "say it again")
	text, err := os.ReadFile(d.Log)
	if err != nil {
		t.Fatal(err)
	}
	if want := "getting ready\nstdout hello\nstderr hello\ngetting ready\nstdout it again\nstderr it again\n"; string(text) != want {
		t.Errorf("the log is %q", text)
	}
	if info, _ := os.Stat(d.Log); info.Mode() != 0o600 && runtime.GOOS != "windows" {
		t.Errorf("its mode is %v", info.Mode())
	}
}

// While a server takes long to get ready, all who want it wait for it, and
// nobody who wants another one.
func TestSlowStart(t *testing.T) {
	census, ready := filepath.Join(t.TempDir(), "census"), filepath.Join(t.TempDir(), "ipc")
	d := server(t, "census="+census, "after="+ready)
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			if _, err := d.Call(t.Context(), []byte("pid")); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "the program is started", func() bool {
		_, err := os.Stat(census)
		return err == nil
	})
	impatient := *d
	impatient.MaxWait = time.Millisecond
	for range 20 {
		if _, err := impatient.Dial(t.Context()); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "another process is starting the server") {
			t.Error(err)
		}
		impatient.MaxWait += 300 * time.Microsecond
	}
	other := *d
	other.Path += "2"
	other.Args = []string{other.Path}
	defer stop(t, &other)
	ask(t, &other, "pid")
	l, err := simpleipc.Listen(t.Context(), ready)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	all.Wait()
	started, _ := os.ReadFile(census)
	if n := bytes.Count(started, []byte("\n")); n != 1 {
		t.Errorf("%d servers were started", n)
	}
}

// Of many who lock a path, one has the lock at a time, and nothing stays.
func TestLockStart(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "new", "ipc")
	var holders atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for held := 0; held < 50; {
				unlock, locked := lockStart(path)
				if !locked {
					runtime.Gosched()
					continue
				}
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d have the lock", n)
				}
				held++
				holders.Add(-1)
				unlock()
			}
		})
	}
	all.Wait()
	if left, _ := filepath.Glob(filepath.Join(dir, "new", "*")); left != nil {
		t.Errorf("%v stay", left)
	}
}
