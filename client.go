package simpleipc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"syscall"

	"example.com/simpleipc/pktline"
	"example.com/simpleipc/trace2"
)

// A Conn is a client's connection to a server, for one exchange after the
// other. Its methods may be called concurrently; calls take turns.
//
// After a failed call the connection is closed, and every further call fails
// with an error for which errors.Is(err, ErrConnClosed) holds. Only a call
// whose context ends before its turn has come leaves the connection as it is.
type Conn struct {
	sock  socket
	path  string
	peer  Peer
	limit int64 // of a response's size; none if it is negative

	turn   chan struct{} // holds a token while an exchange is going on
	closed atomic.Bool

	// For whoever has the turn.
	rd pktline.Reader
	wr pktline.Writer
}

// Peer returns who the server is.
func (c *Conn) Peer() Peer { return c.peer }

// Close closes the connection. An exchange that is going on fails.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	return c.sock.Close()
}

// Call sends request and returns the response, which the caller owns. The
// request is not kept. When ctx ends, Call returns its error at once, and the
// connection is closed if the exchange had begun.
//
// The error is an [*Error], whose MaybeSeen tells whether the server may have
// acted on the request; nothing is ever sent twice. errors.Is finds
//   - [ErrConnClosed] if the connection was closed before any of the response
//     came: by the server, because it was idle for too long or the server has
//     shut down, the handler failed or the request was refused; or by Close;
//   - [io.ErrUnexpectedEOF] if the server broke the response off;
//   - [ErrTooLarge] if the response exceeds the Dialer's MaxResponse;
//   - [pktline.ErrProtocol] if what came is no response;
//   - the context's error.
func (c *Conn) Call(ctx context.Context, request []byte) ([]byte, error) {
	return c.AppendCall(ctx, nil, request)
}

// AppendCall is [Conn.Call] with the response appended to dst, for callers
// that use a buffer again. The request must not overlap with the part of dst
// between its length and its capacity. With an error it returns dst as it was.
func (c *Conn) AppendCall(ctx context.Context, dst, request []byte) ([]byte, error) {
	ctx, region := trace2.Region(ctx, traceClient, "send-command")
	defer region.End()
	response, err := c.appendCall(ctx, dst, request)
	traceCall(ctx, int64(len(request)), int64(len(response)-len(dst)), err)
	return response, err
}

func (c *Conn) appendCall(ctx context.Context, dst, request []byte) ([]byte, error) {
	x, err := c.begin(ctx)
	if err != nil {
		return dst, err
	}
	if err := c.wr.WriteMessage(request); err != nil {
		return dst, x.fail(err, sending)
	}
	response, err := c.rd.ReadMessage(dst, c.limit)
	if err != nil {
		p := waiting
		if err == io.ErrUnexpectedEOF || len(response) > len(dst) || c.rd.Buffered() > 0 {
			p = receiving
		}
		return dst, x.fail(err, p)
	}
	x.end()
	return response, nil
}

// CallStream is [Conn.Call] for messages that should not be in memory as a
// whole. It sends what request has until its io.EOF, and returns as soon as
// the response begins. If request fails, so does the call, and the server does
// not act on it.
//
// The caller reads the response to its end or closes it; until then other
// calls wait. Closing it before its end closes the connection. The context
// stays in force until then; but a Read of request that blocks is waited for,
// whatever becomes of the context and the connection.
func (c *Conn) CallStream(ctx context.Context, request io.Reader) (*Response, error) {
	// The region ends with the call, for what the caller does while it reads the
	// response is its own.
	ctx, region := trace2.Region(ctx, traceClient, "send-command")
	defer region.End()
	n, response, err := c.callStream(ctx, request)
	traceCall(ctx, n, -1, err)
	return response, err
}

func (c *Conn) callStream(ctx context.Context, request io.Reader) (sent int64, response *Response, err error) {
	x, err := c.begin(ctx)
	if err != nil {
		return 0, nil, err
	}
	src := &source{r: request}
	returned := false
	defer func() { // even if request ends the goroutine, others get their turn
		if !returned {
			c.Close()
			x.end()
		}
	}()
	sent, err = c.wr.ReadFrom(src)
	returned = true
	if err != nil {
		if src.err != nil {
			err = fmt.Errorf("reading the request to send: %w", src.err)
		}
		return sent, nil, x.fail(err, sending)
	}
	if err := c.wr.WriteFlush(); err != nil {
		return sent, nil, x.fail(err, sending)
	}
	if err := c.rd.Await(); err != nil {
		return sent, nil, x.fail(err, waiting)
	}
	return sent, &Response{x: x}, nil
}

// An exchange is one call on a connection.
type exchange struct {
	c    *Conn
	ctx  context.Context
	stop func() bool // ends the watch over ctx; nil if ctx never ends
}

