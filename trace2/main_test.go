package trace2

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"example.com/simpleipc/internal/stream"
)

// limit is how long a test waits for what must happen.
const limit = 30 * time.Second

// childEnv names the function of childFuncs that this process is to run
// instead of the tests.
const childEnv = "TRACE2_TEST_CHILD"

// childFuncs are what tests need a process of their own for. They are traced
// as their environment says.
var childFuncs = map[string]func(ctx context.Context, args []string){
	"nothing": func(context.Context, []string) {},
}

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		Start(os.Args)
		ctx := context.Background()
		CmdName(ctx, name)
		childFuncs[name](ctx, os.Args[1:])
		os.Exit(Exit(0))
	}
	for _, v := range os.Environ() { // whoever traces the tests does not mean their insides
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "GIT_TRACE2") {
			_ = os.Unsetenv(name)
		}
	}
	time.Local = time.FixedZone("test", 2*60*60) // the formats for people tell local time, the other one does not
	goleak.VerifyTestMain(m)
}

// child is this program, to run one of childFuncs with variables added to the
// environment.
func child(t *testing.T, name string, variables ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, exe)
	cmd.Env = append(os.Environ(), childEnv+"="+name, "GORACE=atexit_sleep_ms=0")
	cmd.Env = append(cmd.Env, variables...)
	return cmd
}

// run runs a command, which must succeed, and returns its standard error.
func run(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, &stderr)
	}
	return stderr.String()
}

// env makes a getenv of NAME=VALUE.
func env(variables ...string) func(string) string {
	return func(name string) string {
		for _, v := range variables {
			if value, ok := strings.CutPrefix(v, name+"="); ok {
				return value
			}
		}
		return ""
	}
}

func contents(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// traceFile returns the name of a file to be made, and a context whose events
// go there in the event format, until the function that it returns is called.
func traceFile(t *testing.T, variables ...string) (path string, ctx context.Context, exit func()) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "trace")
	tracer := New(env(append(variables, "GIT_TRACE2_EVENT="+path)...))
	exit = func() { tracer.Exit(0) }
	t.Cleanup(exit)
	return path, tracer.Context(context.Background()), exit
}

// fakeClock returns a clock that goes on by a millisecond each time it is read.
func fakeClock() func() time.Time {
	at := time.Date(2026, 11, 21, 22, 3, 7, 20194000, time.UTC)
	return func() time.Time {
		at = at.Add(time.Millisecond)
		return at
	}
}

func fakeSID(began time.Time) string {
	return fmt.Sprintf("%s-H0a7c9cdf-P000070a8", began.Format("20060102T150405.000000Z"))
}

// readStream parses what is in a file.
func readStream(t *testing.T, path string, brief bool) []stream.Event {
	t.Helper()
	b := contents(t, path)
	entries, err := stream.Parse([]byte(b), brief)
	if err != nil {
		t.Fatalf("%v, in\n%s", err, b[:min(len(b), 4000)])
	}
	return entries
}

// eventsOf returns the names of events, without those that are the same as the
// one before.
func eventsOf(entries []stream.Event) string {
	var names []string
	for _, e := range entries {
		names = append(names, e.Text("event"))
	}
	return strings.Join(slices.Compact(names), " ")
}
