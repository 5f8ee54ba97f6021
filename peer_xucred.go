//go:build darwin || freebsd

package simpleipc

import "golang.org/x/sys/unix"

func xucred(fd int) (Peer, error) {
	const solLocal = 0
	c, err := unix.GetsockoptXucred(fd, solLocal, unix.LOCAL_PEERCRED)
	if err != nil {
		return unknownPeer, err
	}
	p := Peer{PID: unknown, UID: int(c.Uid), GID: unknown}
	if c.Ngroups > 0 {
		p.GID = int(c.Groups[0])
	}
	return p, nil
}
