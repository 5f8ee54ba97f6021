package simpleipc

import (
	"context"
	"errors"
	"io"
)

// A Handler answers requests.
//
// ServeIPC answers one request by writing to w, as often as it likes or not at
// all: an empty response is a response. What it returns decides what the
// client gets:
//   - nil: the response is complete.
//   - [Quit], or an error that wraps it: the response is complete, and once
//     the client has been sent it, the server shuts down in order.
//   - any other error, or a panic: the response is broken off. The client gets
//     an error, never a response that is cut short. The error is logged, and
//     so is the panic, with its stack; the server goes on.
//
// ctx ends when ServeIPC returns, when the client hangs up (if the request is
// streamed, once it has been read to its end, or reading it has failed), when
// the server is closed, and when it has been shut down for longer than it waits
// for handlers. [context.Cause] tells which: [ErrConnClosed] if the client has
// hung up, [ErrServerClosed] for the server.
//
// Neither w nor r nor the request's bytes may be used after ServeIPC has
// returned. A server calls its handler from several goroutines at once.
type Handler interface {
	ServeIPC(ctx context.Context, w *ResponseWriter, r *Request) error
}

// HandlerFunc is a function as a [Handler].
type HandlerFunc func(ctx context.Context, w *ResponseWriter, r *Request) error

// ServeIPC calls f.
func (f HandlerFunc) ServeIPC(ctx context.Context, w *ResponseWriter, r *Request) error {
	return f(ctx, w, r)
}

// Quit is what a handler returns to shut its server down after the response.
var Quit = errors.New("simpleipc: quit")

// A Request is what a client sent, and who the client is.
type Request struct {
	// Body is the whole request, empty but not nil if that is empty. It
	// belongs to the server and is valid until ServeIPC returns; until then
	// the handler may change it. It is nil if the server streams requests.
	Body []byte

	// Peer is the client's process.
	Peer Peer

	src io.Reader // what Read reads from
	off int       // how much of Body has been read
}

// Read reads the request's next bytes: from Body or, if the server streams
// requests, from the client as they arrive. It returns io.EOF only at the end
// of a whole request.
func (r *Request) Read(p []byte) (int, error) {
	if r.src != nil {
		return r.src.Read(p)
	}
	if r.off == len(r.Body) {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	n := copy(p, r.Body[r.off:])
	r.off += n
	return n, nil
}
