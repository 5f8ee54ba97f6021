package simpleipc

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"example.com/simpleipc/internal/stream"
	"example.com/simpleipc/trace2"
)

// traced returns a context whose events go to a file, and a function that ends
// the trace and returns them, checked by the strict parser.
func traced(t *testing.T) (ctx context.Context, events func() []stream.Event) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "trace")
	tracer := trace2.New(func(name string) string {
		switch name {
		case "GIT_TRACE2_EVENT":
			return path
		case "GIT_TRACE2_EVENT_NESTING":
			return "9"
		}
		return ""
	})
	t.Cleanup(func() { tracer.Exit(0) })
	tracer.Start(os.Args[:1])
	return tracer.Context(t.Context()), func() []stream.Event {
		t.Helper()
		tracer.Exit(0)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		list, err := stream.Parse(b, false)
		if err != nil {
			t.Fatalf("%v, in\n%s", err, b[:min(len(b), 10000)])
		}
		return list
	}
}

// serveTraced serves a new path until stop is called.
func serveTraced(t *testing.T, ctx context.Context, srv *Server) (path string, stop func()) {
	t.Helper()
	l, err := Listen(ctx, tempPath(t))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(ctx, l) // the tests' servers are closed
	}()
	stop = func() {
		srv.Shutdown(context.Background())
		receive(t, done)
	}
	t.Cleanup(stop)
	return l.Path(), stop
}

// tell writes an event as the tests want it.
func tell(e stream.Event) string {
	_, kind, _ := strings.Cut(e.Text("thread"), ":")
	switch event := e.Text("event"); event {
	case "region_enter", "region_leave":
		return fmt.Sprintf("%s %s %s/%s", kind, event, e.Text("category"), e.Text("label"))
	case "data":
		value := e.Text("value")
		switch key := e.Text("key"); {
		case strings.HasSuffix(key, "_us"):
			value = "TIME"
		case strings.HasSuffix(key, "/error"): // what comes behind the path is the system's
			value = strings.Join(strings.SplitN(value, ": ", 3)[:2], ": ")
		}
		return fmt.Sprintf("%s %s: %s=%s", kind, e.Text("category"), e.Text("key"), value)
	case "data_json":
		return fmt.Sprintf("%s %s: %s", kind, e.Text("category"), e.Text("key"))
	case "error":
		return kind + " error: " + e.Text("msg")
	default:
		return kind + " " + event
	}
}

// of returns what one kind of thread has told, "" for the main one.
func of(kind string, events []stream.Event) []string {
	var lines []string
	for _, e := range events {
		if line, ok := strings.CutPrefix(tell(e), kind+" "); ok {
			lines = append(lines, line)
		}
	}
	return lines
}

