package simpleipc

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
)

// TestHandlerContext checks that a handler hears of a client that hangs up,
// however it looks at its context, and that the cause is told.
func TestHandlerContext(t *testing.T) {
	type key struct{}
	wait := func(ctx context.Context) error {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	for name, look := range map[string]func(context.Context) error{
		"Done": wait,
		"Err": func(ctx context.Context) error {
			for ctx.Err() == nil {
				runtime.Gosched()
			}
			return context.Cause(ctx)
		},
		"WithCancel": func(ctx context.Context) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			return wait(ctx)
		},
		"WithValue": func(ctx context.Context) error {
			return wait(context.WithValue(ctx, key{}, 1))
		},
		"AfterFunc": func(ctx context.Context) error {
			ended := make(chan error, 1)
			context.AfterFunc(ctx, func() { ended <- context.Cause(ctx) })
			return <-ended
		},
	} {
		for _, streamed := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				entered := make(chan struct{}, 1)
				cause := make(chan error, 1)
				s := serve(t, &Server{StreamRequests: streamed, Handler: HandlerFunc(func(ctx context.Context, w *ResponseWriter, r *Request) error {
					if streamed {
						_ = ctx.Err() // before the request can be read on
						if n, err := r.Read(make([]byte, 10)); n > 0 || err == nil {
							t.Errorf("Read: %d, %v", n, err)
						}
					}
					entered <- struct{}{}
					err := look(ctx)
					cause <- err
					return err
				})})
				c := rawConn(t, s.path)
				send(t, c, "0000")
				receive(t, entered)
				c.Close()
				if err := receive(t, cause); err != ErrConnClosed {
					t.Errorf("cause: %v", err)
				}
				s.stats(t, "hung up", func(st Stats) bool { return st.Dropped == Dropped{HungUp: 1} && st.Open == 0 })
			})
		}
	}
}

// TestHandlerContextOfBrokenRequest has a handler wait for the end of its
// context that does not care why it could not read its request.
func TestHandlerContextOfBrokenRequest(t *testing.T) {
	cause := make(chan error, 1)
	s := serve(t, &Server{StreamRequests: true, Handler: HandlerFunc(func(ctx context.Context, w *ResponseWriter, r *Request) error {
		if _, err := io.ReadAll(r); err != io.ErrUnexpectedEOF {
			t.Errorf("reading the request: %v", err)
		}
		<-ctx.Done()
		cause <- context.Cause(ctx)
		return context.Cause(ctx)
	})})
	c := rawConn(t, s.path)
	send(t, c, "0008half")
	c.Close()
	if err := receive(t, cause); err != ErrConnClosed {
		t.Errorf("cause: %v", err)
	}
	s.stats(t, "hung up", func(st Stats) bool { return st.Dropped == Dropped{HungUp: 1} && st.Open == 0 })
}

// TestHandlerContextIsPrinted prints contexts while others ask them.
func TestHandlerContextIsPrinted(t *testing.T) {
	s := serve(t, &Server{Handler: HandlerFunc(func(ctx context.Context, w *ResponseWriter, r *Request) error {
		asked := make(chan error, 1)
		go func() { asked <- ctx.Err() }()
		fmt.Fprintf(w, "%v, %+v", ctx, context.WithValue(ctx, printedKey{}, 1))
		return <-asked
	})})
	answer, err := Call(t.Context(), s.path, nil)
	if err != nil || strings.Count(string(answer), "simpleipc handler's context") != 2 {
		t.Errorf("%q, %v", answer, err)
	}
}

type printedKey struct{}

// TestHandlerContextOnKeptConnection has handlers that look at their contexts
// and those that do not take turns, and asks the contexts after that.
func TestHandlerContextOnKeptConnection(t *testing.T) {
	contexts := make(chan context.Context, 1)
	s := serve(t, &Server{Handler: HandlerFunc(func(ctx context.Context, w *ResponseWriter, r *Request) error {
		if string(r.Body) == "look" && ctx.Err() != nil {
			t.Error("the context has ended before its time")
		}
		contexts <- ctx
		return echo(ctx, w, r)
	})})
	c := dial(t, s.path)
	for _, request := range strings.Fields("look look no no look no no look look") {
		answer, err := c.Call(t.Context(), []byte(request))
		if err != nil || string(answer) != request {
			t.Fatalf("%s: %q, %v", request, answer, err)
		}
		ctx := receive(t, contexts)
		receive(t, ctx.Done())
		if err := context.Cause(ctx); err != context.Canceled {
			t.Errorf("%s: cause %v", request, err)
		}
	}
}

// TestClientHangsUpWhileItWaits checks that a request whose client has gone
// before there was a worker for it is not handled.
func TestClientHangsUpWhileItWaits(t *testing.T) {
	release := make(chan struct{})
	s := serve(t, &Server{Workers: 1, Handler: HandlerFunc(func(_ context.Context, w *ResponseWriter, r *Request) error {
		if string(r.Body) == "gone" {
			t.Error("a request of a client that has gone was handled")
		}
		<-release
		return nil
	})})
	first := rawConn(t, s.path)
	send(t, first, "0000")
	s.stats(t, "the worker busy", func(st Stats) bool { return st.Active == 1 })
	c := rawConn(t, s.path)
	send(t, c, "0008gone0000")
	s.stats(t, "one waiting", func(st Stats) bool { return st.Waiting == 1 })
	c.Close()
	eventually(t, "the server knows", func() (gone bool) {
		s.eachConn(func(sc *serverConn) {
			sc.mu.Lock()
			defer sc.mu.Unlock()
			gone = gone || sc.gone
		})
		return gone
	})
	close(release)
	s.stats(t, "one answered, one not", func(st Stats) bool {
		return st.Responses == 1 && st.Dropped == Dropped{HungUp: 1}
	})
}
