//go:build unix

package trace2

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// How long the readers of a pipe or socket are waited for, so that one that
// works, but has been overtaken by a burst, can catch up: without it, a datagram
// socket, of which Linux by default holds ten lines, would hardly be of use.
// One that does not work costs the program no more than patience. These are
// variables for tests.
var (
	patience  = 50 * time.Millisecond // for one line
	maxWaited = 1 * time.Second       // in all
)

// waitedPart is which part of the time may be waited in addition: a tenth.
const waitedPart = 10

var (
	errNotInherited = errors.New("the descriptor was not inherited from the process that started this one")
	errSlow         = errors.New("its reader is too slow")
)

// An output is a descriptor to which lines are written. It is not an os.File,
// because writing to one may end the process by SIGPIPE, or wait in the
// runtime's poller without limit.
type output struct {
	fd       int
	borrowed bool // and not ours to close
	opened   time.Time
	waited   time.Duration // for readers, so far
}

func openStderr() *output {
	return &output{fd: 2, borrowed: true, opened: time.Now()}
}

// openDescriptor takes a descriptor that this process was started with. Any
// other that has the number by now, such as one of the runtime's or the
// program's own, is closed on exec.
func openDescriptor(fd int) (*output, error) {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err != nil {
		return nil, err
	}
	if flags&unix.FD_CLOEXEC != 0 {
		return nil, errNotInherited
	}
	return &output{fd: fd, borrowed: true, opened: time.Now()}, nil
}

// openFile opens a file to append to it, with os.O_EXCL a new one. If it is a
// pipe without a reader, that is an error, and not waited for.
func openFile(path string, flags int) (*output, error) {
	flags |= unix.O_WRONLY | unix.O_APPEND | unix.O_CREAT | unix.O_CLOEXEC | unix.O_NOCTTY | unix.O_NONBLOCK
	for {
		fd, err := unix.Open(path, flags, 0o666)
		switch {
		case err == nil:
			return &output{fd: fd, opened: time.Now()}, nil
		case err != unix.EINTR:
			return nil, &os.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

// openSocket connects to a socket of the kind "stream" or "dgram", or of either
// if kind is empty.
func openSocket(kind, path string) (*output, error) {
	var o *output
	err := error(unix.EPROTOTYPE)
	if kind != "dgram" {
		o, err = connect(unix.SOCK_STREAM, path)
	}
	if kind != "stream" && errors.Is(err, unix.EPROTOTYPE) {
		o, err = connect(unix.SOCK_DGRAM, path)
	}
	if err != nil {
		return nil, &os.PathError{Op: "connect", Path: path, Err: err}
	}
	return o, nil
}

func connect(kind int, path string) (*output, error) {
	if len(path) >= len(unix.RawSockaddrUnix{}.Path) {
		return nil, unix.ENAMETOOLONG
	}
	syscall.ForkLock.RLock() // no child must inherit it before it is closed on exec
	fd, err := unix.Socket(unix.AF_UNIX, kind, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, err
	}
	o := &output{fd: fd, opened: time.Now()}
	if err = unix.SetNonblock(fd, true); err == nil {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
	}
	if err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}

// write writes a line, with one write(2) unless it is interrupted or a reader
// is slow. After an error, part of the line may have been written.
func (o *output) write(b []byte) error {
	var slow time.Time // since when
	for len(b) > 0 {
		n, err := unix.Write(o.fd, b)
		switch {
		case err == nil:
			b = b[n:]
		case err == unix.EAGAIN:
			if slow.IsZero() {
				slow = time.Now()
			}
			if err := o.wait(slow); err != nil {
				return err
			}
		case err != unix.EINTR:
			return err
		}
	}
	return nil
}

// wait waits until the output takes more of a line, for which it has been
// waited since some time.
func (o *output) wait(since time.Time) error {
	now := time.Now()
	left := patience - now.Sub(since)
	if left <= 0 || o.waited > maxWaited+now.Sub(o.opened)/waitedPart {
		return errSlow
	}
	_, err := unix.Poll([]unix.PollFd{{Fd: int32(o.fd), Events: unix.POLLOUT}}, int(left.Milliseconds())+1)
	o.waited += time.Since(now)
	if err == unix.EINTR {
		return nil
	}
	return err
}

func (o *output) close() {
	if !o.borrowed {
		_ = unix.Close(o.fd) // each line has been written, or has failed
	}
}
