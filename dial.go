package simpleipc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"example.com/simpleipc/trace2"
)

// A Dialer says how to connect to a server. The zero Dialer is ready for use;
// its fields must not be changed while it is in use. Its methods may be called
// concurrently.
type Dialer struct {
	// Timeout is how long to wait for a server that is busy or missing, as
	// the next two fields allow; 1 second (on Windows, 30) if it is 0, and no
	// time at all if it is negative. It does not bound the exchange: that is
	// for the context.
	Timeout time.Duration

	// NoWaitBusy fails at once if the path is [NotListening]. Otherwise it is
	// tried again until Timeout has passed, for a socket does not tell whether
	// its server is busy or has died. A pipe, on Windows, has a server: it is
	// busy, or ending.
	NoWaitBusy bool

	// WaitNotFound tries again, until Timeout has passed, if the path is
	// [PathNotFound]: for a server that is just being started.
	WaitNotFound bool

	// MaxResponse is the size in bytes of the largest response to accept, 1
	// GiB if it is 0, and without limit if it is negative. A larger one fails
	// with an error for which errors.Is(err, ErrTooLarge) holds. It does not
	// apply to streamed responses.
	MaxResponse int64

	// Authorize decides, by an error, whether the server is one to talk to,
	// before a byte is sent. If it is nil, [SameUser] decides.
	Authorize func(Peer) error
}

const defaultMaxResponse = DefaultMaxRequest

// Call sends request to the server at path with the zero [Dialer] and returns
// the response; see [Dialer.Call].
func Call(ctx context.Context, path string, request []byte) ([]byte, error) {
	return new(Dialer).Call(ctx, path, request)
}

// Call connects to the server at path, sends request, returns the response,
// which the caller owns, and closes the connection. A response may be empty.
// The request is not kept.
//
// When ctx ends, Call returns its error at once. Without a deadline it waits
// as long as the server takes. All errors are an [*Error]; see there and
// [Conn.Call] for what errors.Is finds.
func (d *Dialer) Call(ctx context.Context, path string, request []byte) ([]byte, error) {
	c, err := d.Dial(ctx, path)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Call(ctx, request)
}

// CallStream is [Dialer.Call] for messages that should not be in memory as a
// whole. It sends what request has until its io.EOF, and returns as soon as
// the response begins. The caller reads the response, as with
// [Conn.CallStream], and closes it, which closes the connection.
func (d *Dialer) CallStream(ctx context.Context, path string, request io.Reader) (*Response, error) {
	c, err := d.Dial(ctx, path)
	if err != nil {
		return nil, err
	}
	r, err := c.CallStream(ctx, request)
	if err != nil {
		c.Close()
		return nil, err
	}
	r.closeConn = true
	return r, nil
}

// Dial connects to the server at path, for any number of calls. Git's servers
// close a connection after one exchange; this package's keep it until it has
// been idle for a while.
//
// The error is an [*Error] that tells the state of the path. errors.Is finds
// [fs.ErrNotExist] if nothing is there, [ErrNotListening] if nobody takes the
// connection, [ErrBusy] besides if a server is there, [ErrInvalidPath],
// [ErrUnauthorized] if Authorize refused the server, and the context's error
// if that ended the wait.
func (d *Dialer) Dial(ctx context.Context, path string) (*Conn, error) {
	raw, err := d.dial(ctx, path)
	if err != nil {
		return nil, err
	}
	c := &Conn{
		sock: raw.sock, path: raw.sock.Name(), peer: raw.peer,
		limit: cmp.Or(d.MaxResponse, defaultMaxResponse), turn: make(chan struct{}, 1),
	}
	c.rd.Reset(c.sock)
	c.wr.Reset(c.sock)
	return c, nil
}

// DialRaw is [Dialer.Dial] for programs that do not want the protocol: they
// speak another one, or look at this one as it passes. MaxResponse means
// nothing to it.
func (d *Dialer) DialRaw(ctx context.Context, path string) (*RawConn, error) {
	raw, err := d.dial(ctx, path)
	if err != nil {
		return nil, err
	}
	return &raw, nil
}

func (d *Dialer) dial(ctx context.Context, path string) (RawConn, error) {
	const op = "dial"
	abs, err := resolve(path)
	if err != nil {
		return RawConn{}, newError(op, path, err)
	}
	ctx, region := trace2.Region(ctx, traceClient, "try-connect")
	defer region.End()
	trace2.Data(ctx, traceClient, "try-connect/path", abs)
	raw, err := d.tryConnect(ctx, abs)
	traceConnect(ctx, err)
	return raw, err
}

// tryConnect connects to abs, as often as the fields say.
func (d *Dialer) tryConnect(ctx context.Context, abs string) (RawConn, error) {
	const op = "dial"
	timeout := cmp.Or(d.Timeout, defaultDialTimeout)
	if err := ctx.Err(); err != nil {
		return RawConn{}, newError(op, abs, err)
	}
	var wait *backoff
	for {
		s, err := connect(abs)
		if err == nil {
			return d.authorize(s, abs)
		}
		failure := newError(op, abs, err)
		if !d.mayWait(failure.State) {
			return RawConn{}, failure
		}
		if wait == nil {
			wait = newBackoff(ctx, timeout)
		}
		switch err := wait.next(); {
		case err == nil:
		case errors.Is(err, errWaitedLong):
			if timeout > 0 {
				failure.Err = fmt.Errorf("%w; waited %v", failure.Err, timeout)
			}
			return RawConn{}, failure
		default:
			failure.Err = fmt.Errorf("%w while waiting after: %w", err, failure.Err)
			return RawConn{}, failure
		}
	}
}

func (d *Dialer) mayWait(s State) bool {
	return s == NotListening && !d.NoWaitBusy || s == PathNotFound && d.WaitNotFound
}

// authorize asks whether the server that has taken the connection is one to
// talk to.
func (d *Dialer) authorize(s socket, path string) (RawConn, error) {
	peer, err := s.peer()
	switch {
	case err != nil:
	case d.Authorize == nil:
		err = SameUser(peer)
	default:
		err = d.Authorize(peer)
		if err != nil && !errors.Is(err, ErrUnauthorized) {
			err = fmt.Errorf("%w: %w", ErrUnauthorized, err)
		}
	}
	if err != nil {
		s.Close()
		return RawConn{}, &Error{Op: "dial", Path: path, State: Listening, Err: err}
	}
	return RawConn{sock: s, peer: peer}, nil
}
