package simpleipc

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestQuit(t *testing.T) {
	s := serve(t, &Server{Handler: HandlerFunc(commands)})
	idle := dial(t, s.path)
	wantCall(t, s.path, "quit bye", "bye")
	if err := s.wait(t); err != ErrServerClosed {
		t.Errorf("Serve: %v", err)
	}
	wantFiles(t, s.path)
	if _, err := Call(t.Context(), s.path, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Call after quit: %v", err)
	}
	if _, err := idle.Call(t.Context(), nil); !errors.Is(err, ErrConnClosed) {
		t.Errorf("call on a kept connection after quit: %v", err)
	}
}

// TestDrain shuts down in each of the ways, with clients in every state:
// requests that are being handled and that wait are answered, and those that
// have not wholly arrived are dropped.
func TestDrain(t *testing.T) {
	for name, stop := range map[string]func(s *testServer, cancel context.CancelFunc){
		"Shutdown":  func(s *testServer, _ context.CancelFunc) { s.Shutdown(context.Background()) },
		"context":   func(s *testServer, cancel context.CancelFunc) { cancel() },
		"stolen":    func(s *testServer, _ context.CancelFunc) { os.Remove(s.path) },
		"Quit":      func(s *testServer, _ context.CancelFunc) { Call(context.Background(), s.path, []byte("quit")) },
		"in flight": func(s *testServer, _ context.CancelFunc) { s.shutDown(ErrServerClosed, "the test says so") },
	} {
		if name == "stolen" && runtime.GOOS == "windows" {
			continue // a pipe's name cannot be taken away
		}
		t.Run(name, func(t *testing.T) {
			release := make(chan struct{})
			srv := &Server{Workers: 2, Handler: HandlerFunc(func(ctx context.Context, w *ResponseWriter, r *Request) error {
				if string(r.Body) == "quit" {
					return Quit
				}
				<-release
				if err := ctx.Err(); err != nil {
					t.Errorf("context of a handler while draining: %v", err)
				}
				return echo(ctx, w, r)
			})}
			if name == "Quit" {
				srv.Workers = 3
			}
			l, err := Listen(t.Context(), tempPath(t))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			s := &testServer{Server: srv, path: l.Path(), done: make(chan struct{})}
			go func() {
				defer close(s.done)
				s.err = srv.Serve(ctx, l)
			}()
			defer s.wait(t)
			defer srv.Close()

			var wg sync.WaitGroup
			big := strings.Repeat("x", 1<<20) // more than a socket's buffer
			for i := range 2 {
				wg.Go(func() { wantCall(t, s.path, big, big) })
				s.stats(t, "handled", func(st Stats) bool { return st.Active == int64(i+1) })
			}
			if name != "Quit" {
				for i := range 5 {
					wg.Go(func() { wantCall(t, s.path, "waiting", "waiting") })
					s.stats(t, "waiting", func(st Stats) bool { return st.Waiting == int64(i+1) })
				}
			}
			open := s.Stats().Open
			silent, half := rawConn(t, s.path), rawConn(t, s.path)
			send(t, half, "0008pi")
			s.stats(t, "all accepted", func(st Stats) bool { return st.Open == open+2 })

			stopped := make(chan struct{})
			go func() {
				defer close(stopped)
				stop(s, cancel)
			}()
			wantHangUp(t, silent)
			wantHangUp(t, half)
			select {
			case <-s.done:
				t.Error("Serve returned with requests unanswered")
			default:
			}
			close(release)
			wg.Wait()
			want := ErrServerClosed
			if name == "stolen" {
				want = ErrStolen
			}
			if err := s.wait(t); !errors.Is(err, want) {
				t.Errorf("Serve: %v, want %v", err, want)
			}
			receive(t, stopped)
			wantFiles(t, s.path)
		})
	}
}

// TestDrainServesBacklog shuts a server down for which clients wait that have
// sent a whole request and were not accepted yet.
func TestDrainServesBacklog(t *testing.T) {
	l, err := Listen(t.Context(), tempPath(t))
	if err != nil {
		t.Fatal(err)
	}
	whole, half, silent := rawConn(t, l.Path()), rawConn(t, l.Path()), rawConn(t, l.Path())
	send(t, whole, "0008ping0000")
	send(t, half, "0008pi")
	srv := &Server{Handler: HandlerFunc(echo)}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := srv.Serve(ctx, l); err != ErrServerClosed {
		t.Errorf("Serve: %v", err)
	}
	if got, err := io.ReadAll(whole); string(got) != "0008ping0000" {
		t.Errorf("the whole request was answered with %q, %v", got, err)
	}
	wantHangUp(t, half)
	wantHangUp(t, silent)
}

func TestDrainTimeout(t *testing.T) {
	cause := make(chan error, 1)
	entered := make(chan struct{})
	s := serve(t, &Server{DrainTimeout: 50 * time.Millisecond, Handler: HandlerFunc(func(ctx context.Context, w *ResponseWriter, r *Request) error {
		close(entered)
		<-ctx.Done()
		cause <- context.Cause(ctx)
		return ctx.Err()
	})})
	c := rawConn(t, s.path)
	send(t, c, "0000")
	receive(t, entered)
	if err := s.Shutdown(t.Context()); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	if err := receive(t, cause); err != ErrServerClosed {
		t.Errorf("cause: %v", err)
	}
	wantHangUp(t, c)
	wantFiles(t, s.path)
}

