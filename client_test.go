package simpleipc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"example.com/simpleipc/pktline"
)

// TestDialWaits checks for which states a Dialer waits, how long, and that it
// finds the server that comes meanwhile.
func TestDialWaits(t *testing.T) {
	const short = 30 * time.Millisecond
	for _, tt := range []struct {
		name   string
		dialer Dialer
		stale  bool
		waits  bool
	}{
		{"busy by default", Dialer{}, true, true},
		{"not busy", Dialer{NoWaitBusy: true}, true, false},
		{"not found by default", Dialer{}, false, false},
		{"not found", Dialer{WaitNotFound: true}, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := tempPath(t)
			gone := func() {}
			if tt.stale {
				gone = notListening(t, path)
			}
			want := fs.ErrNotExist
			if tt.stale {
				want = ErrNotListening
			}
			d := tt.dialer
			d.Timeout = patience
			if tt.waits {
				d.Timeout = short
			}
			begun := time.Now()
			_, err := d.Dial(t.Context(), path)
			if !errors.Is(err, want) {
				t.Errorf("Dial: %v, want %v", err, want)
			}
			if waited := time.Since(begun) >= d.Timeout; waited != tt.waits {
				t.Errorf("waited: %v, want %v", waited, tt.waits)
			}
			if !tt.waits {
				return
			}
			d.Timeout = patience
			for wait := short; ; wait *= 2 {
				ctx, cancel := context.WithTimeout(t.Context(), wait)
				_, err := d.Dial(ctx, path)
				cancel()
				if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, want) && wait > patience {
					t.Errorf("Dial until the context ends: %v", err)
				} else if !errors.Is(err, want) {
					continue // it ended before the first attempt
				}
				break
			}
			// A pipe goes before another one comes.
			d.WaitNotFound = d.WaitNotFound || runtime.GOOS == "windows"
			dialed := make(chan error, 1)
			go func() {
				c, err := d.Dial(t.Context(), path)
				if err == nil {
					c.Close()
				}
				dialed <- err
			}()
			gone()
			l, err := Listen(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if err := receive(t, dialed); err != nil {
				t.Errorf("Dial of a server that came: %v", err)
			}
		})
	}
}

// TestBurst has more clients at once than the backlog holds. Each waits.
func TestBurst(t *testing.T) {
	l, err := ListenConfig{Backlog: 1}.Listen(t.Context(), tempPath(t))
	if err != nil {
		t.Fatal(err)
	}
	d := &Dialer{Timeout: patience}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if got, err := d.Call(t.Context(), l.Path(), []byte("hello")); err != nil || string(got) != "hello" {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	serveListener(t, &Server{}, l)
	wg.Wait()
}

// fake serves one connection after the other with f.
func fake(t testing.TB, f func(s socket)) (path string) {
	t.Helper()
	l, err := Listen(t.Context(), tempPath(t))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			raw, err := l.accept()
			if err != nil {
				return
			}
			s := raw.sock
			s.SetDeadline(time.Now().Add(patience))
			f(s)
			s.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		receive(t, done)
	})
	return l.Path()
}

// readRequest reads one request as a fake server.
func readRequest(s socket) {
	pktline.NewReader(s).ReadMessage(nil, -1)
}

// TestBrokenResponses has servers answer in every wrong way. The client never
// takes it for a response.
func TestBrokenResponses(t *testing.T) {
	for _, tt := range []struct {
		name, answer string
		read         bool // the request, before answering
		is           error
		maybeSeen    bool
	}{
		{"hangs up", "", true, ErrConnClosed, true},
		{"hangs up unread", "", false, ErrConnClosed, true},
		{"half a header", "00", true, io.ErrUnexpectedEOF, true},
		{"a header", "0009", true, io.ErrUnexpectedEOF, true},
		{"an empty packet", "0004", true, io.ErrUnexpectedEOF, true},
		{"half a packet", "0009hel", true, io.ErrUnexpectedEOF, true},
		{"no flush", "0009hello", true, io.ErrUnexpectedEOF, true},
		{"large, no flush", "fff0" + strings.Repeat("x", 65516), true, io.ErrUnexpectedEOF, true},
		{"large, no flush, unread", "fff0" + strings.Repeat("x", 65516), false, io.ErrUnexpectedEOF, true},
		{"garbage", "HTTP/1.1 400 Bad Request", true, pktline.ErrProtocol, true},
		{"0001", "0009hello0001", true, pktline.ErrProtocol, true},
		{"0003", "0003", true, pktline.ErrProtocol, true},
		{"too large", strings.Repeat("0009hello", 30) + "0000", true, ErrTooLarge, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// The request is larger than can be sent unread if it stays unread.
			path := fake(t, func(s socket) {
				if tt.read {
					readRequest(s)
				} else {
					io.ReadFull(s, make([]byte, 4))
				}
				io.WriteString(s, tt.answer)
			})
			d := &Dialer{MaxResponse: 100000}
			if tt.is == ErrTooLarge {
				d.MaxResponse = 100
			}
			c, err := d.Dial(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			dst := []byte("kept")
			got, err := c.AppendCall(t.Context(), dst, []byte("request"))
			var e *Error
			if !errors.Is(err, tt.is) || !errors.As(err, &e) || e.MaybeSeen != tt.maybeSeen || e.State != Listening || string(got) != "kept" {
				t.Errorf("Call: %q, %v; want %v", got, err, tt.is)
			}
			_, err = c.Call(t.Context(), nil)
			if !errors.Is(err, ErrConnClosed) || !errors.As(err, &e) || e.MaybeSeen {
				t.Errorf("the next call: %v", err)
			}
			if tt.is == ErrTooLarge {
				return // streamed responses have no limit
			}
			resp, err := d.CallStream(t.Context(), path, strings.NewReader("request"))
			if err == nil {
				_, err = io.ReadAll(resp)
				if _, again := resp.Read(make([]byte, 1)); again != err {
					t.Errorf("CallStream: %v, then %v", err, again)
				}
				resp.Close()
			}
			if !errors.Is(err, tt.is) || !errors.As(err, &e) || !e.MaybeSeen {
				t.Errorf("CallStream: %v, want %v", err, tt.is)
			}
		})
	}
}

