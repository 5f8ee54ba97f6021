//go:build unix

package simpleipc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxAddress is the length of the longest path that a socket address holds.
	maxAddress = len(unix.RawSockaddrUnix{}.Path) - 1

	// defaultDialTimeout is short, because the server may well have died.
	defaultDialTimeout = 1 * time.Second
)

var (
	errNotSocket = errors.New("something that is not a socket is there")
	errEmptyPath = errors.New("the path is empty")
	errNUL       = errors.New("the path has a NUL in it")
	errNoName    = errors.New("the path names a directory")

	// longAgo is a deadline that has passed.
	longAgo = time.Unix(1, 0)
)

// A socket is a connected stream socket in non-blocking mode. As an os.File
// it waits in the runtime's poller and has deadlines, with fewer system calls
// and allocations than a net.UnixConn.
type socket struct{ *os.File }

func newSocket(fd int, path string) socket {
	return socket{os.NewFile(uintptr(fd), path)}
}

// closeRead ends the stream of incoming bytes. On Linux, those that have
// arrived can still be read; elsewhere they may be lost.
func (s socket) closeRead() {
	_ = s.control(func(fd int) error { return unix.Shutdown(fd, unix.SHUT_RD) }) // unless the peer has gone
}

func (s socket) closeWrite() error {
	return s.control(func(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) })
}

// peer returns the process on the other side.
func (s socket) peer() (p Peer, err error) {
	err = s.control(func(fd int) (err error) {
		p, err = peerOf(fd)
		return err
	})
	if err != nil {
		err = fmt.Errorf("%w: %w", errPeerCredentials, err)
	}
	return p, err
}

// control calls f with the descriptor, which stays open meanwhile.
func (s socket) control(f func(fd int) error) error {
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := raw.Control(func(fd uintptr) { err = f(int(fd)) }); cerr != nil {
		return rawError(cerr)
	}
	return err
}

// rawError returns the error for which a method of a socket's RawConn has not
// gone on: the socket's deadline has passed or, for which it has an error of its
// own, the socket was closed.
func rawError(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return os.ErrClosed
}

// resolve makes path absolute, so that it means the same whatever becomes of
// the working directory. It has no ".." then, which a symbolic link before it
// would give another meaning than the name alone has.
func resolve(path string) (string, error) {
	switch {
	case path == "":
		return "", errEmptyPath
	case strings.ContainsRune(path, 0):
		return "", errNUL
	case strings.HasSuffix(path, "/"):
		return "", errNoName
	}
	if hasDotDot(path) {
		dir, name := filepath.Split(path)
		if name == ".." {
			return "", errNoName
		}
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			path = filepath.Join(real, name)
		}
	}
	abs, err := filepath.Abs(path)
	if err == nil && abs == "/" {
		err = errNoName
	}
	return abs, err
}

func hasDotDot(path string) bool {
	for name := range strings.SplitSeq(path, "/") {
		if name == ".." {
			return true
		}
	}
	return false
}

// stateOf tells the state of a path by the error of an attempt to connect.
func stateOf(err error) State {
	switch {
	case err == nil:
		return Listening
	case errors.Is(err, unix.ENOENT):
		return PathNotFound
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ETIMEDOUT):
		return NotListening
	case errors.Is(err, errNotSocket), errors.Is(err, errEmptyPath), errors.Is(err, errNUL), errors.Is(err, errNoName),
		errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENAMETOOLONG),
		errors.Is(err, unix.EPROTOTYPE), errors.Is(err, unix.ENOTSOCK):
		return InvalidPath
	}
	return OtherError
}

// isBusy reports whether an attempt to connect failed because the backlog of a
// live server is full. Elsewhere than on Linux the error is that of a dead one.
func isBusy(err error) bool { return errors.Is(err, unix.EAGAIN) }

// connect connects to the socket at an absolute path, without waiting.
func connect(path string) (socket, error) {
	var st unix.Stat_t
	if err := ignoreEINTR(func() error { return unix.Lstat(path, &st) }); err != nil {
		return socket{}, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return socket{}, errNotSocket
	}
	address := path
	if len(path) > maxAddress {
		short, done, err := shortAddress(path)
		if err != nil {
			return socket{}, err
		}
		defer done()
		address = short
	}
	fd, err := newStreamSocket()
	if err != nil {
		return socket{}, fmt.Errorf("socket: %w", err)
	}
	sa := &unix.SockaddrUnix{Name: address}
	if err := ignoreEINTR(func() error { return unix.Connect(fd, sa) }); err != nil {
		unix.Close(fd)
		return socket{}, err
	}
	return newSocket(fd, path), nil
}

// bindByPath binds the socket fd to bindName in the workspace for path, by its
// path.
func bindByPath(w *workspace, fd int, path string) error {
	dir := filepath.Join(filepath.Dir(path), w.name)
	address := filepath.Join(dir, bindName)
	if len(address) > maxAddress {
		short, done, err := linkAddress(dir)
		if err != nil {
			return err
		}
		defer done()
		address = filepath.Join(short, bindName)
	}
	return unix.Bind(fd, &unix.SockaddrUnix{Name: address})
}

// linkAddress makes a short address for a path of any length: a symbolic link
// to it in a private directory. The caller calls done when it has used it.
func linkAddress(path string) (address string, done func(), err error) {
	dir, err := os.MkdirTemp("", "ipc")
	if err != nil {
		// Not wrapped: this says nothing of what is at path.
		return "", nil, fmt.Errorf("a short name for the path: %v", err)
	}
	done = func() { _ = os.RemoveAll(dir) } // a link in a directory of temporary files
	address = filepath.Join(dir, "l")
	if err = os.Symlink(path, address); err == nil && len(address) > maxAddress {
		err = unix.ENAMETOOLONG
	}
	if err != nil {
		done()
		return "", nil, err
	}
	return address, done, nil
}

func ignoreEINTR(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}
