package simpleipc

import "golang.org/x/sys/unix"

// peerOf asks as getsockopt(2) says: the user, the group and the process.
func peerOf(fd int) (Peer, error) {
	ids, err := peerIDs(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return unknownPeer, err
	}
	return Peer{PID: ids[2], UID: ids[0], GID: ids[1]}, nil
}
