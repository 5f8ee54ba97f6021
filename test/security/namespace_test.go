//go:build linux

package security

import (
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"example.com/simpleipc"
)

// inNamespace lets a child run as user number inside of a user namespace of
// its own, in which u is the only user there is, and in a process namespace.
func (u user) inNamespace(cmd *exec.Cmd, inside int) {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: inside, HostID: int(u.id), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: inside, HostID: int(u.id), Size: 1}},
		Credential:  &syscall.Credential{Uid: uint32(inside), Gid: uint32(inside), NoSetGroups: true},
	}
}

// startInNamespace starts a child as inNamespace says.
func (u user) startInNamespace(t *testing.T, inside int, name string, args ...string) *process {
	t.Helper()
	cmd := u.command(name, args...)
	u.inNamespace(cmd, inside)
	p, err := tryStart(t, cmd)
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSPC) {
		t.Skipf("user namespaces cannot be made here: %v", err)
	}
	must(t, err)
	return p
}

const nobody = 65534 // what the kernel shows for users that a namespace does not have

// TestServerInUserNamespace: to a server in a user namespace, users who are
// not in it are nobody, and processes that are not in its process namespace
// have the number 0. It does not serve them unless it is told to.
func TestServerInUserNamespace(t *testing.T) {
	needRoot(t)
	for _, who := range []string{"same user", "anybody"} {
		path := filepath.Join(directory(t, alice, 0o755), "sock")
		server := alice.startInNamespace(t, 1000, "serve", "666", who, path)
		server.expect(t, "serving")
		for _, u := range []user{mallory, alice} {
			o := ask[outcome](t, u, "talk", "anybody", path, "hello")
			if who == "same user" && u == mallory {
				if !o.is("closed") {
					t.Errorf("a stranger's call: %+v", o)
				}
				continue
			}
			want := simpleipc.Peer{PID: 0, UID: nobody, GID: nobody}
			if u == alice {
				want.UID, want.GID = 1000, 1000
			}
			wantPeer(t, o, want)
			if o.Peer.UID != int(alice.id) || o.Peer.PID != server.Process.Pid {
				t.Errorf("%s saw the server as %+v", u.name, o.Peer)
			}
		}
		// Root of the outside is a stranger, too.
		if who == "same user" {
			if o := ask[outcome](t, root, "talk", "anybody", path, "hello"); !o.is("closed") {
				t.Errorf("outer root's call: %+v", o)
			}
		}
	}
}

// TestRootOfUserNamespace: who is root in a user namespace is no root outside.
func TestRootOfUserNamespace(t *testing.T) {
	needRoot(t)
	server, path := alice.serve(t, "666", "same user")
	for _, u := range []user{mallory, alice} {
		var o outcome
		u.startInNamespace(t, 0, "talk", "anybody", path, "hello").stop(t, &o)
		if u == mallory && !o.is("closed") {
			t.Errorf("mallory's call: %+v", o)
		}
		if u == alice {
			var p simpleipc.Peer
			if err := json.Unmarshal([]byte(o.Answer), &p); err != nil || p.UID != int(alice.id) || o.Peer.UID != 0 {
				t.Errorf("alice's call: %+v", o)
			}
		}
	}
	var end served
	server.stop(t, &end)
	if end.Dropped.Refused != 1 {
		t.Errorf("stats: %+v", end.Stats)
	}
}

// TestNobodyInUserNamespace: a server that is itself user 65534 in its user
// namespace cannot tell its own user from users of the outside. That is a
// limit, not a promise; the permissions of its socket still keep them out.
func TestNobodyInUserNamespace(t *testing.T) {
	needRoot(t)
	for mode, kind := range map[string]string{"666": "", "600": "permission"} {
		path := filepath.Join(directory(t, alice, 0o755), "sock")
		server := alice.startInNamespace(t, nobody, "serve", mode, "same user", path)
		server.expect(t, "serving")
		if o := ask[outcome](t, mallory, "talk", "anybody", path, "hello"); !o.is(kind) {
			t.Errorf("mode %s: a stranger's call: %+v, want %q", mode, o, kind)
		}
	}
}
