package simpleipc

func peerOf(fd int) (Peer, error) { return xucred(fd) }
