package simpleipc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"example.com/simpleipc/pktline"
	"example.com/simpleipc/trace2"
)

// A serverConn is a client's connection to the server.
//
// One goroutine waits for a request, reads it, waits for its turn, calls the
// handler, sends the response, and begins anew. When somebody must notice that
// the client hangs up meanwhile, because the request has to wait or the handler
// looks at its context, a second goroutine takes over: it waits for the next
// bytes, and goes on when the first has sent the response, which then ends.
type serverConn struct {
	srv  *Server
	sock socket
	rd   pktline.Reader
	req  Request
	body *[]byte // req.Body's memory, from bodies
	resp ResponseWriter

	// For whoever reads the connection: while a request is streamed, the
	// handler.
	inRequest bool  // a request has begun to arrive, and is not complete
	readArmed bool  // its deadline is set
	unread    int64 // how much more of a streamed request may come
	tooLarge  bool  // it exceeded that

	// For whoever answers.
	queued     time.Time // when the request began to wait for a worker, if requests are observed
	worker     *worker   // that the request has
	writeUntil time.Time // the deadline that is set for writing
	writeErr   error     // why the response could not be written

	closed atomic.Bool

	mu        sync.Mutex
	busy      bool            // from the request's arrival until the response is sent
	idleSince time.Time       // unless busy
	gone      bool            // the client has hung up
	muted     bool            // the stream was ended by closeRead
	ctx       *handlerContext // of the request that is or was answered last
}

// bodies holds memory for requests, as *[]byte.
var bodies = sync.Pool{New: func() any {
	b := make([]byte, 0, 512)
	return &b
}}

// largeBody is how much memory is used again whatever it was used for.
const largeBody = 1 << 20

// Causes for which a connection is dropped, where no other error tells.
var (
	errOverload = errors.New("too many requests are waiting")
	errIdle     = errors.New("idle for too long")
)

func newServerConn(s *Server, raw RawConn) *serverConn {
	c := &serverConn{srv: s, sock: raw.sock, idleSince: time.Now()}
	c.req.Peer = raw.peer
	if s.StreamRequests {
		c.req.src = (*requestReader)(c)
	}
	c.rd.Reset((*connReader)(c))
	c.resp.wr.Reset((*connWriter)(c))
	return c
}

// close closes the connection; whoever uses it gets an error.
func (c *serverConn) close() {
	if !c.closed.Swap(true) {
		c.sock.Close()
	}
}

// isBusy reports whether a request waits for a worker or is being answered.
func (c *serverConn) isBusy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.busy
}

// drain lets the connection end: once its request is answered, if a whole one
// has arrived, and otherwise at once.
func (c *serverConn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.busy || c.srv.StreamRequests {
		c.mute()
	}
}

// mute makes whoever reads find the end of the stream behind what has arrived.
// c.mu is held.
func (c *serverConn) mute() {
	if !c.muted {
		c.muted = true
		c.sock.closeRead()
	}
}

// serve is what happens to the connection.
func (c *serverConn) serve() {
	authorized := false
	defer func() { // even if Authorize ends the goroutine
		if !authorized {
			c.end()
		}
	}()
	if err := c.authorize(); err != nil {
		c.refused(err)
		return
	}
	authorized = true
	// Both deadlines here, where the goroutine's stack has room for it: before
	// the first response, it would have to grow.
	c.sock.SetReadDeadline(deadline(c.srv.limits.idle))
	(*connWriter)(c).extend()
	c.run(c.await())
}

// end is called by the last goroutine of the connection.
func (c *serverConn) end() {
	c.close()
	c.srv.forget(c)
}

// run answers requests, until the connection ends or another goroutine has
// taken over. err is what await has returned.
func (c *serverConn) run(err error) {
	var ctx *handlerContext
	defer func() { // even if the handler ends the goroutine
		if ctx == nil || ctx.answered == nil {
			c.end()
		}
	}()
	for err == nil {
		if err = c.request(); err != nil {
			break
		}
		ctx = c.ctx
		if keep := c.answer(); !keep || ctx.answered != nil {
			return
		}
		err = c.await()
	}
	c.dropped(err)
}

// readOn takes over from the goroutine that answers ctx's request.
func (c *serverConn) readOn(ctx *handlerContext) {
	err := c.await()
	if err != nil {
		c.hungUp()
	}
	if keep := <-ctx.answered; !keep {
		c.end() // it has been said why
		return
	}
	c.run(err)
}

// refused counts and logs that the peer is not served.
func (c *serverConn) refused(err error) {
	c.srv.counters.refused.Add(1)
	c.srv.log.limited(slog.LevelWarn, "refused", "refused a peer", "peer", c.req.Peer, "err", err)
}

// authorize asks whether to serve the peer. A panic is a no.
func (c *serverConn) authorize() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return c.srv.authorize(c.req.Peer)
}

