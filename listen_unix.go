//go:build unix

package simpleipc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"example.com/simpleipc/trace2"
)

// maxBacklog is more connections than systems let wait to be accepted.
const maxBacklog = 1<<15 - 1

// A Listener holds a path: clients that connect are queued until a [Server]
// serves it. Its methods may be called concurrently.
type Listener struct {
	path        string
	base        string
	parent      *os.Root    // the directory of path
	info        fs.FileInfo // of the socket, as it was published
	lockTimeout time.Duration
	inherited   bool // the socket, and so its path, is another process's

	sock  *os.File
	raw   syscall.RawConn
	try   func(uintptr) bool // accepts into next and nextErr
	next  int
	fault error

	mu      sync.Mutex
	removed bool // l has given the path up
	closed  bool
}

// Listen claims path and listens there. Clients can connect from then on, and
// wait until the listener is served: so a daemon can hold its path first and
// get ready then.
//
// Of any number of processes that call Listen for one path at the same time,
// one succeeds. A socket that a dead server left is replaced in one step; a
// client sees the old one or the new one, never none. A lock file or anything
// else that a process left which died in Listen is cleared away. The directory
// of the socket is made, with permissions 0700, if only it is missing and not
// its parent. A relative path is resolved once, now. The path may be as long
// as the system allows for any file, its last name 5 bytes less since that of
// the lock is longer; the working directory is not changed.
//
// errors.Is finds [ErrInUse] in the error if another server is alive at the
// path, [ErrLocked] if another process held the lock for too long,
// [ErrInvalidPath] if something other than a socket is there, which is left
// alone, and the context's error if that ended the wait for the lock.
func (lc ListenConfig) Listen(ctx context.Context, path string) (*Listener, error) {
	abs, err := resolve(path)
	if err != nil {
		return nil, listenError(path, err)
	}
	ctx, region := trace2.Region(ctx, traceServer, "create-listener_socket")
	defer region.End()
	l, err := lc.listen(ctx, abs)
	if err != nil {
		return nil, listenError(abs, err)
	}
	trace2.Data(ctx, traceServer, "listen-with-lock", abs)
	return l, nil
}

func (lc ListenConfig) listen(ctx context.Context, path string) (*Listener, error) {
	dir, base := filepath.Split(path)
	parent, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.Mkdir(dir, 0o700); err == nil || errors.Is(err, fs.ErrExist) {
			parent, err = os.OpenRoot(dir)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("directory of the socket: %w", err)
	}
	l := &Listener{path: path, base: base, parent: parent, lockTimeout: lc.lockTimeout()}
	if err := l.claim(ctx, lc); err != nil {
		parent.Close()
		return nil, err
	}
	return l, nil
}

// claim takes the path, under its lock.
func (l *Listener) claim(ctx context.Context, lc ListenConfig) error {
	// A quick look first: most who come too late need no lock to see it.
	if err := l.checkFree(); err != nil {
		return err
	}
	w, err := newWorkspace(l.parent, l.base)
	if err != nil {
		return fmt.Errorf("preparing the socket in %s: %w", filepath.Dir(l.path), err)
	}
	defer w.close()
	lock, err := lockPath(ctx, w, l.base, l.lockTimeout, l.checkFree)
	if err != nil {
		return err
	}
	defer lock.unlock()
	if err := l.checkFree(); err != nil {
		return err
	}
	removeDebris(l.parent, l.base)
	return l.publish(w, lc)
}

// checkFree returns an error if the path cannot be claimed: because a server
// is alive there, which may be too busy to take the connection, or because
// something else is. That a server is too busy only Linux tells; elsewhere the
// connection is refused then, as by a dead one.
func (l *Listener) checkFree() error {
	s, err := connect(l.path)
	switch {
	case err == nil:
		s.Close()
		return ErrInUse
	case isBusy(err):
		return fmt.Errorf("%w, and its backlog is full", ErrInUse)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ECONNREFUSED):
		return nil
	}
	return fmt.Errorf("looking for a live server: %w", cause(err))
}

// publish makes the socket in the workspace and moves it to its path.
func (l *Listener) publish(w *workspace, lc ListenConfig) (err error) {
	mode := uint32(lc.Mode.Perm())
	if lc.Mode == 0 {
		mode = 0o600
	}
	backlog := lc.Backlog
	if backlog <= 0 {
		backlog = maxBacklog // the system takes what it allows
	}

	fd, err := newStreamSocket()
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	l.sock = os.NewFile(uintptr(fd), l.path)
	defer func() {
		if err != nil {
			l.sock.Close()
		}
	}()
	// Linux gives the socket the descriptor's mode; the others may refuse.
	_ = unix.Fchmod(fd, mode)
	if err := bindIn(w, fd, l.path); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if l.info, err = w.root.Lstat(bindName); err != nil {
		return fmt.Errorf("looking for the socket: %w", cause(err))
	}
	if uint32(l.info.Mode().Perm()) != mode {
		// The workspace is ours: nobody has put a symbolic link there.
		if err := w.root.Chmod(bindName, fs.FileMode(mode)); err != nil {
			return fmt.Errorf("setting the socket's permissions: %w", cause(err))
		}
	}
	if err := unix.Listen(fd, backlog); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if err := l.prepareAccept(); err != nil {
		return err
	}
	// By descriptor: others may have put something else at w's name.
	if err := unix.Renameat(int(w.dir.Fd()), bindName, int(w.up.Fd()), l.base); err != nil {
		return fmt.Errorf("publishing the socket: %w", err)
	}
	if !l.owns() {
		return ErrStolen // by somebody who may write in the directory
	}
	return nil
}

