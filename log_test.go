package simpleipc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// lines counts the lines of a log that contain all of the texts.
func lines(log string, texts ...string) int {
	n := 0
line:
	for line := range strings.Lines(log) {
		for _, text := range texts {
			if !strings.Contains(line, text) {
				continue line
			}
		}
		n++
	}
	return n
}

func logTo(b *syncBuffer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: level}))
}

// TestLogLimit checks how often a server logs the same thing.
func TestLogLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b syncBuffer
		log := newServerLog(logTo(&b, slog.LevelDebug))
		abuse := func(n int) {
			for range n {
				log.limited(slog.LevelWarn, "slow", "dropped a client")
			}
		}
		want := func(logged, suppressed int, how string) {
			t.Helper()
			synctest.Wait()
			if got := lines(b.String(), "dropped a client", "cause=slow"); got != logged {
				t.Errorf("%d lines, want %d", got, logged)
			}
			if got := lines(b.String(), "there was more", "cause=slow"); got != suppressed || !strings.Contains(b.String(), how) {
				t.Errorf("%d summaries, want %d, with %q:\n%s", got, suppressed, how, b.String())
			}
		}
		abuse(1000)
		want(maxLogLines, 0, "")
		log.limited(slog.LevelWarn, "refused", "dropped a client")
		if lines(b.String(), "cause=refused") != 1 {
			t.Error("one cause keeps another one out")
		}
		for range 2 * maxLogLines {
			log.limited(slog.LevelDebug, "cut_short", "dropped a client")
		}
		if got := lines(b.String(), "cause=cut_short"); got != 2*maxLogLines {
			t.Errorf("%d of %d debug lines", got, 2*maxLogLines)
		}
		time.Sleep(logPeriod)
		want(maxLogLines, 1, "suppressed=990")
		abuse(maxLogLines)
		time.Sleep(logPeriod)
		want(2*maxLogLines, 1, "suppressed=990") // nothing was suppressed
		abuse(maxLogLines + 7)
		log.close()
		want(3*maxLogLines, 2, "suppressed=7")
		abuse(1) // by a handler that outlives its server
		want(3*maxLogLines+1, 2, "suppressed=7")
	})
}

// TestLogSuppressedErrors checks that who wants errors only is told, too, how
// many were not logged.
func TestLogSuppressedErrors(t *testing.T) {
	var b syncBuffer
	log := newServerLog(logTo(&b, slog.LevelError))
	for range maxLogLines + 5 {
		log.limited(slog.LevelError, "failed", "could not answer a request")
	}
	log.close()
	if got := lines(b.String(), "level=ERROR", "suppressed=5"); got != 1 {
		t.Errorf("%d summaries:\n%s", got, b.String())
	}
}

// TestLogQuiet checks that lines that are not wanted are not counted either.
func TestLogQuiet(t *testing.T) {
	var b syncBuffer
	log := newServerLog(logTo(&b, slog.LevelError))
	for range 2 * maxLogLines {
		log.limited(slog.LevelWarn, "failed", "not wanted")
	}
	log.limited(slog.LevelError, "failed", "wanted")
	log.close()
	if got := b.String(); lines(got, "msg=wanted") != 1 || lines(got) != 1 {
		t.Errorf("the log is\n%s", got)
	}
}

// TestAbusiveClients checks that many clients that are dropped are told in few
// lines, and how many they were.
func TestAbusiveClients(t *testing.T) {
	const clients = 50
	var b syncBuffer
	s := serve(t, &Server{Logger: logTo(&b, slog.LevelInfo)})
	for range clients {
		c := rawConn(t, s.path)
		send(t, c, "no request")
		wantHangUp(t, c)
	}
	s.Shutdown(t.Context())
	s.wait(t)
	log := b.String()
	if got := lines(log, "level=WARN", "dropped a client", "cause=malformed"); got != maxLogLines {
		t.Errorf("%d lines about clients", got)
	}
	if lines(log, fmt.Sprintf("suppressed=%d", clients-maxLogLines), "cause=malformed") != 1 {
		t.Error("it is not told how many there were besides")
	}
	if lines(log, "no request") > 0 {
		t.Error("what clients sent was logged")
	}
	if t.Failed() {
		t.Log(log)
	}
}

