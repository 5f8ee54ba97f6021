package simpleipc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/simpleipc/internal/race"
)

func TestServe(t *testing.T) {
	s := serve(t, &Server{Handler: HandlerFunc(commands)})
	wantCall(t, s.path, "echo hello", "hello")
	wantCall(t, s.path, "empty", "")
	big := strings.Repeat("0123456789abcdef", 1<<16)
	wantCall(t, s.path, "echo "+big, big)
	s.stats(t, "all closed", func(st Stats) bool { return st.Open == 0 })
	st := s.Stats()
	if st.Accepted != 3 || st.Requests != 3 || st.Responses != 3 || st.Active != 0 || st.Waiting != 0 || st.Dropped != (Dropped{}) {
		t.Errorf("stats: %+v", st)
	}
	if want := int64(len(wire([]byte("echo hello"))) + len(wire([]byte("empty"))) + len(wire([]byte("echo "+big)))); st.BytesIn != want {
		t.Errorf("bytes in: %d, want %d", st.BytesIn, want)
	}
	if want := int64(len(wire([]byte("hello"))) + len(wire(nil)) + len(wire([]byte(big)))); st.BytesOut != want {
		t.Errorf("bytes out: %d, want %d", st.BytesOut, want)
	}
}

// TestManyClients has many clients at once, each with messages of its own.
func TestManyClients(t *testing.T) {
	s := serve(t, &Server{Workers: 3})
	var wg sync.WaitGroup
	for k := range 16 {
		wg.Go(func() {
			c, err := new(Dialer).Dial(t.Context(), s.path)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for i := range 20 {
				want := bytes.Repeat([]byte{byte('A' + k)}, i*i*i*10)
				got, err := c.Call(t.Context(), want)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("client %d, call %d, kept: %v", k, i, err)
				}
				got, err = Call(t.Context(), s.path, want)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("client %d, call %d, new: %v", k, i, err)
				}
			}
		})
	}
	wg.Wait()
}

// TestSilentClientsHoldNoWorker has more clients than there are workers that
// send nothing, half a request or all but the flush packet.
func TestSilentClientsHoldNoWorker(t *testing.T) {
	s := serve(t, &Server{Workers: 2})
	for i := range 50 {
		c := rawConn(t, s.path)
		send(t, c, []string{"", "0", "0008pi", "0008ping", "0008ping000"}[i%5])
	}
	wantCall(t, s.path, "hello", "hello")
	if st := s.Stats(); st.Dropped != (Dropped{}) || st.Requests != 1 {
		t.Errorf("stats: %+v", st)
	}
}

func TestWorkersBound(t *testing.T) {
	const workers = 3
	var now, most atomic.Int32
	release := make(chan struct{})
	s := serve(t, &Server{Workers: workers, Handler: HandlerFunc(func(context.Context, *ResponseWriter, *Request) error {
		n := now.Add(1)
		defer now.Add(-1)
		for {
			m := most.Load()
			if n <= m || most.CompareAndSwap(m, n) {
				break
			}
		}
		<-release
		return nil
	})})
	var wg sync.WaitGroup
	for range 4 * workers {
		wg.Go(func() { wantCall(t, s.path, "", "") })
	}
	s.stats(t, "all workers busy, the rest waiting", func(st Stats) bool {
		return st.Active == workers && st.Waiting == 3*workers
	})
	close(release)
	wg.Wait()
	if most.Load() != workers {
		t.Errorf("%d handlers at once, want %d", most.Load(), workers)
	}
}

// TestOverload checks that the client which is one too many is hung up on at
// once, and that the others are answered.
func TestOverload(t *testing.T) {
	release := make(chan struct{})
	s := serve(t, &Server{Workers: 1, MaxWaiting: 2, Handler: HandlerFunc(func(context.Context, *ResponseWriter, *Request) error {
		<-release
		return nil
	})})
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() { wantCall(t, s.path, "", "") })
		s.stats(t, "the request accepted", func(st Stats) bool { return st.Active == 1 && st.Waiting == int64(i) })
	}
	_, err := Call(t.Context(), s.path, nil)
	if !errors.Is(err, ErrConnClosed) {
		t.Errorf("one too many: %v", err)
	}
	if st := s.Stats(); st.Dropped.Overload != 1 {
		t.Errorf("stats: %+v", st)
	}
	close(release)
	wg.Wait()
}

