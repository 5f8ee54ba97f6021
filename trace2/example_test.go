package trace2_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"example.com/simpleipc/trace2"
)

// This is a whole program.
func Example() {
	trace2.Start(os.Args)
	ctx := context.Background()
	trace2.CmdName(ctx, "greet")
	code := 0
	if len(os.Args) < 2 {
		trace2.Error(ctx, "whom shall I %s?", "greet")
		code = 2
	}
	os.Exit(trace2.Exit(code))
}

// A region, with data, in the event format.
func ExampleRegion() {
	show(func(ctx context.Context) {
		ctx, region := trace2.Region(ctx, "index", "read", "/path/of/index")
		defer region.End()
		trace2.Data(ctx, "index", "entries", 3552)
	})
	// Output:
	// version
	// region_enter main 1 index/read /path/of/index
	// data main 2 entries=3552
	// region_leave main 1 index/read /path/of/index
	// exit
	// atexit
}

// Goroutines that enter regions at the same time are threads.
func ExampleThread() {
	show(func(ctx context.Context) {
		var wg sync.WaitGroup
		wg.Go(func() {
			ctx, end := trace2.Thread(ctx, "ipc-worker")
			defer end()
			_, region := trace2.Region(ctx, "ipc", "handle", "request")
			defer region.End()
		})
		wg.Wait()
	})
	// Output:
	// version
	// thread_start th01:ipc-worker
	// region_enter th01:ipc-worker 1 ipc/handle request
	// region_leave th01:ipc-worker 1 ipc/handle request
	// thread_exit th01:ipc-worker
	// exit
	// atexit
}

// What happens often is added up, and told in the end.
func ExampleCount() {
	show(func(ctx context.Context) {
		for _, size := range []int64{100, 20, 3} {
			func() {
				defer trace2.Timer(ctx, "ipc", "handle").Stop()
				trace2.Count(ctx, "ipc", "bytes", size)
			}()
		}
	})
	// Output:
	// version
	// exit
	// timer main ipc/handle intervals=3
	// counter main ipc/bytes count=123
	// atexit
}

// The events of a process that is started become part of the session, whether
// it is a Git command or uses this package.
func ExampleChild() {
	ctx := context.Background()
	cmd := exec.CommandContext(ctx, "git", "gc", "--auto")
	child := trace2.Child(ctx, "background", cmd)
	err := cmd.Run()
	child.Exit()
	if err != nil {
		log.Fatal(err)
	}
}

// Tests make Tracers, which send their events where it suits.
func ExampleNew() {
	dir, err := os.MkdirTemp("", "trace2")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "trace")

	variables := map[string]string{"GIT_TRACE2": path, "GIT_TRACE2_BRIEF": "1"}
	tracer := trace2.New(func(name string) string { return variables[name] })
	ctx := tracer.Context(context.Background())
	trace2.CmdName(ctx, "greet")
	trace2.CmdMode(ctx, "politely")
	trace2.DefParam(ctx, "command", "greeting", "good morning")
	trace2.Error(ctx, "cannot greet %q", "the world")

	told, err := os.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	_, told, _ = bytes.Cut(told, []byte("\n")) // the first line has the version
	fmt.Printf("%s", told)
	tracer.Exit(1)
	// Output:
	// cmd_name greet (greet)
	// cmd_mode politely
	// def_param scope:command greeting=good morning
	// error cannot greet "the world"
}

// show prints the events of a program, without what differs each time.
func show(program func(ctx context.Context)) {
	dir, err := os.MkdirTemp("", "trace2")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "trace")
	tracer := trace2.New(func(name string) string {
		if name == "GIT_TRACE2_EVENT" {
			return path
		}
		return ""
	})
	program(tracer.Context(context.Background()))
	tracer.Exit(0)

	told, err := os.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	for line := range bytes.Lines(told) {
		var e struct {
			Event, Thread, Category, Label, Msg, Name, Key, Value string
			Nesting, Intervals, Count                             int
		}
		if err := json.Unmarshal(line, &e); err != nil {
			log.Fatal(err)
		}
		switch e.Event {
		case "region_enter", "region_leave":
			fmt.Println(e.Event, e.Thread, e.Nesting, e.Category+"/"+e.Label, e.Msg)
		case "data":
			fmt.Println(e.Event, e.Thread, e.Nesting, e.Key+"="+e.Value)
		case "timer":
			fmt.Println(e.Event, e.Thread, e.Category+"/"+e.Name, fmt.Sprint("intervals=", e.Intervals))
		case "counter":
			fmt.Println(e.Event, e.Thread, e.Category+"/"+e.Name, fmt.Sprint("count=", e.Count))
		case "thread_start", "thread_exit":
			fmt.Println(e.Event, e.Thread)
		default:
			fmt.Println(e.Event)
		}
	}
}
