package trace2

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func init() {
	childFuncs["outer"] = func(ctx context.Context, _ []string) {
		exe, err := os.Executable()
		if err != nil {
			Error(ctx, "%v", err)
			return
		}
		cmd := exec.Command(exe)
		cmd.Env = append(cmd.Environ(), childEnv+"=inner")
		child := Child(ctx, "self", cmd)
		_ = cmd.Run() // its events say how it went
		child.Exit()
	}
	childFuncs["inner"] = func(ctx context.Context, _ []string) { CmdName(ctx, "more") }
}

// TestTwoProcesses checks that a process and its child are one session.
func TestTwoProcesses(t *testing.T) {
	dir := t.TempDir()
	event, perf := filepath.Join(dir, "event"), filepath.Join(dir, "perf")
	run(t, child(t, "outer", "GIT_TRACE2_EVENT="+event, "GIT_TRACE2_PERF="+perf, "GIT_TRACE2_PERF_BRIEF=1"))

	var hierarchies []string
	var outer, inner string
	for _, e := range readStream(t, event, false) {
		sid := e.Text("sid")
		switch e.Text("event") {
		case "version":
			outer, inner = inner, sid
		case "cmd_name":
			hierarchies = append(hierarchies, e.Text("hierarchy"))
		case "child_exit":
			if sid != outer || e.Int("code") != 0 {
				t.Errorf("the child's exit is told as %v", e)
			}
		}
	}
	if outer == "" || strings.Contains(outer, "/") || inner != outer+"/"+ownSID(inner) {
		t.Errorf("the sessions are %q and %q", outer, inner)
	}
	if got, want := strings.Join(hierarchies, " "), "outer outer/inner outer/inner/more"; got != want {
		t.Errorf("the hierarchies are %s, not %s", got, want)
	}
	lines := contents(t, perf)
	if strings.Count(lines, "d0 | ") != 7 || strings.Count(lines, "d1 | ") != 6 {
		t.Errorf("the depths are\n%s", lines)
	}
}

func TestChildCodes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no shell")
	}
	path, ctx, exit := traceFile(t)
	for _, script := range []string{"exit 3", "kill -KILL $$"} {
		cmd := exec.Command("sh", "-c", script)
		child := Child(ctx, "?", cmd)
		if err := cmd.Run(); err == nil {
			t.Errorf("%s: no error", script)
		}
		child.Exit()
	}
	cmd := exec.Command("sleep", "60")
	child := Child(ctx, "?", cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	child.Ready(fmt.Errorf("too slow: %w", context.DeadlineExceeded))
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	exit()

	var codes []int
	for _, e := range readStream(t, path, false) {
		switch e.Text("event") {
		case "child_exit":
			codes = append(codes, e.Int("code"))
		case "child_ready":
			if e.Int("pid") != cmd.Process.Pid || e.Text("ready") != "timeout" {
				t.Errorf("%v", e)
			}
		}
	}
	if len(codes) != 2 || codes[0] != 3 || codes[1] != 128+9 {
		t.Errorf("the codes are %v", codes)
	}
}

// TestConcurrent has goroutines enter and leave regions, and counts.
func TestConcurrent(t *testing.T) {
	const goroutines, depth = 100, 5
	path, ctx, exit := traceFile(t, "GIT_TRACE2_EVENT_NESTING=100")
	var wg sync.WaitGroup
	for i := range goroutines {
		wg.Go(func() {
			ctx, end := Thread(ctx, "worker")
			defer end()
			for range 3 {
				enter(ctx, i%depth+1)
			}
		})
	}
	wg.Wait()
	exit()

	entries := readStream(t, path, false)
	threads := make(map[string]bool)
	entered, data := 0, 0
	for _, e := range entries {
		threads[e.Text("thread")] = true
		switch e.Text("event") {
		case "region_enter":
			entered++
		case "data":
			data++
		case "counter":
			if e.Int("count") != data {
				t.Errorf("%d were counted, not %d", e.Int("count"), data)
			}
		case "timer":
			if e.Int("intervals") != entered {
				t.Errorf("%d were timed, not %d", e.Int("intervals"), entered)
			}
		}
	}
	if want := goroutines * 3 * (1 + depth) / 2; entered != want || data != want {
		t.Errorf("%d regions with %d data, not %d", entered, data, want)
	}
	if len(threads) != goroutines+1 || !threads["th01:worker"] || !threads["th100:worker"] {
		t.Errorf("the threads are %v", threads)
	}
}

func enter(ctx context.Context, depth int) {
	if depth == 0 {
		return
	}
	ctx, region := Region(ctx, "test", "region")
	defer region.End()
	defer Timer(ctx, "test", "region").Stop()
	Data(ctx, "test", "depth", depth)
	Count(ctx, "test", "data", 1)
	enter(ctx, depth-1)
}

// TestExitAmidst ends a session while others trace. Nothing may come after
// the end, and nobody may notice.
func TestExitAmidst(t *testing.T) {
	path, ctx, exit := traceFile(t)
	var wg sync.WaitGroup
	stop, busy := make(chan struct{}), make(chan struct{})
	for range 4 {
		wg.Go(func() {
			ctx, end := Thread(ctx, "worker")
			defer end()
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case busy <- struct{}{}:
				default:
				}
				Printf(ctx, "%d", i)
			}
		})
	}
	<-busy
	exit()
	close(stop)
	wg.Wait()
	entries := readStream(t, path, false)
	if last := entries[len(entries)-1].Text("event"); last != "atexit" {
		t.Errorf("the last event is %s", last)
	}
}