func TestHandlerError(t *testing.T) {
	s := serve(t, &Server{Handler: HandlerFunc(commands)})
	c := dial(t, s.path)
	_, err := c.Call(t.Context(), []byte("fail"))
	var e *Error
	if !errors.Is(err, ErrConnClosed) || !errors.As(err, &e) || !e.MaybeSeen {
		t.Errorf("handler failed: %v", err)
	}
	big := strings.Repeat("x", 300000)
	if got, err := Call(t.Context(), s.path, []byte("fail "+big)); !errors.Is(err, io.ErrUnexpectedEOF) || got != nil {
		t.Errorf("handler failed late: %d bytes, %v", len(got), err)
	}
	wantCall(t, s.path, "echo on", "on")
	s.stats(t, "two failures", func(st Stats) bool { return st.Dropped.Failed == 2 && st.Open == 0 })
	if log := s.log.String(); !strings.Contains(log, "this request fails") || strings.Contains(log, "xxxx") {
		t.Errorf("log: %s", log)
	}
}

func TestHandlerPanic(t *testing.T) {
	s := serve(t, &Server{Workers: 1, Handler: HandlerFunc(func(ctx context.Context, w *ResponseWriter, r *Request) error {
		switch string(r.Body) {
		case "panic":
			io.WriteString(w, strings.Repeat("x", 100000))
			panic("as asked")
		case "nil":
			panic(nil)
		case "goexit":
			runtime.Goexit()
		}
		return echo(ctx, w, r)
	})})
	for _, how := range []string{"panic", "nil", "goexit"} {
		for range 3 { // more than there are workers
			got, err := Call(t.Context(), s.path, []byte(how))
			if err == nil || got != nil {
				t.Errorf("%s: %d bytes, %v", how, len(got), err)
			}
		}
		wantCall(t, s.path, "hello", "hello")
	}
	s.stats(t, "all counted", func(st Stats) bool {
		return st.Dropped.Panicked == 6 && st.Dropped.Failed == 3 && st.Active == 0
	})
	if log := s.log.String(); !strings.Contains(log, "as asked") || !strings.Contains(log, "server_test.go") {
		t.Errorf("the log has no panic with its stack: %s", log)
	}
}

func TestProbesAreQuiet(t *testing.T) {
	s := serve(t, &Server{})
	for range 10 {
		if state, err := Probe(t.Context(), s.path); state != Listening || err != nil {
			t.Fatalf("%v, %v", state, err)
		}
	}
	s.stats(t, "probes closed", func(st Stats) bool { return st.Accepted == 10 && st.Open == 0 })
	if st := s.Stats(); st.Requests != 0 || st.Dropped != (Dropped{}) {
		t.Errorf("stats: %+v", st)
	}
	for line := range strings.Lines(s.log.String()) {
		if !strings.Contains(line, "level=DEBUG") && !strings.Contains(line, "msg=listening") {
			t.Errorf("logged: %s", line)
		}
	}
}

