package simpleipc

import (
	"strings"
	"testing"
)

func TestPeerString(t *testing.T) {
	for want, p := range map[string]Peer{
		"pid 1, uid 2, gid 3": {PID: 1, UID: 2, GID: 3}, "uid 0": {PID: -1, UID: 0, GID: -1},
		"uid 4294967294":      {PID: -1, UID: -2, GID: -1}, // where int has 32 bits
		"pid 1, sid S-1-5-18": {PID: 1, UID: -1, GID: -1, SID: "S-1-5-18"}, "unknown peer": unknownPeer,
	} {
		if p.String() != want {
			t.Errorf("got %q, want %q", p, want)
		}
		group := strings.ReplaceAll(strings.ReplaceAll(want, "unknown peer", ""), ", ", " ")
		if got := strings.Trim(strings.ReplaceAll(p.LogValue().String(), "=", " "), "[]"); got != group {
			t.Errorf("it is logged as %q, want %q", got, group)
		}
	}
}
