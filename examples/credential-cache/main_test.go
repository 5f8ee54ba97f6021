//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"example.com/simpleipc"
)

// limit is how long a test waits for what must happen.
const limit = 60 * time.Second

// roles are what this executable is under other names.
var roles = map[string]func(){
	"credential-cache": main,
	"older-credential-cache": func() {
		protocolVersion--
		main()
	},
	"ask": ask,
}

// programs is a directory that all users may enter, with this executable under
// those names.
var programs string

func TestMain(m *testing.M) {
	if role, ok := roles[filepath.Base(os.Args[0])]; ok {
		role()
		return
	}
	goleak.VerifyTestMain(withPrograms{m})
}

type withPrograms struct{ *testing.M }

func (m withPrograms) Run() int {
	if err := makePrograms(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(programs)
	return m.M.Run()
}

func makePrograms() (err error) {
	if programs, err = os.MkdirTemp("", "credential-cache"); err != nil {
		return err
	}
	if err = os.Chmod(programs, 0o755); err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	binary, err := os.ReadFile(exe)
	if err != nil {
		return err
	}
	first := filepath.Join(programs, "test")
	if err = os.WriteFile(first, binary, 0o755); err != nil {
		return err
	}
	if err = os.Chmod(first, 0o755); err != nil { // whatever the umask is
		return err
	}
	for name := range roles {
		if err = os.Link(first, filepath.Join(programs, name)); err != nil {
			return err
		}
	}
	return nil
}

// ask sends standard input to whatever server is there, and prints the answer.
func ask() {
	request, err := io.ReadAll(os.Stdin)
	if err == nil {
		dialer := simpleipc.Dialer{Authorize: simpleipc.AnyUser}
		var answer []byte
		answer, err = dialer.Call(context.Background(), os.Args[1], request)
		os.Stdout.Write(answer)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A home is a home directory, and a Git that uses the program for it.
type home struct {
	testing.TB
	dir     string
	program string
	options []string // of the program
	config  []string // of Git
	env     []string
}

// newHome makes an empty home. At the end of the test its daemons are ended, and
// it is removed.
func newHome(t testing.TB, options ...string) *home {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is missing:", err)
	}
	dir, err := os.MkdirTemp(programs, "home")
	if err != nil {
		t.Fatal(err)
	}
	h := &home{TB: t, dir: dir, program: filepath.Join(programs, "credential-cache"), options: options}
	h.env = []string{
		"HOME=" + h.dir,
		"TMPDIR=" + filepath.Join(h.dir, "tmp"),
		"PATH=" + os.Getenv("PATH"),
		"LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0",
		"GORACE=atexit_sleep_ms=0", // or each process would take a second
	}
	if err := os.Mkdir(filepath.Join(h.dir, "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, pid := range h.daemons() {
			syscall.Kill(pid, syscall.SIGTERM)
		}
		h.eventually("no daemon", func() bool { return len(h.daemons()) == 0 })
		os.RemoveAll(dir)
	})
	return h
}

// socket is where the program listens by default.
func (h *home) socket() string { return filepath.Join(h.dir, ".cache/credential-cache/socket") }

// run runs a program and returns what it prints.
func (h *home) run(input, program string, args ...string) (string, error) {
	cmd := exec.Command(program, args...)
	cmd.Env = h.env
	cmd.Dir = h.dir
	cmd.Stdin = strings.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", filepath.Base(program), err, stderr.String())
	}
	return string(out), err
}

// git runs Git.
func (h *home) git(input string, args ...string) (string, error) {
	all := []string{"-c", "credential.helper=", "-c", "credential.helper=" + strings.Join(append([]string{h.program}, h.options...), " ")}
	for _, c := range h.config {
		all = append(all, "-c", c)
	}
	return h.run(input, "git", append(all, args...)...)
}

// helper runs the program as Git would.
func (h *home) helper(input, action string) (string, error) {
	return h.run(input, h.program, append(slices.Clone(h.options), action)...)
}

// must ends the test if there is an error.
func (h *home) must(out string, err error) string {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
	return out
}

// approve lets Git store a password for a description.
func (h *home) approve(description, username, password string) {
	h.Helper()
	if out := h.must(h.git(description+lines("username", username, "password", password), "credential", "approve")); out != "" {
		h.Errorf("approve prints %q", out)
	}
}

// fill returns the password that Git has for a description, or none.
func (h *home) fill(description string) (password string, ok bool) {
	h.Helper()
	out, err := h.git(description, "credential", "fill")
	if err != nil {
		if !strings.Contains(err.Error(), "terminal prompts disabled") {
			h.Fatal(err)
		}
		return "", false
	}
	_, password, ok = strings.Cut(out, "\npassword=")
	if !ok {
		h.Fatalf("fill has printed no password but %q", out)
	}
	return strings.TrimSuffix(password, "\n"), true
}

// want checks that Git has this password for a description.
func (h *home) want(description, password string) {
	h.Helper()
	if got, ok := h.fill(description); got != password || !ok {
		h.Errorf("%q has the password %q, %v; want %q", description, got, ok, password)
	}
}

// wantNone checks that Git has no password for a description.
func (h *home) wantNone(description string) {
	h.Helper()
	if got, ok := h.fill(description); ok {
		h.Errorf("%q has the password %q, want none", description, got)
	}
}

// eventually waits for a condition.
func (h *home) eventually(what string, condition func() bool) {
	h.Helper()
	h.everyNow(10*time.Millisecond, what, condition)
}

// everyNow waits for a condition that takes some time to look at.
func (h *home) everyNow(pause time.Duration, what string, condition func() bool) {
	h.Helper()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for end := time.Now().Add(limit); !condition(); <-tick.C {
		if time.Now().After(end) {
			h.Fatalf("%s: not within %v", what, limit)
		}
	}
}

// daemons returns the process IDs of the home's daemons.
func (h *home) daemons() (pids []int) {
	h.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		h.Fatal(err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// That of a process that has ended is empty.
		args, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if bytes.Contains(args, []byte("="+h.dir+"/")) && bytes.HasSuffix(args, []byte("\x00serve\x00")) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// daemon returns the process ID of the home's daemon.
func (h *home) daemon() int {
	h.Helper()
	pids := h.daemons()
	if len(pids) != 1 {
		h.Fatalf("there are the daemons %v, want one", pids)
	}
	return pids[0]
}

// wantGone waits until the daemon has ended, and checks that it has left nothing.
func (h *home) wantGone() {
	h.Helper()
	h.eventually("the daemon has ended", func() bool { return len(h.daemons()) == 0 })
	entries, err := os.ReadDir(filepath.Dir(h.socket()))
	if err != nil && !errors.Is(err, os.ErrNotExist) || len(entries) > 0 {
		h.Errorf("the daemon has left %v, %v", entries, err)
	}
}

// lines returns keys and values as Git writes them.
func lines(keysAndValues ...string) string {
	var b strings.Builder
	for pair := range slices.Chunk(keysAndValues, 2) {
		fmt.Fprintf(&b, "%s=%s\n", pair[0], pair[1])
	}
	return b.String()
}

// site describes a host, and what else there is to say.
func site(host string, more ...string) string {
	return lines("protocol", "https", "host", host) + lines(more...)
}

// newSecret returns a password that is nowhere else.
func newSecret() string { return rand.Text() }
