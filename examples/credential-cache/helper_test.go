//go:build linux

package main

import (
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What the installed Git may not do yet is tested with the program alone.

func TestPasswordExpiry(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	expiry := strconv.FormatInt(time.Now().Unix()+2, 10)
	h.must(h.helper(site("example.com", "username", "bob", "password", "p",
		"password_expiry_utc", expiry, "oauth_refresh_token", "r"), "store"))
	answer := lines("username", "bob", "password", "p", "password_expiry_utc", expiry, "oauth_refresh_token", "r")
	if out := h.must(h.helper(site("example.com"), "get")); out != answer {
		t.Errorf("get: %q, want %q", out, answer)
	}
	h.wantGone()

	h.must(h.helper(site("example.com", "username", "bob", "password", "p", "password_expiry_utc", "1"), "store"))
	h.wantGone() // since it has not even come
	if _, err := h.helper(site("example.com", "username", "bob", "password", "p", "password_expiry_utc", "soon"), "store"); err == nil {
		t.Error("an expiry that is no number was taken")
	}
}

func TestAuthtype(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	const able = "capability[]=authtype\ncapability[]=state\n"
	token := lines("authtype", "Bearer", "credential", "token")
	answer := "capability[]=authtype\n" + token
	get := func(input, want string) {
		t.Helper()
		if out := h.must(h.helper(input, "get")); out != want {
			t.Errorf("get %q: %q, want %q", input, out, want)
		}
	}
	h.must(h.helper(able+site("a")+token+lines("state[]", "x", "wwwauth[]", "y"), "store"))
	get(able+site("a"), answer)
	get(site("a"), "")                        // it would not be understood
	get("capability[]=state\n"+site("a"), "") // nor here
	get(able+"capability[]=\n"+site("a"), "") // nor here
	get(site("a")+able, answer)
	h.must(h.helper(able+site("a")+lines("authtype", "Bearer", "credential", "other"), "erase"))
	get(able+site("a"), answer)

	// What is not to be kept, and what nobody can have meant.
	h.must(h.helper(able+site("b", "ephemeral", "1")+token, "store"))
	h.must(h.helper(able+site("c", "authtype", "Bearer"), "store"))
	h.must(h.helper(site("d")+token, "store"))
	h.must(h.helper(site("e", "password", "without a user"), "store"))
	h.must(h.helper(lines("host", "f", "username", "u", "password", "p"), "store"))
	for _, host := range []string{"b", "c", "d", "e", "f"} {
		get(able+site(host), "")
	}
	h.must(h.helper(able+site("g", "ephemeral", "true", "username", "u", "password", "p")+token, "store"))
	get(able+site("g"), "capability[]=authtype\n"+lines("username", "u", "password", "p"))
	h.must(h.helper(able+site("h", "ephemeral", "0")+token, "store"))
	get(able+site("h"), answer)

	get(lines("host", "a"), "")
	get(lines("protocol", "https"), "")
	h.must(h.helper("", "erase"))
	h.must(h.helper(able+site("a")+token, "erase"))
	get(able+site("a"), "")
}

func TestActions(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	for action, want := range map[string]string{
		"capability": "version 0\ncapability authtype\n",
		"approve":    "",
		"future":     "",
		"exit":       "",
		"get":        "",
		"erase":      "",
	} {
		if out, err := h.helper(site("example.com"), action); out != want || err != nil {
			t.Errorf("%s: %q, %v, want %q", action, out, err, want)
		}
	}
	h.wantGone()
}

func TestInput(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	secret := newSecret()
	for name, input := range map[string]string{
		"no attribute":  site("h") + secret + "\n",
		"NUL":           site("h", "username", "u", "password", secret+"\x00"),
		"NUL elsewhere": site("h", "username", "u", "password", secret, "x\x00y", ""),
		"too long":      site("h", "username", "u", "password", strings.Repeat(secret, maxRequest/len(secret))),
		"much too long": site("h", "username", "u", "password", secret) + strings.Repeat("wwwauth[]=x\n", maxInput/12),
	} {
		for _, action := range []string{"store", "get", "erase"} {
			_, err := h.helper(input, action)
			if err == nil {
				t.Errorf("%s, %s: no error", name, action)
			} else if strings.Contains(err.Error(), secret) {
				t.Errorf("%s, %s: the error tells the secret: %v", name, action, err)
			}
		}
	}
	h.wantGone()

	// What is not understood is no harm, nor is a missing newline. It ends at a
	// blank line, also if there is no end.
	h.must(h.helper(site("h", "username", "u", "x", strings.Repeat("x", maxRequest), "", "", "password", "p\r")+"key=value", "store"))
	cmd := exec.Command(h.program, "get")
	cmd.Env = h.env
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	go io.WriteString(in, site("other", "host", "h")+"\nhost=third\n")
	out, err := cmd.Output()
	if want := lines("username", "u", "password", "p\r"); string(out) != want || err != nil {
		t.Errorf("get: %q, %v, want %q", out, err, want)
	}
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	for _, c := range []struct{ args, message string }{
		{"", "one action is needed"},
		{"get store", "one action is needed"},
		{"--timeout=0 store", "--timeout=0"},
		{"--timeout=-1 store", "--timeout=-1"},
		{fmt.Sprintf("--timeout=%d store", maxTimeout+1), "--timeout="},
		{"--timeout=9h store", "timeout"},
		{"--socket=relative get", "absolute"},
		{"--password=x get", "password"},
	} {
		if _, err := h.run("", h.program, strings.Fields(c.args)...); err == nil || !strings.Contains(err.Error(), c.message) {
			t.Errorf("%s: %v, want an error with %q", c.args, err, c.message)
		}
	}
	if out, err := h.run("", h.program, "--help"); out != usage || err != nil {
		t.Errorf("--help: %q, %v", out, err)
	}
	h.env[0] = "HOME="
	if _, err := h.run(site("h"), h.program, "get"); err == nil || !strings.Contains(err.Error(), "--socket") {
		t.Errorf("without a home: %v", err)
	}
	h.env[0] = "HOME=" + h.dir
}
