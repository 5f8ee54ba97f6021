package simpleipc

import (
	"errors"
	"fmt"
	"log/slog"
)

// Peer is the process on the other side of a connection, as the kernel knows
// it: its credentials at the time it connected or, for a server, began to
// listen. What the platform does not tell is -1. The process ID is for people:
// it is 0 for a process outside one's process namespace, and may belong to
// another process when it is looked up.
type Peer struct {
	PID int    // process ID
	UID int    // effective user ID; -1 on Windows
	GID int    // effective group ID; -1 on Windows
	SID string // the user's security identifier on Windows, "" elsewhere
}

// String returns "pid 1, uid 2, gid 3" or "pid 1, sid S-1-5-18", without what
// is not known.
func (p Peer) String() string {
	text := ""
	for _, f := range p.ids() {
		if f.id != unknown {
			if text != "" {
				text += ", "
			}
			text += fmt.Sprintf("%s %d", f.name, uint32(f.id))
		}
	}
	if p.SID != "" {
		text += ", sid " + p.SID
	}
	if text == "" {
		return "unknown peer"
	}
	return text
}

// LogValue returns what is known as a group for [log/slog].
func (p Peer) LogValue() slog.Value {
	var attrs []slog.Attr
	for _, f := range p.ids() {
		if f.id != unknown {
			attrs = append(attrs, slog.Uint64(f.name, uint64(uint32(f.id))))
		}
	}
	if p.SID != "" {
		attrs = append(attrs, slog.String("sid", p.SID))
	}
	return slog.GroupValue(attrs...)
}

type namedID struct {
	name string
	id   int
}

func (p Peer) ids() [3]namedID {
	return [...]namedID{{"pid", p.PID}, {"uid", p.UID}, {"gid", p.GID}}
}

// unknown stands for what the platform does not tell. Other negative numbers
// are large IDs where int has 32 bits.
const unknown = -1

var unknownPeer = Peer{PID: unknown, UID: unknown, GID: unknown}

// errPeerCredentials: the platform should have told who the peer is, but did
// not, most likely because the peer has gone.
var errPeerCredentials = errors.New("no peer credentials")

// SameUser is the default for who may be on the other side: a process of this
// process's own user or of root; on Windows, of the system. For others it
// returns an error for which errors.Is(err, ErrUnauthorized) holds.
//
// Linux, macOS, FreeBSD, OpenBSD, NetBSD and Windows tell the peer's user. If
// they do not for once, the peer is refused. Where the platform never does,
// every peer passes, and the permissions of the socket, which is 0600 unless
// widened, and of its directory are what keeps others out.
func SameUser(p Peer) error { return sameUser(p) }

// AnyUser is for Authorize fields: it lets every peer pass.
func AnyUser(Peer) error { return nil }