// await waits for the first bytes of a request, until the connection has been
// idle for too long. The deadline is moved only when it has been reached, so
// that it costs an exchange nothing.
func (c *serverConn) await() error {
	expired := false
	for {
		err := c.rd.Await()
		if expired && err == io.EOF {
			return errIdle
		}
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		left := c.srv.limits.idle
		c.mu.Lock()
		if !c.busy {
			left -= time.Since(c.idleSince)
		}
		if left <= 0 {
			// A request that has arrived in this moment is answered yet.
			expired = true
			c.mute()
		}
		c.mu.Unlock()
		if expired {
			c.sock.SetReadDeadline(time.Time{})
		} else {
			c.sock.SetReadDeadline(time.Now().Add(left))
		}
	}
}

// request reads a request, unless it is to be streamed, and waits until it may
// be handled.
func (c *serverConn) request() error {
	c.inRequest, c.readArmed = true, false
	if c.srv.IdleExit > 0 {
		c.srv.arriving.Add(1)
		defer func() {
			c.srv.touch(time.Now())
			c.srv.arriving.Add(-1)
		}()
	}
	if c.srv.StreamRequests {
		c.rd.NextMessage()
		c.unread, c.tooLarge = c.srv.limits.request, false
		return c.enter()
	}
	c.body = bodies.Get().(*[]byte)
	body, err := c.rd.ReadMessage((*c.body)[:0], c.srv.limits.request)
	*c.body = body
	if err == nil {
		c.requestRead()
		c.req.Body, c.req.off = slices.Clip(body), 0
		err = c.enter()
	}
	if err != nil {
		c.releaseBody()
	}
	return err
}

// requestRead is called when a whole request has been read.
func (c *serverConn) requestRead() {
	c.inRequest = false
	if c.readArmed {
		c.sock.SetReadDeadline(deadline(c.srv.limits.idle))
	}
}

// enter waits for a worker, if there is room to wait.
func (c *serverConn) enter() error {
	s := c.srv
	ctx := &handlerContext{conn: c, readable: !c.inRequest}
	if s.observed {
		c.queued = time.Now()
	}
	c.mu.Lock()
	c.busy = true
	c.ctx = ctx
	c.mu.Unlock()
	s.counters.requests.Add(1)
	select {
	case c.worker = <-s.workers:
	default:
		for {
			n := s.counters.waiting.Load()
			if n >= int64(s.limits.waiting) {
				return errOverload
			}
			if s.counters.waiting.CompareAndSwap(n, n+1) {
				break
			}
		}
		c.mu.Lock()
		ctx.watch()
		c.mu.Unlock()
		c.worker = <-s.workers
		defer s.counters.waiting.Add(-1) // when it counts as active, for idleLeft
	}
	s.counters.active.Add(1)
	return nil
}

// hungUp is called at the end of the stream. If a request is being answered, the
// client has gone, and hungUp ends the handler's context; or this side has ended
// the stream, and hungUp waits for the client to go, or for the answer.
func (c *serverConn) hungUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.muted && c.busy {
		c.sock.SetReadDeadline(time.Time{}) // it is finish that sets one
		c.mu.Unlock()
		gone := c.sock.awaitHangUp()
		c.mu.Lock()
		if !gone {
			return
		}
	}
	if c.busy {
		c.lose()
	}
}

// lose ends the context of the handler that is at work, since its client cannot
// be answered. c.mu is held.
func (c *serverConn) lose() {
	c.gone = true
	if c.ctx.cancel != nil {
		c.ctx.cancel(ErrConnClosed)
	}
}

// dropped counts and logs why no further request is read.
func (c *serverConn) dropped(err error) {
	n := &c.srv.counters
	level, why := slog.LevelWarn, ""
	switch {
	case err == errIdle:
		n.idle.Add(1)
		level, why = slog.LevelDebug, "idle"
	case err == errOverload:
		n.overload.Add(1)
		why = "overload"
	case !c.inRequest:
		return // a probe, or a client that needs no more
	case errors.Is(err, pktline.ErrTooLarge):
		n.tooLarge.Add(1)
		why = "too_large"
		err = fmt.Errorf("request of more than %d bytes: %w", c.srv.limits.request, ErrTooLarge)
	case errors.Is(err, pktline.ErrProtocol):
		n.malformed.Add(1)
		why = "malformed"
		err = pktline.ErrProtocol // without the bytes that are none
	case errors.Is(err, os.ErrDeadlineExceeded):
		n.slow.Add(1)
		why = "slow"
		err = fmt.Errorf("the request took longer than %v to arrive", c.srv.limits.read)
	case c.srv.draining.Load():
		n.closed.Add(1)
		level, why = slog.LevelDebug, "closed"
	default:
		n.cutShort.Add(1)
		level, why = slog.LevelDebug, "cut_short"
	}
	c.srv.log.limited(level, why, "dropped a client", "peer", c.req.Peer, "err", cause(err))
}