// prepareAccept makes what accept needs, once, so that accepting allocates
// nothing.
func (l *Listener) prepareAccept() (err error) {
	if l.raw, err = l.sock.SyscallConn(); err != nil {
		return err
	}
	l.try = func(fd uintptr) bool {
		l.next, l.fault = acceptSocket(int(fd))
		return l.fault != unix.EAGAIN
	}
	return nil
}

// Path returns the absolute path at which l listens. That of a FileListener is
// the socket's address as the system tells it.
func (l *Listener) Path() string { return l.path }

// Check returns an error for which errors.Is(err, ErrStolen) holds if the path
// no longer leads to l's socket. A server that serves l does this by itself.
// For a FileListener it returns nil.
func (l *Listener) Check() error {
	if l.inherited {
		return nil
	}
	info, err := os.Lstat(l.path)
	if err == nil && os.SameFile(info, l.info) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
		return nil // the socket may well be there
	}
	return &Error{Op: "serve", Path: l.path, State: OtherError, Err: ErrStolen}
}

// Close stops listening and removes the socket from the path, unless another
// one has taken its place or it is a FileListener's. Clients that have
// connected and were not accepted are hung up on. It returns an error if the
// socket could not be removed; the next server will replace it.
func (l *Listener) Close() error {
	err := l.remove(context.Background())
	l.closeSocket()
	return err
}

// closeSocket stops listening, and leaves the path as it is.
func (l *Listener) closeSocket() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		l.sock.Close()
		if l.parent != nil {
			l.parent.Close()
		}
	}
}

func (l *Listener) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// remove gives the path up while the socket still listens. The lock keeps a
// newcomer from replacing the socket between the look and the removal.
func (l *Listener) remove(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.removed || l.closed || l.inherited || !l.owns() {
		return nil
	}
	if err := l.removeLocked(ctx); err != nil {
		return &Error{Op: "close", Path: l.path, State: OtherError, Err: fmt.Errorf("removing the socket: %w", cause(err))}
	}
	l.removed = true
	return nil
}

func (l *Listener) removeLocked(ctx context.Context) error {
	w, err := newWorkspace(l.parent, l.base)
	if err != nil {
		return err
	}
	defer w.close()
	lock, err := lockPath(ctx, w, l.base, l.lockTimeout, func() error { return nil })
	if err != nil {
		return err
	}
	defer lock.unlock()
	if !l.owns() {
		return nil
	}
	return l.parent.Remove(l.base)
}

// owns reports whether l's socket is what has its name in its directory, even
// if that has been moved.
func (l *Listener) owns() bool {
	info, err := l.parent.Lstat(l.base)
	return err == nil && os.SameFile(info, l.info)
}

// accept waits for a connection. Only one goroutine at a time may call it.
func (l *Listener) accept() (RawConn, error) {
	if err := l.raw.Read(l.try); err != nil {
		if l.isClosed() {
			err = os.ErrClosed // which raw.Read's is not
		}
		return RawConn{}, err
	}
	return l.accepted()
}

// acceptQueued takes a connection that is already there; if there is none, the
// error is EAGAIN. It works after interrupt, as accept does not.
func (l *Listener) acceptQueued() (RawConn, error) {
	if err := l.raw.Control(func(fd uintptr) { l.try(fd) }); err != nil {
		return RawConn{}, err
	}
	return l.accepted()
}

// isAwaited reports whether somebody waits to be accepted.
func (l *Listener) isAwaited() (awaited bool) {
	_ = l.raw.Control(func(fd uintptr) { // fails if it is closed: then nobody does
		n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		awaited = n > 0
	})
	return awaited
}

func (l *Listener) accepted() (RawConn, error) {
	if l.fault != nil {
		return RawConn{}, fmt.Errorf("accept: %w", l.fault)
	}
	peer, err := peerOf(l.next)
	if err != nil {
		unix.Close(l.next)
		return RawConn{}, fmt.Errorf("%w: %w", errPeerCredentials, err)
	}
	return RawConn{sock: newSocket(l.next, l.path), peer: peer}, nil
}

// interrupt makes accept return os.ErrDeadlineExceeded, now and later.
func (l *Listener) interrupt() { l.sock.SetReadDeadline(longAgo) }

// isTemporary reports whether accept may succeed later: the client has gone,
// or there is no descriptor or memory left just now.
func isTemporary(err error) bool {
	for _, errno := range []error{errPeerCredentials, unix.ECONNABORTED, unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EPERM, unix.EPROTO} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
