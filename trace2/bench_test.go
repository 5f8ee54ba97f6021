package trace2

import (
	"context"
	"io"
	"path/filepath"
	"testing"
)

// These are not known when the tests are compiled.
var (
	number = 1234567
	ended  = io.EOF // for Error; as an interface it need not be boxed
)

// calls are the functions of the package that programs call often.
var calls = []struct {
	name string
	call func(context.Context)
}{
	{"Region", func(ctx context.Context) {
		_, region := Region(ctx, "category", "label", "message")
		region.End()
	}},
	{"Data", func(ctx context.Context) { Data(ctx, "category", "key", "value") }},
	{"DataInt", func(ctx context.Context) { Data(ctx, "category", "key", number) }},
	{"DataJSON", func(ctx context.Context) { DataJSON(ctx, "category", "key", [...]int{1, 2, 3}) }},
	{"Thread", func(ctx context.Context) {
		_, end := Thread(ctx, "name")
		end()
	}},
	{"Count", func(ctx context.Context) { Count(ctx, "category", "name", 1) }},
	{"Timer", func(ctx context.Context) { Timer(ctx, "category", "name").Stop() }},
	{"CmdMode", func(ctx context.Context) { CmdMode(ctx, "mode") }},
	{"DefParam", func(ctx context.Context) { DefParam(ctx, "scope", "name", "value") }},
	{"Enabled", func(ctx context.Context) { Enabled(ctx) }},
	{"Child", func(ctx context.Context) {
		child := Child(ctx, "?", nil)
		child.Ready(nil)
		child.Exit()
	}},
	{"Printf", func(ctx context.Context) { Printf(ctx, "text") }},
	{"Error", func(ctx context.Context) { Error(ctx, "cannot: %v", ended) }},
}

// silent is a process in which nothing is traced, and traced one in which
// something is, but not by the default Tracer.
const (
	silent = off
	traced = on
)

// as makes this process one in which something, or nothing, is traced.
func as(t testing.TB, process uint32) {
	Default() // has been made, and is off
	before := state.Swap(process)
	t.Cleanup(func() { state.Store(before) })
}

type key int

// handlerContext is a context like that of a server's handler.
func handlerContext() context.Context {
	ctx := context.Background()
	for i := range 8 {
		ctx = context.WithValue(ctx, key(i), "some value")
	}
	return ctx
}

func TestNoAllocations(t *testing.T) {
	ctx := handlerContext()
	for name, process := range map[string]uint32{"off": silent, "off here": traced} {
		t.Run(name, func(t *testing.T) {
			as(t, process)
			for _, c := range calls {
				if n := testing.AllocsPerRun(100, func() { c.call(ctx) }); n != 0 {
					t.Errorf("%s allocates %v times", c.name, n)
				}
			}
			if n := testing.AllocsPerRun(100, func() { Exit(0); Signal(nil) }); n != 0 {
				t.Errorf("Exit allocates %v times", n)
			}
		})
	}
}

func BenchmarkOff(b *testing.B) {
	ctx := handlerContext()
	for _, c := range calls {
		b.Run(c.name, func(b *testing.B) {
			as(b, silent)
			b.ReportAllocs()
			for b.Loop() {
				c.call(ctx)
			}
		})
	}
}

// BenchmarkOn writes to the null device, so that it measures what the package
// does and the system call.
func BenchmarkOn(b *testing.B) {
	null, err := filepath.Abs("/dev/null")
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range []struct{ name, variable, brief string }{
		{"normal", "GIT_TRACE2", ""},
		{"perf", "GIT_TRACE2_PERF", ""},
		{"event", "GIT_TRACE2_EVENT", ""},
		{"event_brief", "GIT_TRACE2_EVENT", "GIT_TRACE2_EVENT_BRIEF=1"},
	} {
		tracer := New(env(f.variable+"="+null, f.brief))
		ctx := tracer.Context(handlerContext())
		for _, c := range calls[:4] {
			b.Run(f.name+"/"+c.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					c.call(ctx)
				}
			})
		}
		tracer.Exit(0)
	}
}
