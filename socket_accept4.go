//go:build dragonfly || freebsd || illumos

package simpleipc

import "golang.org/x/sys/unix"

func newStreamSocket() (int, error) {
	return unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}

func acceptSocket(fd int) (n int, err error) {
	err = ignoreEINTR(func() (err error) {
		n, _, err = unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		return err
	})
	return n, err
}
