package simpleipc

import (
	"context"
	"log/slog"
	"time"

	"example.com/simpleipc/trace2"
)

// An observation is what becomes known of one request and its response. It goes
// to the trace and, if the request was slow, to the log. If nobody wants it, it
// is nil, looks at no clock, and leaves the goroutine's small stack alone.
type observation struct {
	conn    *serverConn
	region  trace2.Span
	in      int64     // the size of the request, if it is not streamed
	begun   time.Time // when a worker took the request
	handled time.Time // when the handler returned; zero if there was none
}

// observe begins the observation of c's request, in a worker's thread. It
// returns the context for the handler.
func (c *serverConn) observe(thread context.Context) (context.Context, *observation) {
	if !c.srv.observed {
		return thread, nil
	}
	o := &observation{conn: c, begun: time.Now(), in: int64(len(c.req.Body))}
	c.resp.n = 0
	if !trace2.Enabled(thread) {
		return thread, o
	}
	ctx, region := trace2.Region(thread, traceWorker, "request", c.req.Peer.String())
	o.region = region
	return ctx, o
}

// handlerReturned is called when it has.
func (o *observation) handlerReturned() {
	if o != nil {
		o.handled = time.Now()
	}
}

// end ends it. ctx is that of the handler, and err why there was no response.
func (o *observation) end(ctx context.Context, err error) {
	if o == nil {
		return
	}
	c, now := o.conn, time.Now()
	in, out := o.in, c.resp.n
	if c.srv.StreamRequests {
		in = c.srv.limits.request - c.unread
	}
	waited, handled := o.begun.Sub(c.queued), max(0, o.handled.Sub(o.begun))
	if trace2.Enabled(ctx) {
		trace2.Data(ctx, traceWorker, "request/bytes_in", in)
		trace2.Data(ctx, traceWorker, "request/bytes_out", out)
		trace2.Data(ctx, traceWorker, "request/waited_us", waited.Microseconds())
		trace2.Data(ctx, traceWorker, "request/handler_us", handled.Microseconds())
		if err != nil {
			trace2.Error(ctx, "cannot answer a request: %v", err)
		}
	}
	o.region.End()
	if slow := c.srv.SlowRequest; slow > 0 && now.Sub(c.queued) >= slow {
		c.srv.log.limited(slog.LevelWarn, "slow_request", "slow request", "peer", c.req.Peer,
			"took", now.Sub(c.queued), "waited", waited, "handler", handled, "bytes_in", in, "bytes_out", out)
	}
}
