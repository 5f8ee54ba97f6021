package simpleipc

import "golang.org/x/sys/unix"

func peerOf(fd int) (Peer, error) {
	p, err := xucred(fd)
	if err != nil {
		return p, err
	}
	if pid, err := unix.GetsockoptInt(fd, unix.SOL_LOCAL, unix.LOCAL_PEERPID); err == nil {
		p.PID = pid
	}
	return p, nil
}