func wantLines(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant:\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestTrace(t *testing.T) {
	ctx, events := traced(t)
	path, stop := serveTraced(t, ctx, &Server{Workers: 1, Handler: HandlerFunc(func(ctx context.Context, w *ResponseWriter, r *Request) error {
		ctx, region := trace2.Region(ctx, "app", "look up")
		defer region.End()
		trace2.Data(ctx, "app", "key", string(r.Body))
		return commands(ctx, w, r)
	})})
	if _, err := Call(ctx, path, []byte("echo 12345")); err != nil {
		t.Error(err)
	}
	if _, err := Call(ctx, path, []byte("fail")); err == nil {
		t.Error("a request that must fail has not")
	}
	r, err := new(Dialer).CallStream(ctx, path, strings.NewReader("echo 1"))
	if err != nil {
		t.Fatal(err)
	}
	_, own := trace2.Region(ctx, "app", "read") // while the response comes, the regions are the caller's
	if b, err := io.ReadAll(r); string(b) != "1" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
	own.End()
	r.Close()
	if _, err := (&Dialer{NoWaitBusy: true}).Dial(ctx, path+".not"); err == nil {
		t.Error("there is a server where none is")
	}
	if _, err := Call(ctx, path, []byte("quit 12")); err != nil {
		t.Error(err)
	}
	stop()
	list := events()

	connect := func(path string, state ...string) []string {
		return slices.Concat([]string{"region_enter ipc-client/try-connect", "ipc-client: try-connect/path=" + path},
			state, []string{"region_leave ipc-client/try-connect"})
	}
	connected := connect(path, "ipc-client: try-connect/state=0")
	call := func(data ...string) []string {
		return slices.Concat([]string{"region_enter ipc-client/send-command"}, data, []string{"region_leave ipc-client/send-command"})
	}
	claim := []string{"region_enter ipc-server/create-listener_socket", "ipc-server: listen-with-lock=" + path, "region_leave ipc-server/create-listener_socket"}
	if runtime.GOOS == "windows" { // there is no lock
		claim = slices.Delete(claim, 1, 2)
	}
	wantLines(t, "the client", of("", list), slices.Concat(
		[]string{"version", "start"}, claim,
		connected, call("ipc-client: send-command/bytes_out=10", "ipc-client: send-command/bytes_in=5"),
		connected, call("ipc-client: send-command/error=simpleipc: call "+path),
		connected, call("ipc-client: send-command/bytes_out=6"), []string{"region_enter app/read", "region_leave app/read"},
		connect(path+".not", "ipc-client: try-connect/state=3", "ipc-client: try-connect/error=simpleipc: dial "+path+".not"),
		connected, call("ipc-client: send-command/bytes_out=7", "ipc-client: send-command/bytes_in=2"),
		[]string{"exit", "atexit"})...)

	request := func(body, in, out string, data ...string) []string {
		return slices.Concat([]string{"region_enter ipc-worker/request",
			"region_enter app/look up", "app: key=" + body, "region_leave app/look up"},
			data, []string{"ipc-worker: request/bytes_in=" + in, "ipc-worker: request/bytes_out=" + out,
				"ipc-worker: request/waited_us=TIME", "ipc-worker: request/handler_us=TIME"})
	}
	leave := []string{"region_leave ipc-worker/request"}
	wantLines(t, "the worker", of("ipc-worker", list), slices.Concat([]string{"thread_start"},
		request("echo 12345", "10", "5"), leave,
		request("fail", "4", "0"), []string{"error: cannot answer a request: this request fails"}, leave,
		request("echo 1", "6", "1"), leave,
		request("quit 12", "7", "2", "ipc-worker: queue_stop_async=application_quit"), leave,
		[]string{"thread_exit"})...)
	wantLines(t, "the server", of("ipc-accept", list), "thread_start", "region_enter ipc-server/server-stop-async",
		"ipc-server: stats", "region_leave ipc-server/server-stop-async", "thread_exit")
}

// TestTraceStolen checks what is told when the path is taken away.
func TestTraceStolen(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a pipe's name cannot be taken away")
	}
	ctx, events := traced(t)
	srv := &Server{Handler: HandlerFunc(echo)}
	path, stop := serveTraced(t, ctx, srv)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	receive(t, srv.Stopping())
	stop()
	if got := of("ipc-accept", events()); len(got) < 2 || got[1] != "ipc-accept: queue_stop_async=socket_stolen" {
		t.Errorf("got %q", got)
	}
}

