package trace2

import (
	"context"
	"os"
)

// Start is [Tracer.Start] of the default Tracer. A program calls it first.
func Start(args []string) { Default().start(args) }

// Exit is [Tracer.Exit] of the default Tracer. A program calls it last:
//
//	os.Exit(trace2.Exit(run()))
func Exit(code int) int {
	Default().exit(code)
	return code
}

// Signal is [Tracer.Signal] of the default Tracer.
func Signal(sig os.Signal) { Default().signal(sig) }

// Enabled reports whether what is told by ctx is written anywhere, so that what
// is costly to find out need not be.
func Enabled(ctx context.Context) bool { return from(ctx) != nil }

// CmdName tells the name of the command that runs, such as "send-pack", and
// the hierarchy of those that led to it, such as "push/send-pack": the names
// that have been told before, by processes above this one and by this one.
func CmdName(ctx context.Context, name string) {
	if s := from(ctx); s != nil {
		s.nameCommand(name)
	}
}

// CmdMode tells which variant of the command runs.
func CmdMode(ctx context.Context, mode string) {
	if s := from(ctx); s != nil {
		s.nameMode(mode)
	}
}

// DefParam tells the value of a setting. The scope is that of the setting, in
// the terms of Git: "system", "global", "local", "worktree", "command" for the
// command line, or "unknown".
func DefParam(ctx context.Context, scope, name, value string) {
	if s := from(ctx); s != nil {
		s.param(scope, name, value)
	}
}

// Error tells an error. Readers group errors by their format. The operands are
// formatted as [fmt.Sprintf] does, and only if something is traced.
func Error(ctx context.Context, format string, args ...any) {
	if s := from(ctx); s != nil {
		s.error(format, args)
	}
}

// Printf tells something to people.
func Printf(ctx context.Context, format string, args ...any) {
	if s := from(ctx); s != nil {
		s.printf(format, args)
	}
}

// Value is what data may be.
type Value interface {
	~string | ~bool | ~float32 | ~float64 |
		~int | ~int8 | ~int16 | ~int32 | ~int64 |
		~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr
}

// Data tells a value that belongs to the region of ctx. It is written as a
// string, as [fmt.Sprint] formats it.
func Data[V Value](ctx context.Context, category, key string, value V) {
	if s := from(ctx); s != nil {
		s.data(category, key, text(value))
	}
}

// DataJSON tells a value that belongs to the region of ctx, as
// [encoding/json.Marshal] encodes it.
func DataJSON[V any](ctx context.Context, category, key string, value V) {
	if s := from(ctx); s != nil {
		s.dataJSON(category, key, value)
	}
}

// A Span is a region that has been entered.
type Span struct{ scope *scope } // nil if nothing is traced

// Region enters a region: a part of the program's work that is timed. What is
// done with the context that it returns is in the region. A message says more,
// such as the name of the file that the region is about.
//
//	ctx, region := trace2.Region(ctx, "index", "read", path)
//	defer region.End()
//
// Of one thread, one region is within the other, or after it. Goroutines that
// enter regions at the same time need threads of their own: see [Thread].
func Region(ctx context.Context, category, label string, message ...string) (context.Context, Span) {
	s := from(ctx)
	if s == nil {
		return ctx, Span{}
	}
	s = s.enter(ctx, category, label, message)
	return s, Span{s}
}

// End leaves the region. A second call does nothing.
func (s Span) End() {
	if s.scope != nil {
		s.scope.leave()
	}
}

// Thread begins a thread: a goroutine, or a task that goes from one to another,
// whose events are told apart from those of others. What is done with the
// context that it returns is in the thread, in no region at first. The name is
// that of what the thread does; Thread puts a number before it. The function
// that it returns ends the thread; a second call does nothing.
func Thread(ctx context.Context, name string) (context.Context, func()) {
	s := from(ctx)
	if s == nil {
		return ctx, nothing
	}
	s = s.startThread(ctx, name)
	return s, func() { s.endThread() }
}

func nothing() {}

// Count adds n to a counter. Its value is told when the program exits.
func Count(ctx context.Context, category, name string, n int64) {
	if s := from(ctx); s != nil {
		s.tracer.count(category, name, n)
	}
}

// Timer starts an interval of a timer. How many there were of it, and how long
// they took together, at least, and at most, is told when the program exits.
//
//	defer trace2.Timer(ctx, "server", "handle").Stop()
func Timer(ctx context.Context, category, name string) Stopwatch {
	s := from(ctx)
	if s == nil {
		return Stopwatch{}
	}
	return Stopwatch{s.tracer, series{category, name}, s.tracer.now()}
}
