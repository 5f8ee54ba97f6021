package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"example.com/simpleipc"
)

// firstPassed is the first of the descriptors that systemd passes on.
const firstPassed = 3

// passed returns the sockets that systemd has passed on to this process; see
// sd_listen_fds(3).
var passed = sync.OnceValues(func() ([]*os.File, error) {
	pid, number := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		_ = os.Unsetenv(name) // they are not for the processes that this one starts
	}
	if pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n > 1<<16 {
		return nil, fmt.Errorf("daemon: systemd's LISTEN_FDS is %q, which is no number of sockets", number)
	}
	var files []*os.File
	for fd := firstPassed; fd < firstPassed+n; fd++ {
		unix.CloseOnExec(fd)
		files = append(files, os.NewFile(uintptr(fd), "systemd's descriptor "+strconv.Itoa(fd)))
	}
	return files, nil
})

// listenPassed returns a listener for the socket at path that systemd has
// passed on, or nil if it has passed on nothing.
func listenPassed(path string) (*simpleipc.Listener, error) {
	files, err := passed()
	if len(files) == 0 {
		return nil, err
	}
	var sockets []*simpleipc.Listener
	var others []string
	for _, f := range files {
		l, err := simpleipc.FileListener(f)
		switch {
		case err != nil:
			others = append(others, err.Error())
		case path == "" || isSame(l.Path(), path):
			sockets = append(sockets, l)
		default:
			others = append(others, l.Path())
			_ = l.Close() // its socket is systemd's
		}
	}
	if len(sockets) == 1 {
		return sockets[0], nil
	}
	for _, l := range sockets {
		others = append(others, l.Path())
		_ = l.Close()
	}
	return nil, &simpleipc.Error{Op: "listen", Path: path, State: simpleipc.OtherError,
		Err: fmt.Errorf("systemd has passed on no socket for this path, but: %s; compare ListenStream= in the socket unit", strings.Join(others, ", "))}
}

// isSame reports whether two paths lead to the same socket.
func isSame(a, b string) bool {
	if abs, err := filepath.Abs(b); err == nil && abs == a {
		return true
	}
	x, err := os.Stat(a)
	y, err2 := os.Stat(b)
	return errors.Join(err, err2) == nil && os.SameFile(x, y)
}

// notifySocket returns where systemd wants to be notified, or "".
var notifySocket = sync.OnceValue(func() string {
	const name = "NOTIFY_SOCKET"
	address := os.Getenv(name)
	_ = os.Unsetenv(name)
	return address
})

// notify tells systemd about the state of this process; see sd_notify(3).
func notify(log *slog.Logger, state string) {
	address := notifySocket()
	if address == "" {
		return
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		defer unix.Close(fd)
		// A manager that does not listen must not hold the server up.
		_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: 1})
		// An abstract address begins with an at sign, here as there.
		err = unix.Sendto(fd, []byte(state), unix.MSG_NOSIGNAL, &unix.SockaddrUnix{Name: address})
	}
	if err != nil {
		log.Warn("systemd could not be notified", "state", state, "err", err)
	}
}
