//go:build darwin || linux || openbsd

package simpleipc

import "golang.org/x/sys/unix"

// WriteBuffers writes the buffers one after the other, from where they lie.
func (s socket) WriteBuffers(buffers [][]byte) (sum int64, err error) {
	raw, err := s.SyscallConn()
	if err != nil {
		return 0, err
	}
	werr := raw.Write(func(fd uintptr) bool {
		for len(buffers) > 0 {
			var n int
			if n, err = writev(int(fd), buffers); err != nil {
				if err == unix.EINTR {
					continue
				}
				return err != unix.EAGAIN
			}
			sum += int64(n)
			for len(buffers) > 0 && n >= len(buffers[0]) {
				n -= len(buffers[0])
				buffers = buffers[1:]
			}
			if n > 0 {
				buffers[0] = buffers[0][n:]
			}
		}
		return true
	})
	if werr != nil {
		err = rawError(werr)
	}
	return sum, err
}

// WriteBuffers makes a connWriter a [pktline.BuffersWriter].
func (c *connWriter) WriteBuffers(buffers [][]byte) (int64, error) {
	if err := c.begin(); err != nil {
		return 0, err
	}
	n, err := c.sock.WriteBuffers(buffers)
	c.end(n, err)
	return n, err
}