// TestTraceConcurrent checks that a hundred requests at once make a tree of
// regions that is well-formed for each thread.
func TestTraceConcurrent(t *testing.T) {
	const clients, workers, depth = 100, 20, 3
	ctx, events := traced(t)
	var together sync.WaitGroup // the first handlers, so that they are at work at the same time
	together.Add(workers)
	var handled atomic.Int64
	path, stop := serveTraced(t, ctx, &Server{Workers: workers, Handler: HandlerFunc(func(ctx context.Context, w *ResponseWriter, r *Request) error {
		if handled.Add(1) <= workers {
			together.Done()
			together.Wait()
		}
		for i := range depth {
			var region trace2.Span
			ctx, region = trace2.Region(ctx, "app", fmt.Sprintf("level %d", i+1))
			defer region.End()
			trace2.Data(ctx, "app", "client", string(r.Body))
		}
		return echo(ctx, w, r)
	})})
	var callers sync.WaitGroup
	for i := range clients {
		callers.Go(func() {
			ctx, end := trace2.Thread(ctx, "caller")
			defer end()
			if _, err := Call(ctx, path, fmt.Appendf(nil, "%03d", i)); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	stop()

	threads := make(map[string]int)   // how many requests each worker has answered
	seen := make(map[string]int)      // how often each client was told in a worker's thread
	told := make(map[string][]string) // the client of each region that the request at hand has entered
	for _, e := range events() {
		thread := e.Text("thread")
		if !strings.HasSuffix(thread, ":ipc-worker") {
			continue
		}
		switch tell(e) {
		case "ipc-worker region_enter ipc-worker/request":
			threads[thread]++
		case "ipc-worker region_leave ipc-worker/request":
			if got := told[thread]; len(got) != depth || slices.Compact(slices.Clone(got))[0] != got[depth-1] {
				t.Errorf("a request of %s has told %q", thread, got)
			}
			told[thread] = nil
		}
		if e.Text("key") == "client" {
			if nesting := e.Int("nesting"); nesting != len(told[thread])+3 {
				t.Errorf("nesting %d after %q", nesting, told[thread])
			}
			told[thread] = append(told[thread], e.Text("value"))
			seen[e.Text("value")]++
		}
	}
	total := 0
	for _, n := range threads {
		total += n
	}
	if total != clients || len(threads) != workers || len(seen) != clients {
		t.Errorf("%d requests of %d clients in %d threads, want %d in %d", total, len(seen), len(threads), clients, workers)
	}
	for client, n := range seen {
		if n != depth {
			t.Errorf("client %s is in %d regions, want %d", client, n, depth)
		}
	}
}

// TestTraceGoexit checks that the thread of a worker goes on in order if the
// handler ends its goroutine.
func TestTraceGoexit(t *testing.T) {
	ctx, events := traced(t)
	path, stop := serveTraced(t, ctx, &Server{Workers: 1, Handler: HandlerFunc(func(ctx context.Context, w *ResponseWriter, r *Request) error {
		if string(r.Body) == "exit" {
			runtime.Goexit()
		}
		return nil
	})})
	for _, request := range []string{"exit", "ok"} {
		_, err := Call(ctx, path, []byte(request))
		if (err == nil) != (request == "ok") {
			t.Errorf("%s: %v", request, err)
		}
	}
	stop()
	got := slices.DeleteFunc(of("ipc-worker", events()), func(line string) bool { return strings.HasPrefix(line, "ipc-worker: ") })
	wantLines(t, "the workers", got, "thread_start", "region_enter ipc-worker/request", "region_leave ipc-worker/request",
		"region_enter ipc-worker/request", "region_leave ipc-worker/request", "thread_exit")
}

// TestTraceOff checks that what traces costs no memory if nothing is traced.
func TestTraceOff(t *testing.T) {
	ctx := t.Context()
	c := &serverConn{srv: new(Server)}
	if n := testing.AllocsPerRun(100, func() {
		traceConnect(ctx, io.EOF)
		traceCall(ctx, 1, 1, io.EOF)
		ctx, o := c.observe(ctx)
		o.handlerReturned()
		o.end(ctx, io.EOF)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkTraced measures an exchange on a kept connection, by what is traced
// to the null device.
func BenchmarkTraced(b *testing.B) {
	null, err := filepath.Abs(os.DevNull)
	if err != nil {
		b.Fatal(err)
	}
	for _, format := range []string{"off", "GIT_TRACE2", "GIT_TRACE2_PERF", "GIT_TRACE2_EVENT"} {
		b.Run(format, func(b *testing.B) {
			tracer := trace2.New(func(name string) string {
				if name == format {
					return null
				}
				return ""
			})
			defer tracer.Exit(0)
			ctx := tracer.Context(b.Context())
			l, err := Listen(ctx, tempPath(b))
			if err != nil {
				b.Fatal(err)
			}
			srv := &Server{Handler: HandlerFunc(echo)}
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = srv.Serve(ctx, l) // it is closed below
			}()
			c := dial(b, l.Path())
			request, response := []byte("0123456789abcdef"), make([]byte, 0, 16)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.AppendCall(ctx, response, request); err != nil {
					b.Fatal(err)
				}
			}
			c.Close()
			srv.Close()
			<-done
		})
	}
}