// TestNoHandlerAfterServe closes a server for which requests wait. They are not
// handed to the handler any more.
func TestNoHandlerAfterServe(t *testing.T) {
	for _, streamed := range []bool{false, true} {
		var calls atomic.Int32
		release := make(chan struct{})
		s := serve(t, &Server{Workers: 1, StreamRequests: streamed, Handler: HandlerFunc(func(context.Context, *ResponseWriter, *Request) error {
			calls.Add(1)
			<-release
			return nil
		})})
		for i := range 10 {
			send(t, rawConn(t, s.path), "0000")
			s.stats(t, "queued", func(st Stats) bool { return st.Active == 1 && st.Waiting == int64(i) })
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		s.wait(t)
		close(release)
		s.stats(t, "all closed", func(st Stats) bool { return st.Open == 0 })
		if n := calls.Load(); n != 1 {
			t.Errorf("streamed: %v: %d calls of the handler, want 1", streamed, n)
		}
	}
}

// TestShutdownTellsOfCutOff has one of two shutdowns lose its patience. Both
// say that a request was cut off.
func TestShutdownTellsOfCutOff(t *testing.T) {
	entered := make(chan struct{})
	s := serve(t, &Server{Handler: HandlerFunc(func(ctx context.Context, w *ResponseWriter, r *Request) error {
		close(entered)
		<-ctx.Done()
		return ctx.Err()
	})})
	send(t, rawConn(t, s.path), "0000")
	receive(t, entered)
	patient := make(chan error, 1)
	go func() { patient <- s.Shutdown(context.Background()) }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); err != context.DeadlineExceeded {
		t.Errorf("the impatient one: %v", err)
	}
	if err := receive(t, patient); err == nil {
		t.Error("the patient one knows nothing of it")
	}
}

func TestShutdownContext(t *testing.T) {
	entered := make(chan struct{})
	s := serve(t, &Server{Handler: HandlerFunc(func(ctx context.Context, w *ResponseWriter, r *Request) error {
		close(entered)
		<-ctx.Done()
		return ctx.Err()
	})})
	c := rawConn(t, s.path)
	send(t, c, "0000")
	receive(t, entered)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); err != context.DeadlineExceeded {
		t.Errorf("Shutdown: %v", err)
	}
	s.wait(t)
	wantHangUp(t, c)
}

// TestClose closes a server whose handler does not listen to its context: the
// server does not wait for it.
func TestClose(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	s := serve(t, &Server{Handler: HandlerFunc(func(ctx context.Context, w *ResponseWriter, r *Request) error {
		close(entered)
		<-release
		return nil
	})})
	c := rawConn(t, s.path)
	send(t, c, "0000")
	receive(t, entered)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.wait(t); err != ErrServerClosed {
		t.Errorf("Serve: %v", err)
	}
	wantHangUp(t, c)
	wantFiles(t, s.path)
}

