//go:build netbsd || openbsd

package simpleipc

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// peerIDs reads a socket option that is three IDs of 32 bits. For want of a
// function for it, one for another option lends its structure of 20 bytes.
func peerIDs(fd, level, option int) (ids [3]int, err error) {
	value, err := unix.GetsockoptIPv6Mreq(fd, level, option)
	if err != nil {
		return ids, err
	}
	for i := range ids {
		ids[i] = int(binary.NativeEndian.Uint32(value.Multiaddr[4*i:]))
	}
	return ids, nil
}
