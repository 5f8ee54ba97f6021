//go:build linux

package main

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

func TestApproveFillReject(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.wantNone(site("example.com"))
	if pids := h.daemons(); len(pids) > 0 {
		t.Errorf("fill has started the daemons %v", pids)
	}
	h.approve(site("example.com"), "bob", "first")
	h.want(site("example.com"), "first")
	h.approve(site("example.com"), "bob", "second")
	h.want(site("example.com"), "second")

	// Another helper's wrong password is no reason to forget ours.
	h.must(h.git(site("example.com", "username", "bob", "password", "wrong"), "credential", "reject"))
	h.want(site("example.com"), "second")
	h.must(h.git(site("example.com", "username", "bob", "password", "second"), "credential", "reject"))
	h.wantNone(site("example.com"))
	h.wantGone()

	// Without a password, all that matches is forgotten.
	h.approve(site("example.com"), "alice", "a")
	h.approve(site("example.com"), "bob", "b")
	h.approve(site("example.org"), "bob", "o")
	h.must(h.git(site("example.com"), "credential", "reject"))
	h.wantNone(site("example.com", "username", "alice"))
	h.wantNone(site("example.com", "username", "bob"))
	h.want(site("example.org"), "o")
}

func TestMatching(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.approve(site("example.com"), "alice", "alice's")
	h.approve(site("example.com"), "bob", "bob's")
	h.approve(site("example.com:8443"), "bob", "bob's at 8443")
	h.approve(lines("protocol", "http", "host", "example.com"), "bob", "bob's by http")
	h.approve(lines("protocol", "cert", "host", "", "path", "/etc/key"), "", "the key's")

	h.want(site("example.com", "username", "alice"), "alice's")
	h.want(site("example.com", "username", "bob"), "bob's")
	h.want(site("example.com"), "bob's") // the latest one
	h.approve(site("example.com"), "alice", "alice's")
	h.want(site("example.com"), "alice's")
	h.want(site("example.com", "path", "repo.git"), "alice's") // Git drops the path
	h.want(site("example.com:8443"), "bob's at 8443")
	h.want(lines("protocol", "http", "host", "example.com"), "bob's by http")
	h.want(lines("protocol", "cert", "host", "", "path", "/etc/key", "username", ""), "the key's")
	for _, other := range []string{
		site("example.com", "username", "carol"),
		site("example.com:80"),
		site("EXAMPLE.com"),
		site("www.example.com"),
		site("example.co"),
		lines("protocol", "ftp", "host", "example.com"),
		lines("protocol", "cert", "host", "", "path", "/etc/key2"),
	} {
		h.wantNone(other)
	}
}

func TestUseHTTPPath(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.approve(site("example.com"), "bob", "for all")
	h.config = []string{"credential.useHttpPath=true"}
	h.approve(site("example.com", "path", "a.git"), "bob", "a")
	h.approve(site("example.com", "path", "b.git"), "bob", "b")
	h.must(h.helper(site("example.com", "username", "bob", "password", "for all"), "store"))
	h.want(site("example.com", "path", "a.git"), "a")
	h.want(site("example.com", "path", "b.git"), "b")
	h.wantNone(site("example.com", "path", "c.git"))
	h.must(h.git(site("example.com", "path", "a.git"), "credential", "reject"))
	h.wantNone(site("example.com", "path", "a.git"))
	h.want(site("example.com", "path", "b.git"), "b")
}

func TestOddPasswords(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	passwords := []string{
		"",
		" spaces at both ends ",
		"\ttabs\t",
		"=a=b=",
		`quotes " and ' and \ and ` + "`",
		"$(exit 1); $HOME & | > < * ? ~ !",
		"#comment",
		"größe, ключ, 鍵, 🔑",
		"no UTF-8: \xff\xfe\x80",
		"control: \x01\x1b[31m\x7f",
		"username=mallory",
		strings.Repeat("long", 15000),
	}
	for i, p := range passwords {
		h.approve(site(fmt.Sprint("host", i)), "user "+p[:min(len(p), 100)], p)
	}
	for i, p := range passwords {
		h.want(site(fmt.Sprint("host", i)), p)
		h.want(site(fmt.Sprint("host", i), "username", "user "+p[:min(len(p), 100)]), p)
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	const approvals, fills = 8, 50
	h := newHome(t)
	var all sync.WaitGroup
	for i := range approvals { // each may be the one that starts the daemon
		all.Go(func() { h.approve(site(fmt.Sprint("host", i)), "bob", fmt.Sprint("password", i)) })
	}
	all.Wait()
	h.eventually("one daemon is left", func() bool { return len(h.daemons()) == 1 })
	for i := range fills {
		all.Go(func() { h.want(site(fmt.Sprint("host", i%approvals)), fmt.Sprint("password", i%approvals)) })
	}
	all.Wait()
	h.daemon()
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	h, unasked := newHome(t, "--timeout=1"), newHome(t, "--timeout=1")
	unasked.approve(site("example.com"), "bob", "secret")
	h.approve(site("example.com"), "bob", "secret")
	h.want(site("example.com"), "secret")
	h.eventually("the credential has expired", func() bool {
		_, ok := h.fill(site("example.com"))
		return !ok
	})
	h.wantGone()
	unasked.wantGone()
	unasked.wantNone(site("example.com"))
}
