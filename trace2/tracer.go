package trace2

import (
	"context"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// evt is the version of the event format.
const evt = "4"

// The environment variables by which a process tells its children what they
// are part of.
const (
	parentSID  = "GIT_TRACE2_PARENT_SID"
	parentName = "GIT_TRACE2_PARENT_NAME"
)

// state says whether anything is traced in this process, so that it takes no
// more than a look at it to find that nothing is.
var state atomic.Uint32

const (
	unknown uint32 = iota // the default Tracer has not been made yet
	off
	on
)

var (
	defaultOnce   sync.Once
	defaultTracer *Tracer
)

// Default returns the Tracer of this process, of which the functions of the
// package are the methods. It is made of the environment variables when it is
// first needed.
func Default() *Tracer {
	defaultOnce.Do(func() {
		defaultTracer = New(os.Getenv)
		state.CompareAndSwap(unknown, off)
	})
	return defaultTracer
}

// A Tracer writes the events of one session to its targets. A program has the
// [Default] one; others are for tests. All methods may be called concurrently.
type Tracer struct {
	now    func() time.Time
	getenv func(string) string

	sid     string
	depth   int // of the process, below others that trace
	began   time.Time
	targets []*target
	placed  bool // a target tells the place in the source
	places  places
	nesting int
	root    scope // of what has no other

	alive             atomic.Bool // until the end of the session or of all targets
	exited            atomic.Bool
	threads, children atomic.Int64 // so far

	mu       sync.Mutex
	command  string // the hierarchy of the commands' names
	counters map[series]int64
	timers   map[series]timer
}

// New returns a Tracer whose targets are those of an environment. If these
// cannot be opened, or if there are none, the Tracer does nothing. Call its
// Exit to close them.
func New(getenv func(string) string) *Tracer {
	return newTracer(getenv, time.Now, newSID)
}

func newTracer(getenv func(string) string, now func() time.Time, newSID func(time.Time) string) *Tracer {
	t := &Tracer{now: now, getenv: getenv, nesting: defaultNesting}
	t.root = scope{tracer: t, thread: "main"}
	if !slices.ContainsFunc(variables[:], func(name string) bool { return getenv(name) != "" }) {
		return t
	}
	t.began = now()
	t.sid = newSID(t.began)
	if parent := getenv(parentSID); parent != "" {
		t.sid = parent + "/" + t.sid
	}
	t.depth = strings.Count(t.sid, "/")
	t.command = getenv(parentName)
	if n, err := strconv.Atoi(getenv("GIT_TRACE2_EVENT_NESTING")); err == nil && n > 0 {
		t.nesting = n
	}
	t.root.began = t.began
	for f := range variables {
		if target := openTarget(format(f), getenv, t.sid); target != nil {
			t.targets = append(t.targets, target)
			t.placed = t.placed || !target.brief
		}
	}
	if len(t.targets) > 0 {
		t.alive.Store(true)
		state.Store(on)
		t.version()
	}
	return t
}

// Context returns a context with which the functions of the package use t, in
// its main thread, in place of the default Tracer.
func (t *Tracer) Context(parent context.Context) context.Context {
	if state.Load() == off {
		return parent
	}
	return &scope{Context: parent, tracer: t, thread: t.root.thread, began: t.began}
}

// Start tells that the program starts, with its arguments, the first of which
// is its name, and which values the environment variables have that
// GIT_TRACE2_ENV_VARS lists.
func (t *Tracer) Start(args []string) { t.start(args) }

// Exit tells that the program exits, and what has been counted and timed, and
// closes the targets. It returns the code that it is given, for os.Exit. What
// happens afterwards is not traced. A second call does nothing.
func (t *Tracer) Exit(code int) int {
	t.exit(code)
	return code
}

// Signal tells that a signal ends the program. Exit may follow.
func (t *Tracer) Signal(sig os.Signal) { t.signal(sig) }

// update stops everything if there are no targets left.
func (t *Tracer) update() {
	if !slices.ContainsFunc(t.targets, func(t *target) bool { return !t.dead.Load() }) {
		t.alive.Store(false)
	}
}

// The methods below make events, as those of a scope do.

func (t *Tracer) version() {
	exe := "(unknown)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		exe = info.Main.Version
	}
	t.root.write(&event{
		name: "version", at: t.began,
		normal: func(l *line) { l.text(" ", exe) },
		perf:   func(l *line) { l.text(exe) },
		event: func(l *line) {
			l.jsonString("evt", evt)
			l.jsonString("exe", exe)
		},
	})
	for _, target := range t.targets {
		if target.discard && target.format == eventFormat {
			t.root.write(&event{name: "too_many_files", at: t.began})
		}
	}
}

func (t *Tracer) start(args []string) {
	if !t.alive.Load() {
		return
	}
	t.root.write(&event{
		name: "start", at: t.now(), abs: timed,
		normal: func(l *line) { l.text(" "); l.arguments(args) },
		perf:   func(l *line) { l.arguments(args) },
		event:  func(l *line) { l.jsonStrings("argv", args) },
	})
	for name := range strings.SplitSeq(t.getenv("GIT_TRACE2_ENV_VARS"), ",") {
		name = strings.TrimSpace(name)
		if value := t.getenv(name); name != "" && value != "" {
			t.root.param("unknown", name, value) // environment variables have no scope that Git has a name for
		}
	}
}

func (t *Tracer) exit(code int) {
	if !t.alive.Load() || !t.exited.CompareAndSwap(false, true) {
		return
	}
	t.root.write(t.ending("exit", code))
	t.summarize()
	t.root.write(t.ending("atexit", code))
}

func (t *Tracer) ending(name string, code int) *event {
	at := t.now()
	return &event{
		name: name, at: at, abs: timed, last: name == "atexit",
		normal: t.elapsed(at, code),
		perf:   func(l *line) { l.text("code:", strconv.Itoa(code)) },
		event:  func(l *line) { l.jsonInt("code", int64(code)) },
	}
}

func (t *Tracer) signal(sig os.Signal) {
	s, ok := sig.(syscall.Signal)
	if !t.alive.Load() || !ok {
		return
	}
	at, signo := t.now(), int(s)
	t.root.write(&event{
		name: "signal", at: at, abs: timed,
		normal: t.elapsed(at, signo),
		perf:   func(l *line) { l.text("signo:", strconv.Itoa(signo)) },
		event:  func(l *line) { l.jsonInt("signo", int64(signo)) },
	})
}

// elapsed is how the normal format tells of an end.
func (t *Tracer) elapsed(at time.Time, code int) func(*line) {
	return func(l *line) {
		l.text(" elapsed:")
		l.seconds(at.Sub(t.began), 0)
		l.text(" code:", strconv.Itoa(code))
	}
}