// TestBrokenRequests sends what is no request. The server hangs up, says why
// in its counts, and serves others.
func TestBrokenRequests(t *testing.T) {
	for _, tt := range []struct {
		sent  string
		close bool
		count func(*Dropped) *int64
	}{
		{"0003", false, func(d *Dropped) *int64 { return &d.Malformed }},
		{"fff1", false, func(d *Dropped) *int64 { return &d.Malformed }},
		{"GET / HTTP/1.1\r\n\r\n", false, func(d *Dropped) *int64 { return &d.Malformed }},
		{"0008ping0001", false, func(d *Dropped) *int64 { return &d.Malformed }},
		{"0002", false, func(d *Dropped) *int64 { return &d.Malformed }},
		{"0008ping", true, func(d *Dropped) *int64 { return &d.CutShort }},
		{"0", true, func(d *Dropped) *int64 { return &d.CutShort }},
		{"fff0" + strings.Repeat("x", 1000), true, func(d *Dropped) *int64 { return &d.CutShort }},
		{"0008ping" + "fff0", false, func(d *Dropped) *int64 { return &d.TooLarge }},
		{strings.Repeat("0005x", 1025) + "0000", false, func(d *Dropped) *int64 { return &d.TooLarge }},
		{"0008ping", false, func(d *Dropped) *int64 { return &d.Slow }},
	} {
		t.Run(fmt.Sprintf("%.20q", tt.sent), func(t *testing.T) {
			var want Dropped
			*tt.count(&want) = 1
			srv := &Server{MaxRequest: 1024}
			if tt.close {
				srv.MaxRequest = 0
			}
			if want.Slow > 0 {
				srv.ReadTimeout = 50 * time.Millisecond
			}
			s := serve(t, srv)
			c := rawConn(t, s.path)
			go io.WriteString(c, tt.sent)
			if tt.close {
				s.stats(t, "request arriving", func(st Stats) bool { return st.BytesIn == int64(len(tt.sent)) })
				halfClose(c)
			}
			wantHangUp(t, c)
			s.stats(t, "dropped", func(st Stats) bool { return st.Dropped == want && st.Open == 0 })
			if st := s.Stats(); st.Requests != 0 {
				t.Errorf("stats: %+v", st)
			}
			if strings.Contains(s.log.String(), "GET") {
				t.Error("the log has what was sent")
			}
			wantCall(t, s.path, "hello", "hello")
		})
	}
}

// TestIdleTimeout has clients come before they are served, and the requests,
// too: no slow machine makes them late.
func TestIdleTimeout(t *testing.T) {
	l, err := Listen(t.Context(), tempPath(t))
	if err != nil {
		t.Fatal(err)
	}
	silent, asking, kept := rawConn(t, l.Path()), rawConn(t, l.Path()), dial(t, l.Path())
	requests := strings.Repeat("0005x0000", 3)
	send(t, asking, requests)
	s := serveListener(t, &Server{IdleTimeout: 500 * time.Millisecond}, l)
	wantHangUp(t, silent)
	if got, err := io.ReadAll(asking); string(got) != requests {
		t.Errorf("the responses are %q, %v", got, err)
	}
	s.stats(t, "idle connections closed", func(st Stats) bool { return st.Idle == 3 && st.Open == 0 })
	_, err = kept.Call(t.Context(), []byte("x"))
	var e *Error
	if !errors.Is(err, ErrConnClosed) || !errors.As(err, &e) || e.MaybeSeen {
		t.Errorf("call on a connection that was idle for too long: %v", err)
	}
}

