//go:build unix

package simpleipc

import (
	"fmt"
	"os"
)

func sameUser(p Peer) error {
	if p.UID == unknown || p.UID == 0 || p.UID == os.Geteuid() {
		return nil
	}
	return fmt.Errorf("%w: it runs as user %d, not as user %d or root", ErrUnauthorized, p.UID, os.Geteuid())
}