// begin waits for the connection's turn and lets ctx interrupt the exchange.
func (c *Conn) begin(ctx context.Context) (exchange, error) {
	x := exchange{c: c, ctx: ctx}
	select {
	case c.turn <- struct{}{}:
	default:
		select {
		case c.turn <- struct{}{}:
		case <-ctx.Done():
			return x, x.error(ctx.Err(), false)
		}
	}
	err := ctx.Err()
	if err == nil && c.closed.Load() {
		err = ErrConnClosed
	}
	if err == nil && c.rd.Buffered() > 0 {
		// It would be taken for the response to this request.
		c.Close()
		err = fmt.Errorf("the server has sent more than one response: %w", pktline.ErrProtocol)
	}
	if err != nil {
		<-c.turn
		return x, x.error(err, false)
	}
	if ctx.Done() != nil {
		x.stop = context.AfterFunc(ctx, func() { c.Close() })
	}
	return x, nil
}

// end gives the turn back.
func (x *exchange) end() {
	if x.stop != nil && !x.stop() {
		// The context has ended just now, and closes the connection: before
		// the next exchange begins rather than in the middle of it.
		x.c.Close()
	}
	<-x.c.turn
}

// A phase is how far an exchange has come.
type phase int

const (
	sending   phase = iota // the request is not wholly sent
	waiting                // it is, and nothing has come back
	receiving              // some of the response has come
)

// fail ends the exchange, closes the connection and says what went wrong.
func (x *exchange) fail(err error, p phase) error {
	x.c.Close()
	x.end()
	if cerr := x.ctx.Err(); cerr != nil {
		return x.error(cerr, p > sending)
	}
	err = cause(err)
	switch err {
	case io.EOF, io.ErrUnexpectedEOF, syscall.EPIPE, syscall.ECONNRESET:
		if p == receiving {
			err = fmt.Errorf("the server broke the response off: %w", io.ErrUnexpectedEOF)
		} else {
			err = fmt.Errorf("%w by the server without a response", ErrConnClosed)
		}
	case os.ErrClosed:
		err = ErrConnClosed
	default:
		if errors.Is(err, pktline.ErrTooLarge) {
			err = fmt.Errorf("response of more than %d bytes: %w", x.c.limit, ErrTooLarge)
		}
	}
	return x.error(err, p > sending)
}

func (x *exchange) error(err error, maybeSeen bool) error {
	return &Error{Op: "call", Path: x.c.path, State: Listening, MaybeSeen: maybeSeen, Err: err}
}

// A Response is a response that is read as it arrives. It is for one goroutine
// at a time.
type Response struct {
	x         exchange
	err       error // what Read returns from now on; the exchange has ended
	closeConn bool
}

// Read reads the response's next bytes. It returns io.EOF only at the end of a
// whole response. Its other errors are those of [Conn.Call].
func (r *Response) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.x.c.rd.Read(p)
	r.note(err)
	return n, r.err
}

// WriteTo writes the rest of the response to w; [io.Copy] uses it. Its errors
// are those of Read, io.EOF excepted, and those of w.
func (r *Response) WriteTo(w io.Writer) (int64, error) {
	if r.err != nil {
		if r.err == io.EOF {
			return 0, nil
		}
		return 0, r.err
	}
	dst := &destination{w: w}
	n, err := r.x.c.rd.WriteTo(dst)
	switch {
	case err == nil:
		r.note(io.EOF)
		return n, nil
	case dst.err != nil:
		return n, dst.err // the response can still be read
	}
	r.note(err)
	return n, r.err
}

// source tells its own errors from those of where it is copied to.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != io.EOF {
		s.err = err
	}
	return n, err
}

// destination tells its own errors from those of what is copied to it.
type destination struct {
	w   io.Writer
	err error
}

func (d *destination) Write(p []byte) (int, error) {
	n, err := d.w.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	d.err = err
	return n, err
}

// note ends the exchange if reading has met an error.
func (r *Response) note(err error) {
	switch {
	case err == nil:
	case err == io.EOF:
		r.err = io.EOF
		r.x.c.rd.NextMessage()
		r.x.end()
		r.finish()
	default:
		r.err = r.x.fail(err, receiving)
	}
}

// Close ends the exchange. If the response has not been read to its end, the
// connection is closed, since the rest would stand before the next response.
func (r *Response) Close() error {
	if r.err == nil {
		r.err = r.x.error(ErrConnClosed, true)
		r.x.c.Close()
		r.x.end()
	}
	r.finish()
	return nil
}

// finish closes a connection that was made for this response.
func (r *Response) finish() {
	if r.closeConn {
		r.x.c.Close()
	}
}
