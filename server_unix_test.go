//go:build unix

package simpleipc

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
)

// openFileLimit is how many descriptors this process may have open; the Go
// runtime has raised it as far as it may.
func openFileLimit(t testing.TB) uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return uint64(limit.Cur)
}

func TestSameUser(t *testing.T) {
	me := os.Geteuid()
	// Where int has 32 bits, a large ID is negative, and not unknown.
	for uid, ok := range map[int]bool{me: true, 0: true, me + 1: false, unknown: true, -294967296: false} {
		err := SameUser(Peer{PID: 1, UID: uid, GID: 1})
		if (err == nil) != ok || !ok && (!errors.Is(err, ErrUnauthorized) || !strings.HasSuffix(err.Error(), "root") || strings.Contains(err.Error(), "-")) {
			t.Errorf("uid %d: %v", uid, err)
		}
	}
	if err := AnyUser(Peer{UID: me + 1}); err != nil {
		t.Error(err)
	}
}