func TestEndTwice(t *testing.T) {
	path, ctx, exit := traceFile(t)
	thread, end := Thread(ctx, "worker")
	_, region := Region(thread, "test", "region")
	region.End()
	region.End()
	end()
	end()
	exit()
	exit()
	region.End()
	end()
	const want = "version thread_start region_enter region_leave thread_exit exit atexit"
	if got := eventsOf(readStream(t, path, false)); got != want {
		t.Errorf("%s\nnot\n%s", got, want)
	}
}

// TestNesting checks which regions are told. What is in one is one deeper.
func TestNesting(t *testing.T) {
	for value, limit := range map[string]int{"": 2, "1": 1, "3": 3, "9": 9, "0": 2, "-1": 2, "x": 2} {
		path, ctx, exit := traceFile(t, "GIT_TRACE2_EVENT_NESTING="+value)
		enter(ctx, 4)
		exit()
		entered, data := 0, 0
		for _, e := range readStream(t, path, false) {
			switch e.Text("event") {
			case "region_enter":
				entered++
			case "data":
				data++
			}
		}
		if entered != min(4, limit) || data != min(4, limit-1) {
			t.Errorf("%q: %d regions with %d data", value, entered, data)
		}
	}
}

func TestData(t *testing.T) {
	path, ctx, exit := traceFile(t)
	type named int
	Data(ctx, "test", "", "text \xff")
	Data(ctx, "test", "", -1)
	Data(ctx, "test", "", int64(math.MinInt64))
	Data(ctx, "test", "", uint8(255))
	Data(ctx, "test", "", named(7))
	Data(ctx, "test", "", false)
	Data(ctx, "test", "", 1.5)
	DataJSON(ctx, "test", "", map[string]any{"a": []int{1}, "b": nil})
	DataJSON(ctx, "test", "", func() {})
	DataJSON(ctx, "test", "", json.RawMessage("[1,\n\"\xff\"]"))
	exit()
	var got []string
	for _, e := range readStream(t, path, false) {
		if strings.HasPrefix(e.Text("event"), "data") {
			got = append(got, fmt.Sprint(e["value"]))
		}
	}
	want := "text \ufffd|-1|-9223372036854775808|255|7|false|1.5|map[a:[1] b:<nil>]|cannot be encoded: json: unsupported type: func()|[1 \ufffd]"
	if strings.Join(got, "|") != want {
		t.Errorf("%q, not\n%q", strings.Join(got, "|"), want)
	}
}

func TestEnvVars(t *testing.T) {
	path := filepath.Join(t.TempDir(), "trace")
	tracer := New(env("GIT_TRACE2="+path, "GIT_TRACE2_BRIEF=1", "GIT_TRACE2_ENV_VARS=ONE, NONE,,TWO,EMPTY", "ONE=1 1", "TWO=2", "EMPTY="))
	tracer.Start([]string{"test"})
	tracer.Exit(0)
	_, got, _ := strings.Cut(contents(t, path), "start test\n")
	got, _, _ = strings.Cut(got, "exit")
	if want := "def_param scope:unknown ONE=1 1\ndef_param scope:unknown TWO=2\n"; got != want {
		t.Errorf("%q, not %q", got, want)
	}
}

// TestPlaces checks that each function tells the place of its caller.
func TestPlaces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "trace")
	tracer := New(env("GIT_TRACE2_EVENT=" + path))
	ctx := tracer.Context(context.Background())
	_, file, line, _ := runtime.Caller(0)
	func() {
		tracer.Start(nil)
		CmdName(ctx, "")
		CmdMode(ctx, "")
		DefParam(ctx, "", "", "")
		Error(ctx, "")
		Printf(ctx, "")
		Data(ctx, "", "", 1)
		Data(ctx, "", "", "")
		DataJSON(ctx, "", "", errors.New)
		_, region := Region(ctx, "", "")
		region.End()
		_, end := Thread(ctx, "x")
		end()
		child := Child(ctx, "", exec.Command(""))
		child.Exit()
		child = Child(ctx, "", exec.Command(""))
		child.Ready(nil)
		tracer.Signal(os.Interrupt)
		tracer.Exit(0)
	}()
	line += 2 // the first call
	for _, e := range readStream(t, path, false) {
		event := e.Text("event")
		if event == "version" {
			continue
		}
		if want := "trace2/" + filepath.Base(file); e.Text("file") != want || e.Int("line") != line {
			t.Errorf("%s: %s:%v, not %s:%d", event, e["file"], e["line"], want, line)
		}
		if event != "exit" {
			line++
		}
	}
}

// TestDeferred checks the place of what is deferred: it is where the function
// returns.
func TestDeferred(t *testing.T) {
	path, ctx, exit := traceFile(t)
	enter(ctx, 1)
	exit()
	for _, e := range readStream(t, path, false) {
		if e.Text("event") == "region_leave" && e.Text("file") != "trace2/session_test.go" {
			t.Errorf("the region was left at %s:%v", e["file"], e["line"])
		}
	}
}

// TestDefault checks the functions of the default Tracer, which reads the
// environment of the process, and that nothing is told if it is not asked for.
func TestDefault(t *testing.T) {
	path := filepath.Join(t.TempDir(), "trace")
	run(t, child(t, "nothing", "GIT_TRACE2_EVENT="+path))
	if got, want := eventsOf(readStream(t, path, false)), "version start cmd_name exit atexit"; got != want {
		t.Errorf("%s, not %s", got, want)
	}
	if stderr := run(t, child(t, "nothing")); stderr != "" {
		t.Errorf("%q was told without being asked for", stderr)
	}
	if stderr := run(t, child(t, "nothing", "GIT_TRACE2=true", "GIT_TRACE2_BRIEF=1")); !strings.HasPrefix(stderr, "version ") {
		t.Errorf("%q was told", stderr)
	}
}
