package simpleipc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// These errors are found with errors.Is in the errors of this package.
var (
	// ErrNotListening: there is a socket or pipe, but no server behind it
	// takes connections. The client's state is [NotListening].
	ErrNotListening = errors.New("no server is listening")

	// ErrBusy: a server is there, but more clients than it can queue want to
	// connect just now. It comes with ErrNotListening, and only on Linux and
	// Windows, where it can be told from a dead server.
	ErrBusy = errors.New("the server has no room for another connection")

	// ErrInvalidPath: the path cannot be that of a server. The client's state
	// is [InvalidPath].
	ErrInvalidPath = errors.New("not a path for a server")

	// ErrInUse: another server is alive at the path, so Listen leaves it alone.
	ErrInUse = errors.New("another server is listening")

	// ErrLocked: another process holds the lock that is taken for the moment
	// in which a path is claimed or given up, and held it for too long.
	ErrLocked = errors.New("the path is locked by another process")

	// ErrStolen: a server found that its path no longer leads to it, because
	// the socket was deleted, moved or replaced, and has shut down.
	ErrStolen = errors.New("the socket was deleted or replaced")

	// ErrServerClosed is returned by Serve and ListenAndServe after a shutdown
	// that was asked for, whether it came before or after them.
	ErrServerClosed = errors.New("server closed")

	// ErrConnClosed: the connection was closed, by the server before any of the
	// response had come, or by this side. Whether the server may have seen the
	// request is in [Error.MaybeSeen].
	ErrConnClosed = errors.New("connection closed")

	// ErrUnauthorized: the process on the other side is not one to talk to,
	// by its user for example. It matches [fs.ErrPermission], too.
	ErrUnauthorized = fmt.Errorf("peer refused: %w", fs.ErrPermission)

	// ErrTooLarge: a message exceeds the limit for its size.
	ErrTooLarge = errors.New("message too large")

	// ErrRequestUnread: a handler of streamed requests wrote so much of its
	// response that it had to be sent before the request was read to its end.
	ErrRequestUnread = errors.New("response begun before the request was read to its end")
)

// Error is the type of the errors that this package's functions and methods
// return for a path. errors.Is looks through it to its cause, and finds
// [fs.ErrNotExist] for PathNotFound, [ErrNotListening] for NotListening and
// [ErrInvalidPath] for InvalidPath.
type Error struct {
	// Op is what failed: "probe", "dial" or "call" for a client, "listen",
	// "accept", "serve" or "close" for a server.
	Op string
	// Path is the path, made absolute where that was possible.
	Path string
	// State is what was found at the path; Listening once a connection was
	// made.
	State State
	// MaybeSeen is set when a call failed after the last byte of its request
	// had been sent: the server may have acted on it. When it is not set, no
	// handler has seen a whole request, and it is safe to send it again.
	MaybeSeen bool
	// Err is the cause.
	Err error
}

// Error returns the operation, the path, the cause and, where there is one, a
// remedy.
func (e *Error) Error() string {
	text := fmt.Sprintf("simpleipc: %s %s: %v", e.Op, e.Path, e.Err)
	switch e.State {
	case NotListening:
		return text + " (no server is listening there: it has died or is overloaded)"
	case PathNotFound:
		return text + " (no server is there: has it been started?)"
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is lets errors.Is find the error that stands for e's state.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrNotListening:
		return e.State == NotListening
	case ErrBusy:
		return e.State == NotListening && isBusy(e.Err)
	case ErrInvalidPath:
		return e.State == InvalidPath
	case fs.ErrNotExist:
		return e.State == PathNotFound
	}
	return false
}

// newError wraps the error of an attempt to reach path, of which it tells the
// state.
func newError(op, path string, err error) *Error {
	return &Error{Op: op, Path: path, State: stateOf(err), Err: cause(err)}
}

// cause strips what the os package adds to an error: the path is there twice.
func cause(err error) error {
	switch e := err.(type) {
	case *fs.PathError:
		return e.Err
	case *os.LinkError:
		return e.Err
	}
	return err
}
