package main

import (
	"io"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// rawSocket is blocking system calls and a thread for each connection on both
// sides: what the operating system costs, with no poller and no scheduling of
// goroutines.
type rawSocket struct{}

func (rawSocket) listen(path string, x exchange, s service) (io.Closer, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	if err := unix.Listen(fd, unix.SOMAXCONN); err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("listen", err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for {
			c, _, err := unix.Accept(fd)
			switch err {
			case nil:
				serving.Go(func() { serveRaw(rawConn(c), x, s) })
			case unix.EINTR, unix.ECONNABORTED:
			default: // it was shut down
				return
			}
		}
	})
	return closer(func() error {
		err := unix.Shutdown(fd, unix.SHUT_RDWR) // wakes Accept
		serving.Wait()
		_ = unix.Close(fd)
		return err
	}), nil
}

func serveRaw(c rawConn, x exchange, s service) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer func() { _ = c.Close() }() // the client sees
	buf := messageBuffer(x.Request)
	defer messages.Put(buf)
	for answerBare(c, *buf, x, s) == nil {
	}
}

// dial binds the goroutine to its thread until the connection is closed.
func (rawSocket) dial(path string, x exchange) (conn, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	for {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	runtime.LockOSThread()
	return lockedConn{bareConn{rawConn(fd), x}}, nil
}

type lockedConn struct{ bareConn }

func (c lockedConn) Close() error {
	runtime.UnlockOSThread()
	return c.bareConn.Close()
}

// A rawConn is the descriptor of a connected socket in blocking mode.
type rawConn int

func (c rawConn) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(int(c), p)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, os.NewSyscallError("read", err)
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (c rawConn) Write(p []byte) (int, error) {
	written := 0
	for written < len(p) {
		n, err := unix.Write(int(c), p[written:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return written, os.NewSyscallError("write", err)
		}
		written += n
	}
	return written, nil
}

func (c rawConn) Close() error { return os.NewSyscallError("close", unix.Close(int(c))) }
