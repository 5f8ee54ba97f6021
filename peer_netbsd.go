package simpleipc

// peerOf asks as unix(4) says: the process, the user and the group.
func peerOf(fd int) (Peer, error) {
	const solLocal, localPeerEID = 0, 3
	ids, err := peerIDs(fd, solLocal, localPeerEID)
	if err != nil {
		return unknownPeer, err
	}
	return Peer{PID: ids[0], UID: ids[1], GID: ids[2]}, nil
}
