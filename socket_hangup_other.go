//go:build !linux

package simpleipc

// awaitHangUp would wait until the peer closes a connection whose reading side
// this side has shut. That cannot be told here.
func (s socket) awaitHangUp() (gone bool) { return false }
