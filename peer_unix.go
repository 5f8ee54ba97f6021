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
	wanted := "root"
	if us := os.Geteuid(); us != 0 {
		wanted = fmt.Sprintf("user %d or root", us)
	}
	return fmt.Errorf("%w: it runs as user %d, not as %s", ErrUnauthorized, uint32(p.UID), wanted)
}
