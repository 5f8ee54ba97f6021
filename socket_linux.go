package simpleipc

import (
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

func newStreamSocket() (int, error) {
	return unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}

// acceptSocket accepts a connection and does not ask for the client's address,
// which is empty.
func acceptSocket(fd int) (int, error) {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(fd), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return -1, errno
		}
	}
}

// bindIn binds the socket fd to bindName in the workspace for path. It goes
// through the workspace's descriptor: so the socket is made there, whatever
// becomes of the names that lead to it, and these may be of any length.
func bindIn(w *workspace, fd int, path string) error {
	address := "/proc/self/fd/" + strconv.Itoa(int(w.dir.Fd()))
	if _, err := os.Lstat(address); err != nil { // no /proc here
		return bindByPath(w, fd, path)
	}
	return unix.Bind(fd, &unix.SockaddrUnix{Name: address + "/" + bindName})
}

// shortAddress returns an address for a path that is too long to be one. It
// goes through a descriptor, so that no working directory is changed.
func shortAddress(path string) (address string, done func(), err error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", nil, err
	}
	address = "/proc/self/fd/" + strconv.Itoa(fd)
	if _, err := os.Lstat(address); err != nil { // no /proc here
		unix.Close(fd)
		return linkAddress(path)
	}
	return address, func() { unix.Close(fd) }, nil
}

// awaitHangUp waits until the peer closes a connection whose reading side this
// side has shut, and reports whether it does so before the read deadline.
func (s socket) awaitHangUp() (gone bool) {
	raw, err := s.SyscallConn()
	if err != nil {
		return false
	}
	err = raw.Read(func(fd uintptr) bool {
		n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd)}}, 0) // POLLHUP needs not be asked for
		return n > 0
	})
	return err == nil
}

// writev is unix.Writev for as many buffers as a [pktline.Writer] has. It does
// not allocate, and large messages take many calls.
func writev(fd int, buffers [][]byte) (int, error) {
	var vector [66]unix.Iovec
	n := 0
	for _, b := range buffers[:min(len(buffers), len(vector))] {
		if len(b) > 0 {
			vector[n].Base = &b[0]
			vector[n].SetLen(len(b))
			n++
		}
	}
	written, _, errno := unix.Syscall(unix.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&vector)), uintptr(n))
	if errno != 0 {
		return 0, errno
	}
	return int(written), nil
}