// answer lets the handler answer the request, and reports whether the
// connection can be kept.
func (c *serverConn) answer() (keep bool) {
	s := c.srv
	ctx, o := c.observe(c.worker.thread)
	c.mu.Lock()
	c.ctx.Context = ctx
	gone := c.gone
	c.mu.Unlock()

	var err error
	defer func() { // even if the handler ends the goroutine
		o.end(ctx, err)
		c.finish(keep)
	}()
	if gone || s.base.Err() != nil { // it waited for too long
		err = ErrConnClosed
	} else {
		err = c.handle()
		o.handlerReturned()
	}
	quit := errors.Is(err, Quit)
	if err == nil || quit {
		err = c.respond()
	}
	if err == nil {
		keep = true
		s.counters.responses.Add(1)
	} else {
		err = c.failed(err)
	}
	if quit {
		c.quit(ctx)
	}
	return keep
}

// quit shuts the server down, as the handler has asked.
func (c *serverConn) quit(ctx context.Context) {
	trace2.Data(ctx, traceWorker, "queue_stop_async", "application_quit")
	c.srv.shutDown(ErrServerClosed, "asked to by "+c.req.Peer.String())
}

// handle calls the handler. A panic becomes an error.
func (c *serverConn) handle() (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		if p := recover(); p != nil {
			err = &panicError{value: p, stack: debug.Stack()}
		} else { // runtime.Goexit: nobody will see err
			_ = c.failed(errors.New("the handler ended its goroutine"))
		}
	}()
	err = c.srv.Handler.ServeIPC(c.ctx, &c.resp, &c.req)
	returned = true
	return err
}

type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// respond sends the end of the response.
func (c *serverConn) respond() error {
	if c.inRequest { // the handler did not need all of a streamed request
		if _, err := io.Copy(io.Discard, &c.req); err != nil {
			return err
		}
	}
	return c.resp.wr.WriteFlush()
}

// failed counts and logs why a request was not answered. It returns that as it
// may be told, without what the client has sent.
func (c *serverConn) failed(err error) error {
	n := &c.srv.counters
	level, why := slog.LevelDebug, ""
	c.mu.Lock()
	gone := c.gone
	c.mu.Unlock()
	var attrs []any
	var p *panicError
	switch {
	case errors.As(err, &p):
		n.panicked.Add(1)
		level, why = slog.LevelError, "panicked"
		attrs = []any{"stack", string(p.stack)}
	case errors.Is(c.writeErr, os.ErrDeadlineExceeded):
		n.stalled.Add(1)
		level, why = slog.LevelWarn, "stalled"
		err = fmt.Errorf("the client did not read its response for %v", c.srv.limits.write)
	case c.inRequest && errors.Is(err, ErrTooLarge):
		n.tooLarge.Add(1)
		level, why = slog.LevelWarn, "too_large"
	case c.inRequest && errors.Is(err, pktline.ErrProtocol):
		n.malformed.Add(1)
		level, why = slog.LevelWarn, "malformed"
		err = pktline.ErrProtocol // without the bytes that are none
	case c.inRequest && errors.Is(err, os.ErrDeadlineExceeded):
		n.slow.Add(1)
		level, why = slog.LevelWarn, "slow"
	case c.inRequest && errors.Is(err, io.ErrUnexpectedEOF):
		n.cutShort.Add(1)
		why = "cut_short"
	case context.Cause(c.srv.base) == ErrServerClosed:
		n.closed.Add(1)
		why = "closed"
	case gone || c.writeErr != nil && !errors.Is(c.writeErr, ErrRequestUnread):
		n.hungUp.Add(1)
		why = "hung_up"
	default:
		n.failed.Add(1)
		level, why = slog.LevelError, "failed"
	}
	c.srv.log.limited(level, why, "could not answer a request", append(attrs, "peer", c.req.Peer, "err", err)...)
	return err
}

// finish makes the connection ready for its next request, or closes it, and
// tells the goroutine that has taken over, if one has.
func (c *serverConn) finish(keep bool) {
	if !c.srv.StreamRequests {
		c.releaseBody()
	}
	now := time.Now()
	c.srv.touch(now)
	c.srv.counters.active.Add(-1)
	c.srv.workers <- c.worker
	c.mu.Lock()
	c.busy = false
	c.idleSince = now
	ctx := c.ctx
	ctx.end()
	if c.muted && ctx.answered != nil {
		c.sock.SetReadDeadline(longAgo) // see hungUp; nothing more can arrive
	}
	if c.srv.draining.Load() {
		c.mute()
	}
	c.mu.Unlock()
	if !keep {
		c.resp.wr.Reset(nil)
		c.close()
	}
	if ctx.answered != nil {
		ctx.answered <- keep
	}
}

func (c *serverConn) releaseBody() {
	// Memory that is far too large for this request goes. Otherwise small ones
	// would take it from the pool in turn, and so keep it for ever.
	if b := *c.body; cap(b) <= largeBody || len(b) > cap(b)/4 {
		bodies.Put(c.body)
	}
	c.req.Body, c.body = nil, nil
}
