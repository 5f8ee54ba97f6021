package simpleipc

import "context"

// A handlerContext is the context of a handler. For it to end when the client
// hangs up, a second goroutine must read from the connection. Most handlers
// have answered before that matters, and never look. So the goroutine is
// started, and a context made that can be ended, when it is first asked about
// its end.
type handlerContext struct {
	context.Context // of the worker that has the request; nil until one has
	conn            *serverConn

	// Under conn.mu.
	readable bool            // the request has been read to its end
	ended    bool            // it has been answered
	inner    context.Context // nil until somebody looks
	cancel   context.CancelCauseFunc
	answered chan bool // to the second goroutine, if there is one: whether to go on
}

// String keeps who prints the context from reading fields that others write.
func (x *handlerContext) String() string { return "simpleipc handler's context" }

// Done returns a channel that is closed when the context ends.
func (x *handlerContext) Done() <-chan struct{} { return x.live().Done() }

// Err returns why the context has ended, or nil.
func (x *handlerContext) Err() error { return x.live().Err() }

// Value returns the value for key. By one of their own keys, contexts that are
// derived from this one find the inner one.
func (x *handlerContext) Value(key any) any {
	x.conn.mu.Lock()
	ctx := x.inner
	x.conn.mu.Unlock()
	if ctx == nil {
		ctx = x.Context
	}
	return ctx.Value(key)
}

// live returns the inner context, which it makes if there is none.
func (x *handlerContext) live() context.Context {
	x.conn.mu.Lock()
	defer x.conn.mu.Unlock()
	if x.inner == nil {
		x.inner, x.cancel = context.WithCancelCause(x.Context)
		switch {
		case x.ended:
			x.cancel(nil)
		case x.conn.gone:
			x.cancel(ErrConnClosed)
		default:
			x.watch()
		}
	}
	return x.inner
}

// watch lets another goroutine notice that the client hangs up, if it may read
// from the connection. conn.mu is held.
func (x *handlerContext) watch() {
	if x.readable && x.answered == nil {
		x.answered = make(chan bool, 1)
		go x.conn.readOn(x)
	}
}

// requestRead is called when a streamed request has been read to its end.
func (x *handlerContext) requestRead() {
	x.conn.mu.Lock()
	defer x.conn.mu.Unlock()
	x.readable = true
	if x.inner != nil && !x.ended {
		x.watch()
	}
}

// end ends the context, since the request has been answered. conn.mu is held.
func (x *handlerContext) end() {
	x.ended = true
	if x.cancel != nil {
		x.cancel(nil)
	}
}
