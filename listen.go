package simpleipc

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"time"
)

// defaultLockTimeout is how long Listen waits for the path's lock, which is
// held for milliseconds.
const defaultLockTimeout = 1 * time.Second

// ListenConfig says how to claim a path. The zero value is ready for use and
// safe: the socket is for the current user only.
type ListenConfig struct {
	// Mode is the permissions of the socket, 0600 if it is 0. The socket never
	// has wider ones, from its creation on, and has these whatever the umask
	// is. To connect, a process needs the permission to write. To let the
	// users of a group connect, set it to 0660 and the server's Authorize to
	// a function that lets them pass. Windows ignores it.
	Mode fs.FileMode

	// SecurityDescriptor is who may connect to the pipe on Windows, in the
	// security descriptor definition language (SDDL). If it is empty, it is
	// the user of this process, who also owns the pipe. To let others connect
	// and not, as GENERIC_WRITE would, be a server of this pipe as well, grant
	// them 0x12019b, and set the server's Authorize to a function that lets
	// them pass. Other systems ignore it.
	SecurityDescriptor string

	// LockTimeout is how long to wait for another process that is just
	// claiming the path or giving it up, 1 second if it is 0. If it is
	// negative, Listen does not wait.
	LockTimeout time.Duration

	// Backlog is how many connections may wait to be accepted, as many as the
	// system allows if it is 0. On Windows it is 64 then, and at most 1024.
	Backlog int
}

// Listen claims path with the zero [ListenConfig]; see [ListenConfig.Listen].
func Listen(ctx context.Context, path string) (*Listener, error) {
	return ListenConfig{}.Listen(ctx, path)
}

// listenError wraps the error of an attempt to claim path. It does not tell
// other states than these: what is missing, for instance, may be a directory.
func listenError(path string, err error) *Error {
	e := &Error{Op: "listen", Path: path, State: OtherError, Err: cause(err)}
	switch {
	case errors.Is(err, ErrInUse):
		e.State = Listening
	case stateOf(err) == InvalidPath:
		e.State = InvalidPath
	}
	return e
}

// lockTimeout is LockTimeout with its default.
func (lc ListenConfig) lockTimeout() time.Duration {
	return max(0, cmp.Or(lc.LockTimeout, defaultLockTimeout))
}

// Accept waits for a connection and returns it, for programs that do not want
// the protocol; to serve this one, give l to a [Server]. It does not ask
// whether the peer is one to talk to: see [SameUser]. Only one goroutine at a
// time may call it. After Close, errors.Is finds [os.ErrClosed] in its error.
func (l *Listener) Accept() (*RawConn, error) {
	raw, err := l.accept()
	if err != nil {
		return nil, &Error{Op: "accept", Path: l.path, State: OtherError, Err: err}
	}
	return &raw, nil
}