// TestMaybeSeen breaks an exchange off before the request is sent.
func TestMaybeSeen(t *testing.T) {
	path := fake(t, func(s socket) { io.ReadFull(s, make([]byte, 4)) })
	_, err := Call(t.Context(), path, make([]byte, 10<<20))
	var e *Error
	if !errors.As(err, &e) || e.MaybeSeen || !errors.Is(err, ErrConnClosed) {
		t.Errorf("%v", err)
	}
}

// TestGitServer talks to a server that closes after one exchange, as Git's do.
func TestGitServer(t *testing.T) {
	path := fake(t, func(s socket) {
		readRequest(s)
		io.WriteString(s, "0008pong0000")
	})
	wantCall(t, path, "ping", "pong")
	c := dial(t, path)
	if got, err := c.Call(t.Context(), []byte("ping")); err != nil || string(got) != "pong" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := c.Call(t.Context(), []byte("ping")); !errors.Is(err, ErrConnClosed) {
		t.Errorf("a second call: %v", err)
	}
	// With a connection for each, it works again.
	wantCall(t, path, "ping", "pong")
}

// TestContextInterrupts ends a context in each phase of an exchange.
func TestContextInterrupts(t *testing.T) {
	for name, serveOne := range map[string]func(s socket, reached func()){
		"sending":   func(s socket, reached func()) { s.Read(make([]byte, 1)); reached() },
		"waiting":   func(s socket, reached func()) { readRequest(s); reached() },
		"receiving": func(s socket, reached func()) { readRequest(s); io.WriteString(s, "0008po"); reached() },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			path := fake(t, func(s socket) {
				serveOne(s, cancel)
				io.Copy(io.Discard, s) // until the client closes
			})
			request := []byte("ping")
			if name == "sending" {
				request = make([]byte, 100<<20)
			}
			_, err := Call(ctx, path, request)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Call: %v", err)
			}
		})
	}
	t.Run("deadline", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		path := fake(t, func(s socket) { io.Copy(io.Discard, s) })
		if _, err := Call(ctx, path, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Call: %v", err)
		}
	})
	t.Run("before", func(t *testing.T) {
		path := fake(t, func(s socket) { io.Copy(io.Discard, s) })
		c := dial(t, path)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := c.Call(ctx, nil)
		var e *Error
		if !errors.Is(err, context.Canceled) || !errors.As(err, &e) || e.MaybeSeen {
			t.Errorf("Call: %v", err)
		}
		if _, err := new(Dialer).Dial(ctx, path); !errors.Is(err, context.Canceled) {
			t.Errorf("Dial: %v", err)
		}
	})
	t.Run("after", func(t *testing.T) {
		s := serve(t, &Server{})
		c := dial(t, s.path)
		ctx, cancel := context.WithCancel(t.Context())
		if _, err := c.Call(ctx, []byte("x")); err != nil {
			t.Fatal(err)
		}
		cancel()
		if got, err := c.Call(t.Context(), []byte("y")); err != nil || string(got) != "y" {
			t.Errorf("the end of an earlier call's context: %q, %v", got, err)
		}
	})
}

