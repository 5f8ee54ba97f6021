package simpleipc

import (
	"fmt"
	"io"
	"time"
)

// A connReader reads from the connection, under the deadline of a request that
// does not arrive in one piece.
type connReader serverConn

func (c *connReader) Read(p []byte) (int, error) {
	if c.inRequest && !c.readArmed {
		c.readArmed = true
		c.sock.SetReadDeadline(deadline(c.srv.limits.read))
	}
	n, err := c.sock.Read(p)
	c.srv.counters.bytesIn.Add(int64(n))
	return n, err
}

// A requestReader reads a streamed request.
type requestReader serverConn

func (r *requestReader) Read(p []byte) (int, error) {
	c := (*serverConn)(r)
	n, err := r.read(p)
	switch {
	case !c.inRequest, err == nil:
	case err == io.EOF:
		c.requestRead()
		c.ctx.requestRead()
	default: // even if the handler does not care
		c.mu.Lock()
		c.lose()
		c.mu.Unlock()
	}
	return n, err
}

func (r *requestReader) read(p []byte) (n int, err error) {
	if !r.tooLarge {
		n, err = r.rd.Read(p)
		r.tooLarge = r.srv.limits.request >= 0 && int64(n) > r.unread
		r.unread -= int64(n)
	}
	if r.tooLarge {
		return 0, fmt.Errorf("request of more than %d bytes: %w", r.srv.limits.request, ErrTooLarge)
	}
	return n, cause(err)
}

// A connWriter writes to the connection, under a deadline that is moved only
// when it has come near.
type connWriter serverConn

func (c *connWriter) Write(p []byte) (int, error) {
	if err := c.begin(); err != nil {
		return 0, err
	}
	n, err := c.sock.Write(p)
	c.end(int64(n), err)
	return n, err
}

// begin is called before each write.
func (c *connWriter) begin() error {
	if c.inRequest {
		c.writeErr = ErrRequestUnread
		return c.writeErr
	}
	c.extend()
	return nil
}

// extend moves the deadline if it has come near.
func (c *connWriter) extend() {
	if limit := c.srv.limits.write; limit > 0 {
		if now := time.Now(); now.Add(limit).After(c.writeUntil) {
			c.writeUntil = now.Add(limit + limit/2)
			c.sock.SetWriteDeadline(c.writeUntil)
		}
	}
}

// end is called after each write.
func (c *connWriter) end(n int64, err error) {
	c.srv.counters.bytesOut.Add(n)
	if err != nil {
		c.writeErr = err
	}
}

// deadline is the time d from now, or none if d is 0.
func deadline(d time.Duration) time.Time {
	if d == 0 {
		return time.Time{}
	}
	return time.Now().Add(d)
}
