//go:build darwin || netbsd || openbsd || (solaris && !illumos)

package simpleipc

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Without SOCK_CLOEXEC, a descriptor must not be born while a process is
// being started, or the new process would inherit it.

func newStreamSocket() (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return -1, err
	}
	return fd, prepareSocket(fd)
}

func acceptSocket(fd int) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	var n int
	err := ignoreEINTR(func() (err error) {
		n, _, err = unix.Accept(fd)
		return err
	})
	if err != nil {
		return -1, err
	}
	return n, prepareSocket(n)
}

func prepareSocket(fd int) error {
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return err
	}
	return nil
}