// TestSurplusResponse has a server send two responses to one request. The
// second is not taken for the response to the next.
func TestSurplusResponse(t *testing.T) {
	path := fake(t, func(s socket) {
		readRequest(s)
		io.WriteString(s, "0005A00000005B0000")
		io.Copy(io.Discard, s)
	})
	c := dial(t, path)
	if got, err := c.Call(t.Context(), nil); err != nil || string(got) != "A" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := c.Call(t.Context(), nil); !errors.Is(err, pktline.ErrProtocol) {
		t.Errorf("%q, %v", got, err)
	}
}

// TestContextEndsLate ends contexts at about the moment in which the response
// comes. The next call is made or fails, but is not broken off.
func TestContextEndsLate(t *testing.T) {
	s := serve(t, &Server{})
	whole := 0
	for i := range 300 {
		c, err := new(Dialer).Dial(t.Context(), s.path)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		timer := time.AfterFunc(time.Duration(i%100)*time.Microsecond, cancel)
		if _, err := c.Call(ctx, []byte("x")); err == nil {
			whole++
			var e *Error
			if _, err := c.Call(t.Context(), []byte("y")); err != nil && (!errors.As(err, &e) || e.MaybeSeen) {
				t.Errorf("the next call: %v", err)
			}
		}
		timer.Stop()
		cancel()
		c.Close()
	}
	t.Logf("%d of 300 calls were made", whole)
}