// TestLogOfLife checks what is told of a server's life, and why it ends.
func TestLogOfLife(t *testing.T) {
	for why, stop := range map[string]func(s *testServer, cancel context.CancelCauseFunc){
		`why="Shutdown was called"`:        func(s *testServer, _ context.CancelCauseFunc) { s.Shutdown(context.Background()) },
		`why="Close was called"`:           func(s *testServer, _ context.CancelCauseFunc) { s.Close() },
		`why="its context has ended: EOF"`: func(_ *testServer, cancel context.CancelCauseFunc) { cancel(fmt.Errorf("EOF")) },
		`why="asked to by `:                func(s *testServer, _ context.CancelCauseFunc) { Call(context.Background(), s.path, []byte("quit")) },
		`why="idle for 50ms"`:              func(s *testServer, _ context.CancelCauseFunc) {},
	} {
		t.Run(why, func(t *testing.T) {
			var b syncBuffer
			srv := &Server{Handler: HandlerFunc(commands), Logger: logTo(&b, slog.LevelInfo)}
			if strings.Contains(why, "idle") {
				srv.IdleExit = 50 * time.Millisecond
			}
			l, err := Listen(t.Context(), tempPath(t))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			s := &testServer{Server: srv, path: l.Path(), done: make(chan struct{})}
			go func() {
				defer close(s.done)
				s.err = srv.Serve(ctx, l)
			}()
			if srv.IdleExit == 0 {
				wantCall(t, s.path, "echo 1", "1")
			}
			stop(s, cancel)
			s.wait(t)
			log := b.String()
			if lines(log, "msg=listening", filepath.Base(s.path)) != 1 || lines(log, `msg="shutting down"`, why) != 1 || lines(log, `msg="shut down"`, "requests=") != 1 {
				t.Errorf("the log is\n%s", log)
			}
		})
	}
}

// TestSlowRequest checks which requests are logged as slow, and with what.
func TestSlowRequest(t *testing.T) {
	const slow = 50 * time.Millisecond
	for limit, want := range map[time.Duration]int{slow: 1, time.Hour: 0, 0: 0} {
		var b syncBuffer
		s := serve(t, &Server{SlowRequest: limit, Logger: logTo(&b, slog.LevelInfo),
			Handler: HandlerFunc(func(ctx context.Context, w *ResponseWriter, r *Request) error {
				<-time.After(slow)
				return echo(ctx, w, r)
			})})
		wantCall(t, s.path, "1234", "1234")
		s.Shutdown(t.Context())
		s.wait(t)
		if log := b.String(); lines(log, "level=WARN", `msg="slow request"`, "cause=slow_request", "took=", "waited=", "handler=", "bytes_in=4", "bytes_out=4") != want {
			t.Errorf("SlowRequest %v: the log is\n%s", limit, log)
		}
	}
}

// TestLogHoldsNoMessages logs all there is to log. Of what clients send, there
// is nothing in it, not even where it was no message. What a handler returns as
// its error is in it.
func TestLogHoldsNoMessages(t *testing.T) {
	var b syncBuffer
	s := serve(t, &Server{
		MaxRequest:  20,
		ReadTimeout: 50 * time.Millisecond,
		Handler: HandlerFunc(func(_ context.Context, w *ResponseWriter, r *Request) error {
			w.Write(r.Body)
			switch {
			case bytes.HasSuffix(r.Body, []byte("fail")):
				return errors.New("the handler's own words")
			case bytes.HasSuffix(r.Body, []byte("panic")):
				panic("the handler's panic")
			}
			return nil
		}),
		Logger: logTo(&b, slog.LevelDebug),
	})
	for _, sent := range []string{
		"000asecret0000",
		"000esecretfail0000",
		"000fsecretpanic0000",
		"00ffsecret",         // more than the limit
		"0010secret",         // never complete
		"000asecret0001",     // not a request
		"GET /secret HTTP/1", // nor this
	} {
		c := rawConn(t, s.path)
		send(t, c, sent)
		if sent == "000asecret0000" {
			if _, err := io.ReadFull(c, make([]byte, len(sent))); err != nil {
				t.Fatal(err)
			}
		} else {
			io.Copy(io.Discard, c) // until it is closed
		}
		c.Close()
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.wait(t)
	log := b.String()
	if strings.Contains(log, "secret") || strings.Contains(log, "GET") {
		t.Errorf("the log has bytes of messages in it:\n%s", log)
	}
	for _, want := range []string{"the handler's own words", "the handler's panic", "more than 20 bytes", "took longer", "protocol error"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not have %q:\n%s", want, log)
		}
	}
}
