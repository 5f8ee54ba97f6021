package simpleipc

import (
	"context"
	"fmt"
)

// State is what a client finds at a path. The values, and their order, are
// those of Git's Simple IPC.
type State int

// The states of a path.
const (
	// Listening: a server accepts connections at the path.
	Listening State = iota

	// NotListening: a socket or pipe is there, but nobody takes the
	// connection. Either its server has died, or it is too busy.
	NotListening

	// InvalidPath: the path cannot work, because something that is no socket
	// is there, a parent is no directory, or the name cannot be addressed.
	InvalidPath

	// PathNotFound: there is nothing at the path; most likely no server has
	// been started.
	PathNotFound

	// OtherError: anything else, such as missing permission. The error that
	// comes with the state tells.
	OtherError
)

// String returns the state's name in words: "listening", "not listening",
// "invalid path", "path not found" or "other error".
func (s State) String() string {
	switch s {
	case Listening:
		return "listening"
	case NotListening:
		return "not listening"
	case InvalidPath:
		return "invalid path"
	case PathNotFound:
		return "path not found"
	case OtherError:
		return "other error"
	}
	return fmt.Sprintf("State(%d)", int(s))
}

// Probe tells whether a server listens at path, by connecting and hanging up.
// It does not wait: a server that is too busy to take the connection at once
// is [NotListening]. For every state but Listening it returns an [*Error] with
// the cause. It does not look at who the server is.
//
// A server takes a probe for what it is; it costs no worker and is not logged.
func Probe(ctx context.Context, path string) (State, error) {
	const op = "probe"
	if err := ctx.Err(); err != nil {
		return OtherError, &Error{Op: op, Path: path, State: OtherError, Err: err}
	}
	abs, err := resolve(path)
	if err == nil {
		path = abs
		var s socket
		if s, err = connect(abs); err == nil {
			s.Close()
			return Listening, nil
		}
	}
	e := newError(op, path, err)
	return e.State, e
}
