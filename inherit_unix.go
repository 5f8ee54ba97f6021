//go:build unix

package simpleipc

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// FileListener returns a Listener for a socket that already listens: one that
// systemd, or the process that started this one, has made and passed on. f can
// be closed then; the Listener has a descriptor of its own. The socket is made
// non-blocking, for every process that has it.
//
// Path, permissions and backlog of such a socket are the business of whoever
// made it: the Listener neither watches the path nor removes it. A server that
// shuts down leaves the clients that have not been accepted in the queue, for
// its successor. In the eyes of a client, the peer is the process that made
// the socket listen.
func FileListener(f *os.File) (*Listener, error) {
	l, err := inherit(f)
	if err != nil {
		return nil, &Error{Op: "listen", Path: f.Name(), State: OtherError, Err: cause(err)}
	}
	return l, nil
}

func inherit(f *os.File) (*Listener, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	cerr := raw.Control(func(from uintptr) { fd, err = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(cerr, err); err != nil {
		return nil, err
	}
	l := &Listener{inherited: true}
	if l.path, err = listeningPath(fd); err == nil {
		err = unix.SetNonblock(fd, true)
	}
	l.sock = os.NewFile(uintptr(fd), l.path)
	if err == nil {
		err = l.prepareAccept()
	}
	if err != nil {
		l.sock.Close()
		return nil, err
	}
	return l, nil
}

// listeningPath returns the path of a Unix stream socket that listens.
func listeningPath(fd int) (string, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return "", fmt.Errorf("looking for the socket's address: %w", err)
	}
	address, ok := sa.(*unix.SockaddrUnix)
	if !ok {
		return "", errors.New("it is not a Unix domain socket")
	}
	if typ, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || typ != unix.SOCK_STREAM {
		return "", errors.New("it is not a stream socket")
	}
	if on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || on == 0 {
		return "", errors.New("the socket does not listen; a connection that was accepted already cannot be served")
	}
	return address.Name, nil
}
