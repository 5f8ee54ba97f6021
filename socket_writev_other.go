//go:build darwin || openbsd

package simpleipc

import "golang.org/x/sys/unix"

func writev(fd int, buffers [][]byte) (int, error) { return unix.Writev(fd, buffers) }