// TestIdleTimeoutSparesHandlers has a handler work for longer than the idle
// timeout.
func TestIdleTimeoutSparesHandlers(t *testing.T) {
	const idle = 200 * time.Millisecond
	l, err := Listen(t.Context(), tempPath(t))
	if err != nil {
		t.Fatal(err)
	}
	const request = "000bpatient0000"
	c := rawConn(t, l.Path())
	send(t, c, request) // before the time begins
	serveListener(t, &Server{IdleTimeout: idle, Handler: HandlerFunc(func(ctx context.Context, w *ResponseWriter, r *Request) error {
		select {
		case <-time.After(2 * idle):
			return echo(ctx, w, r)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})}, l)
	response := make([]byte, len(request))
	if _, err := io.ReadFull(c, response); err != nil || string(response) != request {
		t.Errorf("the response is %q, %v", response, err)
	}
}

// TestClientHangsUp checks that a handler hears of it, wherever it is.
func TestClientHangsUp(t *testing.T) {
	entered := make(chan struct{}, 1)
	cause := make(chan error, 1)
	s := serve(t, &Server{Handler: HandlerFunc(func(ctx context.Context, w *ResponseWriter, r *Request) error {
		entered <- struct{}{}
		<-ctx.Done()
		cause <- context.Cause(ctx)
		return ctx.Err()
	})})
	c := rawConn(t, s.path)
	send(t, c, "0000")
	receive(t, entered)
	c.Close()
	if err := receive(t, cause); err != ErrConnClosed {
		t.Errorf("cause: %v", err)
	}
	s.stats(t, "hung up", func(st Stats) bool { return st.Dropped == Dropped{HungUp: 1} && st.Open == 0 })
}

// TestContextEndsWithHandler checks that a handler's context does not outlive
// it on a kept connection.
func TestContextEndsWithHandler(t *testing.T) {
	contexts := make(chan context.Context, 1)
	s := serve(t, &Server{Handler: HandlerFunc(func(ctx context.Context, w *ResponseWriter, r *Request) error {
		contexts <- ctx
		return nil
	})})
	c := dial(t, s.path)
	for range 2 {
		if _, err := c.Call(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		receive(t, receive(t, contexts).Done())
	}
}

// TestStalledClient checks that a client which does not read holds a worker no
// longer than WriteTimeout, with small writes and with large ones.
func TestStalledClient(t *testing.T) {
	for _, size := range []int{1000, 10 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			chunk := bytes.Repeat([]byte("x"), size)
			result := make(chan error, 1)
			s := serve(t, &Server{Workers: 1, WriteTimeout: 50 * time.Millisecond, Handler: HandlerFunc(func(ctx context.Context, w *ResponseWriter, r *Request) error {
				if len(r.Body) > 0 {
					return echo(ctx, w, r)
				}
				for {
					if _, err := w.Write(chunk); err != nil {
						result <- err
						return err
					}
				}
			})})
			c := rawConn(t, s.path)
			send(t, c, "0000")
			if err := receive(t, result); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the handler's write: %v", err)
			}
			wantCall(t, s.path, "next", "next")
			s.stats(t, "stalled client dropped", func(st Stats) bool { return st.Dropped == Dropped{Stalled: 1} && st.Open == 0 })
			// What the client reads now is no whole response.
			if _, err := io.Copy(io.Discard, c); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSlowReaderIsNotStalled reads a large response with pauses. As long as it
// goes on reading, it is served.
func TestSlowReaderIsNotStalled(t *testing.T) {
	for limit := time.Second; ; limit *= 2 {
		longest, err := readSlowly(t, limit)
		if err == nil {
			return
		}
		if longest < limit/2 || limit > patience {
			t.Fatalf("WriteTimeout %v: %v", limit, err)
		}
		// Other processes have kept this one from reading.
	}
}

// readSlowly reads a large response of a server with this WriteTimeout, for
// twice as long. It returns the longest time that a part took to be read.
func readSlowly(t *testing.T, limit time.Duration) (longest time.Duration, err error) {
	t.Helper()
	const parts, size = 40, 1 << 20
	s := serve(t, &Server{WriteTimeout: limit, Handler: HandlerFunc(func(ctx context.Context, w *ResponseWriter, r *Request) error {
		_, err := w.Write(make([]byte, parts*size))
		return err
	})})
	resp, err := new(Dialer).CallStream(t.Context(), s.path, strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Close()
	tick := time.NewTicker(2 * limit / parts)
	defer tick.Stop()
	buf := make([]byte, size)
	last := time.Now()
	for i := range parts {
		<-tick.C
		_, err := io.ReadFull(resp, buf)
		now := time.Now()
		longest, last = max(longest, now.Sub(last)), now
		if err != nil {
			return longest, fmt.Errorf("part %d: %w", i, err)
		}
	}
	if n, err := resp.Read(buf); n != 0 || err != io.EOF {
		t.Errorf("at the end: %d, %v", n, err)
	}
	return longest, nil
}

func TestSendStreams(t *testing.T) {
	next := make(chan struct{})
	s := serve(t, &Server{Handler: HandlerFunc(func(ctx context.Context, w *ResponseWriter, r *Request) error {
		for i := range 3 {
			fmt.Fprintf(w, "line %d\n", i)
			if err := w.Send(); err != nil {
				return err
			}
			<-next
		}
		return nil
	})})
	resp, err := new(Dialer).CallStream(t.Context(), s.path, strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Close()
	for i := range 3 {
		line := make([]byte, len("line 0\n"))
		if _, err := io.ReadFull(resp, line); err != nil || string(line) != fmt.Sprintf("line %d\n", i) {
			t.Errorf("got %q, %v", line, err)
		}
		next <- struct{}{}
	}
	if rest, err := io.ReadAll(resp); len(rest) != 0 || err != nil {
		t.Errorf("the rest: %q, %v", rest, err)
	}
}

// TestRequestReads has a handler use its request as an io.Reader, on a kept
// connection.
func TestRequestReads(t *testing.T) {
	s := serve(t, &Server{Handler: HandlerFunc(func(ctx context.Context, w *ResponseWriter, r *Request) error {
		head := make([]byte, 2)
		if _, err := io.ReadFull(r, head); err != nil {
			return err
		}
		_, err := io.Copy(w, r)
		return err
	})})
	c := dial(t, s.path)
	for range 2 {
		if got, err := c.Call(t.Context(), []byte("..rest")); err != nil || string(got) != "rest" {
			t.Errorf("got %q, %v", got, err)
		}
	}
}

func TestPeerOfRequest(t *testing.T) {
	s := serve(t, &Server{Handler: HandlerFunc(func(_ context.Context, w *ResponseWriter, r *Request) error {
		_, err := fmt.Fprint(w, r.Peer)
		return err
	})})
	me := thisProcess()
	wantCall(t, s.path, "", me.String())
	if p := dial(t, s.path).Peer(); p != me {
		t.Errorf("the client sees %v, want %v", p, me)
	}
}

func TestEmptyRequestIsNotNil(t *testing.T) {
	s := serve(t, &Server{Handler: HandlerFunc(func(_ context.Context, w *ResponseWriter, r *Request) error {
		_, err := fmt.Fprint(w, r.Body != nil, len(r.Body), cap(r.Body)-len(r.Body))
		return err
	})})
	for range 3 {
		wantCall(t, s.path, "", "true 0 0")
	}
}

// TestIdleConnections holds many connections on which nothing happens, and
// calls besides.
func TestIdleConnections(t *testing.T) {
	n := idleConnections
	if testing.Short() {
		n = min(n, 1000)
	}
	if limit := openFileLimit(t); limit < uint64(n)+100 {
		t.Skipf("no more than %d descriptors here", limit)
	}
	path := tempPath(t)
	server := start(t, child(t, "claim", path))
	eventually(t, "listening", func() bool {
		state, _ := Probe(t.Context(), path)
		return state == Listening
	})
	wantCall(t, path, "warm", "warm")
	before, known := residentMemory(server.Process.Pid)
	for range n {
		c := dial(t, path)
		if _, err := c.Call(t.Context(), []byte("once")); err != nil {
			t.Fatal(err)
		}
	}
	wantCall(t, path, "hello", "hello")
	if after, _ := residentMemory(server.Process.Pid); known {
		each := (after - before) / int64(n)
		t.Logf("%d idle connections: %d KiB, %d bytes each", n, (after-before)>>10, each)
		if each > 16<<10 && !race.Enabled {
			t.Errorf("an idle connection takes %d bytes", each)
		}
	}
}

// residentMemory returns a process's resident memory in bytes, if /proc tells.
func residentMemory(pid int) (bytes int64, known bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, false
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(b), &size, &resident); err != nil {
		return 0, false
	}
	return resident * int64(os.Getpagesize()), true
}

func TestAuthorizeRefuses(t *testing.T) {
	no := errors.New("not you")
	s := serve(t, &Server{Authorize: func(p Peer) error { return no }})
	_, err := Call(t.Context(), s.path, []byte("x"))
	if !errors.Is(err, ErrConnClosed) {
		t.Errorf("refused client: %v", err)
	}
	s.stats(t, "refused", func(st Stats) bool { return st.Dropped == Dropped{Refused: 1} && st.BytesIn == 0 && st.Open == 0 })

	d := &Dialer{Authorize: func(Peer) error { return no }}
	_, err = d.Dial(t.Context(), s.path)
	if !errors.Is(err, ErrUnauthorized) || !errors.Is(err, os.ErrPermission) || !errors.Is(err, no) {
		t.Errorf("refused server: %v", err)
	}
}

// TestAuthorizeEndsGoroutine has an Authorize that ends its goroutine leave no
// connection behind.
func TestAuthorizeEndsGoroutine(t *testing.T) {
	s := serve(t, &Server{Authorize: func(Peer) error { runtime.Goexit(); return nil }})
	if _, err := Call(t.Context(), s.path, nil); !errors.Is(err, ErrConnClosed) {
		t.Errorf("client: %v", err)
	}
	s.stats(t, "the connection is closed", func(st Stats) bool { return st.Accepted == 1 && st.Open == 0 })
}

// TestLargeBodyGoes checks that small requests do not keep the memory of a
// large one.
func TestLargeBodyGoes(t *testing.T) {
	const large = 64 << 20
	s := serve(t, &Server{Handler: HandlerFunc(func(context.Context, *ResponseWriter, *Request) error { return nil })})
	c := dial(t, s.path)
	call := func(request []byte) {
		if _, err := c.Call(t.Context(), request); err != nil {
			t.Fatal(err)
		}
	}
	call(make([]byte, large))
	var m runtime.MemStats
	for range 5 {
		for range 10 {
			call([]byte("small"))
		}
		runtime.GC()
	}
	if runtime.ReadMemStats(&m); m.HeapAlloc > large {
		t.Errorf("the heap has %d MiB", m.HeapAlloc>>20)
	}
}

// TestAuthorizePanics has a panic refuse the peer and not end the process.
func TestAuthorizePanics(t *testing.T) {
	s := serve(t, &Server{Authorize: func(Peer) error { panic("no such thing") }})
	if _, err := Call(t.Context(), s.path, nil); !errors.Is(err, ErrConnClosed) {
		t.Errorf("refused client: %v", err)
	}
	s.stats(t, "refused", func(st Stats) bool { return st.Dropped == Dropped{Refused: 1} && st.Open == 0 })
	if log := s.log.String(); !strings.Contains(log, "no such thing") {
		t.Errorf("log: %s", log)
	}
}

// TestIdleTimeoutIsClean calls at about the moment in which the server hangs
// up. Either it answers, or it has not seen the request.
func TestIdleTimeoutIsClean(t *testing.T) {
	const idle = 2 * time.Millisecond
	s := serve(t, &Server{IdleTimeout: idle})
	answered, closed := 0, 0
	for i := range 300 {
		c, err := new(Dialer).Dial(t.Context(), s.path)
		if err != nil {
			t.Fatal(err)
		}
		timer := time.NewTimer(idle + time.Duration(i%30-15)*20*time.Microsecond)
		<-timer.C
		_, err = c.Call(t.Context(), []byte("x"))
		var e *Error
		switch {
		case err == nil:
			answered++
		case errors.As(err, &e) && !e.MaybeSeen:
			closed++
		case runtime.GOOS == "windows" && errors.Is(err, ErrConnClosed):
			closed++ // a pipe takes bytes until it is closed, seen or not
		default:
			t.Errorf("call: %v", err)
		}
		c.Close()
	}
	t.Logf("%d answered, %d closed before", answered, closed)
}

func TestServeOnce(t *testing.T) {
	s := serve(t, &Server{})
	wantCall(t, s.path, "x", "x")
	l, err := Listen(t.Context(), tempPath(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(t.Context(), l); err == nil || errors.Is(err, ErrServerClosed) {
		t.Errorf("Serve a second time: %v", err)
	}
	wantFiles(t, l.Path())
	wantCall(t, s.path, "still there", "still there")
	l, err = Listen(t.Context(), l.Path())
	if err != nil {
		t.Fatal(err)
	}
	if err := new(Server).Serve(t.Context(), l); err == nil || !strings.Contains(err.Error(), "Handler") {
		t.Errorf("Serve without a handler: %v", err)
	}
}