// TestLifecycleCalls makes the calls too early, too late, repeatedly and from a
// handler.
func TestLifecycleCalls(t *testing.T) {
	never := new(Server)
	for range 2 {
		if err := never.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := never.Close(); err != nil {
			t.Error(err)
		}
	}
	l, err := Listen(t.Context(), tempPath(t))
	if err != nil {
		t.Fatal(err)
	}
	never.Handler = HandlerFunc(echo)
	if err := never.Serve(t.Context(), l); err != ErrServerClosed {
		t.Errorf("Serve after Close: %v", err)
	}
	wantFiles(t, l.Path())

	for name, call := range map[string]func(context.Context, *Server) error{
		"Shutdown": func(ctx context.Context, s *Server) error { return s.Shutdown(ctx) },
		"Shutdown with a derived context": func(ctx context.Context, s *Server) error {
			ctx, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			return s.Shutdown(ctx)
		},
		"Close": func(_ context.Context, s *Server) error { return s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			srv := new(Server)
			result := make(chan error, 1)
			srv.Handler = HandlerFunc(func(ctx context.Context, w *ResponseWriter, r *Request) error {
				result <- call(ctx, srv)
				return nil
			})
			s := serve(t, srv)
			_, err := Call(t.Context(), s.path, nil)
			if (err != nil) != (name == "Close") {
				t.Errorf("the response: %v", err)
			}
			if err := receive(t, result); err != nil {
				t.Error(err)
			}
			if err := s.wait(t); err != ErrServerClosed {
				t.Errorf("Serve: %v", err)
			}
			for range 2 {
				// Close has cut off the request from which it was called.
				if err := s.Shutdown(t.Context()); (err != nil) != (name == "Close") {
					t.Error(err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestCloseAnyTime closes servers at many moments of their start and their
// work, from several goroutines.
func TestCloseAnyTime(t *testing.T) {
	path := tempPath(t)
	for i := range 100 {
		l, err := Listen(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		srv := &Server{Handler: HandlerFunc(echo), Workers: 2}
		var wg sync.WaitGroup
		wg.Go(func() { srv.Serve(context.Background(), l) })
		for range 4 {
			wg.Go(func() {
				for range i % 5 {
					Call(t.Context(), path, []byte("x"))
				}
				if i%2 == 0 {
					srv.Close()
				} else {
					srv.Shutdown(context.Background())
				}
			})
		}
		wg.Wait()
		wantFiles(t, path)
	}
}

func TestListenerClosedWhileServing(t *testing.T) {
	l, err := Listen(t.Context(), tempPath(t))
	if err != nil {
		t.Fatal(err)
	}
	s := serveListener(t, &Server{}, l)
	wantCall(t, s.path, "x", "x")
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := s.wait(t); err == nil || errors.Is(err, ErrServerClosed) {
		t.Errorf("Serve: %v", err)
	}
	wantFiles(t, s.path)
}

// TestDrainStreamedRequests hangs up on a client whose streamed request has
// begun and not ended.
func TestDrainStreamedRequests(t *testing.T) {
	result := make(chan error, 1)
	s := serve(t, &Server{StreamRequests: true, Handler: HandlerFunc(func(ctx context.Context, w *ResponseWriter, r *Request) error {
		_, err := io.Copy(io.Discard, r)
		result <- err
		return err
	})})
	c := rawConn(t, s.path)
	send(t, c, "0008pi")
	s.stats(t, "handled", func(st Stats) bool { return st.Active == 1 })
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := receive(t, result); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the handler read: %v", err)
	}
	wantHangUp(t, c)
}

// TestIdleExit has servers end when they have nothing to do, and not before.
func TestIdleExit(t *testing.T) {
	const short = 20 * time.Millisecond
	t.Run("never asked", func(t *testing.T) {
		l, err := Listen(t.Context(), tempPath(t))
		if err != nil {
			t.Fatal(err)
		}
		dial(t, l.Path()) // a connection does not keep it
		s := serveListener(t, &Server{IdleExit: short}, l)
		if err := s.wait(t); err != ErrServerClosed {
			t.Error(err)
		}
		wantFiles(t, s.path)
	})
	t.Run("asked", func(t *testing.T) {
		s := serve(t, &Server{IdleExit: short})
		tick := time.NewTicker(short / 3)
		defer tick.Stop()
		var last, begun time.Time
		for range 6 { // which takes longer than short
			<-tick.C
			select {
			case <-s.Stopping(): // it was about to, as the request came, and has answered all the same
			default:
				last = begun
			}
			begun = time.Now()
			if _, err := Call(t.Context(), s.path, nil); err != nil {
				// Other processes have kept this one from running.
				if e := (*Error)(nil); !errors.As(err, &e) || e.MaybeSeen && runtime.GOOS != "windows" {
					t.Error(err)
				}
				break
			}
		}
		if err := s.wait(t); err != ErrServerClosed {
			t.Error(err)
		}
		if d := time.Since(last); d < short {
			t.Errorf("it ended %v after a request", d)
		}
	})
	t.Run("busy", func(t *testing.T) {
		for idle := short; ; idle *= 2 {
			l, err := Listen(t.Context(), tempPath(t))
			if err != nil {
				t.Fatal(err)
			}
			c := rawConn(t, l.Path())
			send(t, c, "0000")
			release := make(chan struct{})
			s := serveListener(t, &Server{IdleExit: idle, Handler: HandlerFunc(func(context.Context, *ResponseWriter, *Request) error {
				<-release
				return nil
			})}, l)
			s.stats(t, "a request is handled", func(st Stats) bool { return st.Active == 1 })
			late := false
			select {
			case <-s.Stopping(): // on a busy machine it is handled late
				late = idle < patience
			default:
			}
			if !late {
				select {
				case <-s.Stopping():
					t.Error("it ends while a request is handled")
				case <-time.After(5 * idle):
				}
			}
			close(release)
			if answer, err := io.ReadAll(c); string(answer) != "0000" {
				t.Errorf("the answer is %q, %v", answer, err)
			}
			s.wait(t)
			if !late {
				return
			}
		}
	})
	t.Run("receiving", func(t *testing.T) {
		const request = "0009hello0000"
		for idle := short; ; idle *= 2 {
			s := serve(t, &Server{IdleExit: idle})
			c := rawConn(t, s.path)
			c.Write([]byte(request[:1]))
			ended := false
			for tick := time.NewTicker(time.Millisecond); s.arriving.Load() == 0 && !ended; {
				select {
				case <-tick.C:
				case <-s.done:
					ended = true
				}
			}
			if ended { // on a busy machine the beginning comes late
				if idle > patience {
					t.Fatal("it ends before the request arrives")
				}
				continue
			}
			select {
			case <-s.done:
				t.Error("it has ended")
			case <-time.After(5 * idle):
			}
			c.Write([]byte(request[1:]))
			answer := make([]byte, len(request))
			if _, err := io.ReadFull(c, answer); err != nil || string(answer) != request {
				t.Errorf("the answer is %q, %v", answer, err)
			}
			s.wait(t)
			return
		}
	})
}