// TestConnTurns has many goroutines call on one connection.
func TestConnTurns(t *testing.T) {
	s := serve(t, &Server{})
	c := dial(t, s.path)
	var wg sync.WaitGroup
	for k := range 8 {
		wg.Go(func() {
			for i := range 50 {
				want := fmt.Sprint(k, i)
				if got, err := c.Call(t.Context(), []byte(want)); err != nil || string(got) != want {
					t.Errorf("got %q, %v; want %q", got, err, want)
				}
			}
		})
	}
	wg.Wait()
	// While a response is being read, others wait.
	resp, err := c.CallStream(t.Context(), strings.NewReader("streamed"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Call(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call out of turn: %v", err)
	}
	if b, err := io.ReadAll(resp); err != nil || string(b) != "streamed" {
		t.Errorf("%q, %v", b, err)
	}
	if err := resp.Close(); err != nil {
		t.Error(err)
	}
	if got, err := c.Call(t.Context(), []byte("x")); err != nil || string(got) != "x" {
		t.Errorf("the call after: %q, %v", got, err)
	}
}

func TestCloseInterruptsCall(t *testing.T) {
	started := make(chan struct{})
	path := fake(t, func(s socket) {
		readRequest(s)
		close(started)
		io.Copy(io.Discard, s)
	})
	c := dial(t, path)
	result := make(chan error, 1)
	go func() {
		_, err := c.Call(context.Background(), nil)
		result <- err
	}()
	receive(t, started)
	c.Close()
	if err := receive(t, result); !errors.Is(err, ErrConnClosed) {
		t.Errorf("the call: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
}

func TestCallStream(t *testing.T) {
	s := serve(t, &Server{})
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<18)
	c := dial(t, s.path)
	for range 3 {
		resp, err := c.CallStream(t.Context(), iotest.HalfReader(bytes.NewReader(want)))
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if n, err := io.Copy(&got, resp); err != nil || n != int64(len(want)) || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%d bytes, %v", n, err)
		}
		if n, err := resp.WriteTo(&got); n != 0 || err != nil {
			t.Errorf("WriteTo at the end: %d, %v", n, err)
		}
		resp.Close()
	}

	// A response that is closed before its end takes the connection along.
	resp, err := c.CallStream(t.Context(), bytes.NewReader(want))
	if err != nil {
		t.Fatal(err)
	}
	resp.Close()
	resp.Close()
	if _, err := resp.Read(make([]byte, 1)); !errors.Is(err, ErrConnClosed) {
		t.Errorf("Read after Close: %v", err)
	}
	if _, err := c.Call(t.Context(), nil); !errors.Is(err, ErrConnClosed) {
		t.Errorf("the next call: %v", err)
	}

	// A destination that fails leaves the response readable.
	resp, err = new(Dialer).CallStream(t.Context(), s.path, strings.NewReader("response"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Close()
	full := errors.New("full")
	if _, err := resp.WriteTo(writerFunc(func(p []byte) (int, error) { return 0, full })); err != full {
		t.Errorf("WriteTo: %v", err)
	}
	if _, err := io.ReadAll(resp); err != nil {
		t.Errorf("Read after WriteTo failed: %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestCallStreamRequestFails checks that the server does not act on a request
// whose source failed, even at the end.
func TestCallStreamRequestFails(t *testing.T) {
	s := serve(t, &Server{})
	for _, fault := range []error{errors.New("disk on fire"), io.ErrUnexpectedEOF} {
		src := io.MultiReader(strings.NewReader("all of it"), iotest.ErrReader(fault))
		_, err := new(Dialer).CallStream(t.Context(), s.path, src)
		var e *Error
		if !errors.Is(err, fault) || errors.Is(err, ErrConnClosed) || !errors.As(err, &e) || e.MaybeSeen {
			t.Errorf("%v", err)
		}
	}
	s.stats(t, "closed", func(st Stats) bool { return st.Open == 0 && st.Accepted == 2 })
	if st := s.Stats(); st.Requests != 0 {
		t.Errorf("stats: %+v", st)
	}
}

// TestCallStreamRequestPanics checks that others get their turn.
func TestCallStreamRequestPanics(t *testing.T) {
	s := serve(t, &Server{})
	c := dial(t, s.path)
	func() {
		defer func() {
			if p := recover(); p != "no more" {
				t.Errorf("recovered %v", p)
			}
		}()
		_, err := c.CallStream(t.Context(), readerFunc(func([]byte) (int, error) { panic("no more") }))
		t.Errorf("CallStream returned %v", err)
	}()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := c.Call(ctx, nil); !errors.Is(err, ErrConnClosed) {
		t.Errorf("the call after: %v", err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestStreamRequests serves requests as they arrive.
func TestStreamRequests(t *testing.T) {
	early := make(chan error, 1)
	handler := HandlerFunc(
		func(ctx context.Context, w *ResponseWriter, r *Request) error {
			verb := make([]byte, 5)
			if _, err := io.ReadFull(r, verb); err != nil {
				return fmt.Errorf("reading: %w", err)
			}
			switch string(verb) {
			case "count":
				n, err := io.Copy(io.Discard, r)
				if err != nil {
					return err
				}
				_, err = fmt.Fprint(w, n)
				return err
			case "some.":
				_, err := io.WriteString(w, "enough")
				return err
			case "fail.":
				return errors.New("no")
			case "deaf.": // to errors
				for range 3 {
					io.Copy(io.Discard, r)
				}
				return nil
			}
			for {
				if _, err := w.Write(make([]byte, 1000)); err != nil {
					early <- err
					return err
				}
			}
		})
	s := serve(t, &Server{StreamRequests: true, MaxRequest: 8 << 20, Handler: handler})
	c := dial(t, s.path)
	for _, n := range []int{0, 1, 5000, 1 << 20, 8<<20 - 5} {
		if got, err := c.Call(t.Context(), append([]byte("count"), make([]byte, n)...)); err != nil || string(got) != fmt.Sprint(n) {
			t.Errorf("%d bytes: %q, %v", n, got, err)
		}
		if got, err := c.Call(t.Context(), append([]byte("some."), make([]byte, n)...)); err != nil || string(got) != "enough" {
			t.Errorf("%d bytes, read in part: %q, %v", n, got, err)
		}
	}
	big := make([]byte, 1<<20)
	if _, err := Call(t.Context(), s.path, append([]byte("fail."), big...)); err == nil {
		t.Error("the handler's error is lost")
	}
	if _, err := Call(t.Context(), s.path, append([]byte("early"), big...)); err == nil {
		t.Error("no error for an early response")
	}
	if err := receive(t, early); !errors.Is(err, ErrRequestUnread) {
		t.Errorf("an early response: the handler got %v", err)
	}
	if _, err := Call(t.Context(), s.path, append([]byte("count"), make([]byte, 8<<20)...)); err == nil {
		t.Error("no error for a request over the limit")
	}
	if _, err := Call(t.Context(), s.path, append([]byte("some."), make([]byte, 8<<20)...)); err == nil {
		t.Error("no error for a request over the limit that is discarded")
	}
	if _, err := Call(t.Context(), s.path, append([]byte("deaf."), make([]byte, 8<<20)...)); err == nil {
		t.Error("no error for a request over the limit whose handler ignores it")
	}
	for _, sent := range []string{"0009count", "0009count00", "0009count0003", "0009count0001"} {
		raw := rawConn(t, s.path)
		send(t, raw, sent)
		halfClose(raw)
		wantHangUp(t, raw)
	}
	if got, err := c.Call(t.Context(), []byte("count...")); err != nil || string(got) != "3" {
		t.Errorf("after all that: %q, %v", got, err)
	}
	want := Dropped{Failed: 2, TooLarge: 3, CutShort: 2, Malformed: 2}
	s.stats(t, "all counted", func(st Stats) bool { return st.Dropped == want && st.Open == 1 })

	s = serve(t, &Server{StreamRequests: true, ReadTimeout: 50 * time.Millisecond, Handler: handler})
	slow := rawConn(t, s.path)
	send(t, slow, "0009count")
	wantHangUp(t, slow)
	s.stats(t, "counted as slow", func(st Stats) bool { return st.Dropped == Dropped{Slow: 1} && st.Open == 0 })
}
