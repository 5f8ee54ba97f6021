package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"example.com/simpleipc"
	"example.com/simpleipc/pktline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// serveBytes is a server that knows nothing of pkt-lines: of each connection it
// reads as many bytes as request has, which must be these, writes what answer
// has, and hangs up, as Git's server does after one exchange.
func serveBytes(t testing.TB, request string, answer io.Reader) (path string) {
	t.Helper()
	path = filepath.Join(tempDir(t), "ipc")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(patience))
			got := make([]byte, len(request))
			if n, err := io.ReadFull(c, got); string(got) != request {
				t.Errorf("the request is %q, %v; want %q", got[:n], err, request)
			}
			io.Copy(c, answer)
			c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return path
}

// ask runs the program for a server of these bytes.
func ask(t testing.TB, request, answer string, args ...string) (stdout string, err error) {
	t.Helper()
	path := serveBytes(t, request, strings.NewReader(answer))
	var out strings.Builder
	err = run(append([]string{"--socket=" + path}, args...), &out)
	return out.String(), err
}

// What goes over the wire when nothing is asked, and when a token is sent.
const (
	noToken = "0000"
	token   = "token:1:0"
	request = "000dtoken:1:0" + "0000"
)

func TestAnswers(t *testing.T) {
	long := strings.Repeat("x", 65513)
	for name, tt := range map[string]struct{ request, token, answer, want string }{
		"everything":         {noToken, "", "0010token:1:0\x00/\x00" + "0000", "token:1:0\n/\n"},
		"everything, at all": {request, token, "0008t\x00/\x00" + "0000", "t\n/\n"},
		"everything and one": {request, token, "000at\x00/\x00a\x00" + "0000", "t\n/\n"},
		"nothing":            {request, token, "000etoken:1:2\x00" + "0000", "token:1:2\n"},
		"one packet":         {request, token, "001atoken:1:2\x00a.txt\x00sub/b\x00" + "0000", "token:1:2\na.txt\nsub/b\n"},
		"one for each":       {request, token, "000etoken:1:2\x00" + "000aa.txt\x00" + "000asub/b\x00" + "0000", "token:1:2\na.txt\nsub/b\n"},
		"cut anywhere":       {request, token, "0009token" + "000c:1:2\x00a.t" + "0007xt\x00" + "0000", "token:1:2\na.txt\n"},
		"byte by byte":       {request, token, "0005t" + "0005\x00" + "0005a" + "0005\x00" + "0000", "t\na\n"},
		"an empty packet":    {request, token, "0006t\x00" + "0004" + "0006a\x00" + "0000", "t\na\n"},
		"upper case":         {request, token, "000Etoken:1:2\x00" + "0000", "token:1:2\n"},
		"directories":        {request, token, "000et\x00d/\x00a/b/\x00" + "0000", "t\nd/\na/b/\n"},
		"dots":               {request, token, "0012t\x00..a\x00a..\x00...\x00" + "0000", "t\n..a\na..\n...\n"},
		"the largest packet": {request, token, "fff0t\x00" + long + "\x00" + "0000", "t\n" + long + "\n"},
		"three of them": {request, token, "fff0t\x00" + long + "\x00" + "fff0" + long + "xx\x00" + "fff0" + long + "yy\x00" + "0000",
			"t\n" + long + "\n" + long + "xx\n" + long + "yy\n"},
	} {
		var args []string
		if tt.token != "" {
			args = append(args, tt.token)
		}
		if got, err := ask(t, tt.request, tt.answer, args...); err != nil || got != tt.want {
			t.Errorf("%s: %.100q, %v; want %.100q", name, got, err, tt.want)
		}
	}
}

// TestManyPaths has an answer of 100,000 paths, in packets of many sizes.
func TestManyPaths(t *testing.T) {
	const count = 100000
	var message strings.Builder
	message.WriteString("token:1:2\x00")
	for i := range count {
		fmt.Fprintf(&message, "directory-%d/file-%d.txt\x00", i/100, i)
	}
	want := message.String()
	var wire strings.Builder
	rest := want
	for n := 1; rest != ""; n = n*3%65516 + 1 {
		data := rest[:min(n, len(rest))]
		rest = rest[len(data):]
		fmt.Fprintf(&wire, "%04x%s", len(data)+4, data)
	}
	wire.WriteString("0000")
	got, err := ask(t, request, wire.String(), "-z", token)
	if err != nil || got != want {
		t.Errorf("%d bytes, %v; want %d", len(got), err, len(want))
	}
	got, err = ask(t, request, wire.String(), token)
	if err != nil || strings.Count(got, "\n") != count+1 || !strings.HasSuffix(got, "\ndirectory-999/file-99999.txt\n") {
		t.Errorf("%d bytes with %d lines, %v", len(got), strings.Count(got, "\n"), err)
	}
}

func TestWrongAnswers(t *testing.T) {
	unlikeGit := "is not one of Git's: "
	for name, tt := range map[string]struct {
		answer string
		is     error
		text   string
	}{
		"an empty one":            {"0000", nil, unlikeGit + "it is empty"},
		"empty by a packet":       {"0004" + "0000", nil, unlikeGit + "it is empty"},
		"a token without NUL":     {"000dtoken:1:2" + "0000", nil, unlikeGit + "there is no NUL after the token"},
		"no token":                {"0005\x00" + "0000", nil, unlikeGit + "the token is empty"},
		"no token but a path":     {"0007\x00a\x00" + "0000", nil, unlikeGit + "the token is empty"},
		"an empty path":           {"0007t\x00\x00" + "0000", nil, unlikeGit + "a path is empty"},
		"an empty path in others": {"000bt\x00a\x00\x00b\x00" + "0000", nil, unlikeGit + "a path is empty"},
		"a path without NUL":      {"0009t\x00a\x00b" + "0000", nil, unlikeGit + `there is no NUL after the last path, "b"`},
		"an absolute path":        {"0010t\x00/etc/pass\x00" + "0000", nil, unlikeGit + `a path leads out of the worktree: "/etc/pass"`},
		"a path up":               {"000bt\x00../x\x00" + "0000", nil, unlikeGit + `a path leads out of the worktree: "../x"`},
		"a path down and up":      {"000et\x00a/../..\x00" + "0000", nil, unlikeGit + `a path leads out of the worktree: "a/../.."`},
		"nothing at all":          {"", simpleipc.ErrConnClosed, "without a response"},
		"half a header":           {"00", io.ErrUnexpectedEOF, "broke the response off"},
		"only a header":           {"000e", io.ErrUnexpectedEOF, "broke the response off"},
		"half a packet":           {"000etoken", io.ErrUnexpectedEOF, "broke the response off"},
		"no flush":                {"000etoken:1:2\x00", io.ErrUnexpectedEOF, "broke the response off"},
		"half a flush":            {"000etoken:1:2\x00" + "000", io.ErrUnexpectedEOF, "broke the response off"},
		"no flush after paths":    {"fff0t\x00" + strings.Repeat("a\x00", 32757), io.ErrUnexpectedEOF, "broke the response off"},
		"another protocol":        {"HTTP/1.1 400 Bad Request\r\n", pktline.ErrProtocol, ""},
		"a delim packet":          {"0006t\x00" + "0001" + "0000", pktline.ErrProtocol, ""},
		"a response-end packet":   {"0006t\x00" + "0002" + "0000", pktline.ErrProtocol, ""},
		"too long a packet":       {"fff1t\x00" + strings.Repeat("a\x00", 32758), pktline.ErrProtocol, ""},
	} {
		got, err := ask(t, request, tt.answer, token)
		if err == nil || got != "" || tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %.100q, %v; want an error with %q", name, got, err, tt.text)
		}
	}
}

// TestEndless has a server that sends for ever, and one that sends nothing.
func TestEndless(t *testing.T) {
	d := daemon{path: serveBytes(t, request, endless{}), dialer: simpleipc.Dialer{MaxResponse: 1 << 20}}
	if _, err := d.changesSince(t.Context(), token); !errors.Is(err, simpleipc.ErrTooLarge) {
		t.Errorf("endless: %v", err)
	}
	silent, hangUp := io.Pipe()
	path := serveBytes(t, request, silent)
	if err := run([]string{"--socket=" + path, "--timeout=20ms", token}, io.Discard); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("silent: %v", err)
	}
	hangUp.Close()
}

// endless has the same packet again and again.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	const packet = "0006a\x00"
	return copy(p, strings.Repeat(packet, len(p)/len(packet))), nil
}

func TestOutput(t *testing.T) {
	// In the order of the wire: plain, blanks, a quote, control characters, a
	// letter that is no ASCII, and one that is not UTF-8.
	const plain, blank, quoted, control, umlaut, latin1 = "<&>", " b c ", `"d"`, "\x1b[2J\n", "ü", "\xfc"
	answer := "0006t\x00" + "0008<&>\x00" + "000a b c \x00" + "0008\"d\"\x00" + "000a\x1b[2J\n\x00" + "0007ü\x00"
	for _, tt := range []struct {
		args   []string
		answer string
		want   string
	}{
		{nil, answer + "0000", "t\n<&>\n b c \n" + `"\"d\""` + "\n" + `"\x1b[2J\n"` + "\nü\n"},
		{nil, answer + "0006\xfc\x00" + "0000", "t\n<&>\n b c \n" + `"\"d\""` + "\n" + `"\x1b[2J\n"` + "\nü\n" + `"\xfc"` + "\n"},
		{[]string{"-z"}, answer + "0006\xfc\x00" + "0000", strings.Join([]string{"t", plain, blank, quoted, control, umlaut, latin1, ""}, "\x00")},
		{[]string{"-z"}, "0008t\x00/\x00" + "0000", "t\x00/\x00"},
		{[]string{"--json"}, answer + "0000", `{"token":"t","everything":false,"paths":["<&>"," b c ","\"d\"","\u001b[2J\n","ü"]}` + "\n"},
		{[]string{"--json"}, "0008t\x00/\x00" + "0000", `{"token":"t","everything":true,"paths":[]}` + "\n"},
		{[]string{"--json"}, "0006t\x00" + "0000", `{"token":"t","everything":false,"paths":[]}` + "\n"},
	} {
		got, err := ask(t, noToken, tt.answer, tt.args...)
		if err != nil || got != tt.want {
			t.Errorf("%q: %q, %v; want %q", tt.args, got, err, tt.want)
		}
	}
	if got, err := ask(t, noToken, answer+"0006\xfc\x00"+"0000", "--json"); got != "" || err == nil || !strings.Contains(err.Error(), "use -z") {
		t.Errorf("a name that is not UTF-8, as JSON: %q, %v", got, err)
	}
	path := serveBytes(t, noToken, strings.NewReader(answer+"0000"))
	if err := run([]string{"--socket=" + path}, brokenWriter{}); !errors.Is(err, errBroken) {
		t.Errorf("output that cannot be written: %v", err)
	}
}

var errBroken = errors.New("broken")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestUsage(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"one", "two"}, "unexpected argument 'two'"},
		{[]string{"-z", "--json"}, "exclude each other"},
		{[]string{"quit"}, "'quit' is no token"},
		{[]string{"flush"}, "'flush' is no token"},
		{[]string{"--nonsense"}, "not defined: -nonsense"},
		{[]string{"-C", "/does/not/exist"}, "cannot find the repository of '/does/not/exist': "},
		{[]string{"--socket", "/etc/passwd"}, "not a socket"},
		{[]string{"--timeout=0"}, "deadline exceeded"},
	} {
		if err := run(tt.args, io.Discard); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v; want %q", tt.args, err, tt.want)
		}
	}
}

// needGit skips the test if there is no Git, and lets no configuration but
// that of a repository apply.
func needGit(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("it needs git")
	}
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	for _, name := range []string{"AUTHOR", "COMMITTER"} {
		t.Setenv("GIT_"+name+"_NAME", "A U Thor")
		t.Setenv("GIT_"+name+"_EMAIL", "author@example.com")
	}
}

func mustGit(t testing.TB, dir string, args ...string) string {
	t.Helper()
	out, err := git(context.Background(), dir, args...)
	if err != nil {
		t.Fatalf("git %q: %v", args, err)
	}
	return out
}

// tempDir returns a directory that goes after the test. Other than that of
// t.TempDir, its path is short enough for a socket of package net, and has no
// symbolic links, as the paths that Git tells.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "fsm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestFindSocket(t *testing.T) {
	needGit(t)
	dir := tempDir(t)
	main, linked, outside := filepath.Join(dir, "main"), filepath.Join(dir, "a linked\nworktree"), filepath.Join(dir, "outside")
	for _, d := range []string{filepath.Join(main, "sub", "sub"), outside} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	mustGit(t, main, "init", "--quiet")
	mustGit(t, main, "commit", "--quiet", "--allow-empty", "--message=first")
	mustGit(t, main, "worktree", "add", "--quiet", "--detach", linked)
	mainSocket := filepath.Join(main, ".git", "fsmonitor--daemon.ipc")
	linkedSocket := filepath.Join(mustGit(t, linked, "rev-parse", "--absolute-git-dir"), "fsmonitor--daemon.ipc")
	if linkedSocket == mainSocket {
		t.Fatalf("the worktrees have the same Git directory")
	}
	for from, want := range map[string]string{
		main:                           mainSocket,
		filepath.Join(main, "sub/sub"): mainSocket,
		filepath.Join(main, ".git"):    mainSocket,
		linked:                         linkedSocket,
	} {
		if got, err := findSocket(t.Context(), from); err != nil || got != want {
			t.Errorf("from %q: %q, %v; want %q", from, got, err, want)
		}
	}
	t.Setenv("GIT_CEILING_DIRECTORIES", dir)
	if got, err := findSocket(t.Context(), outside); err == nil || !strings.Contains(err.Error(), "not a git repository") {
		t.Errorf("outside: %q, %v", got, err)
	}
	t.Setenv("PATH", outside)
	if got, err := findSocket(t.Context(), main); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("without Git: %q, %v", got, err)
	}
}

// TestNobodyListens has several Gits tell whether they have a daemon.
func TestNobodyListens(t *testing.T) {
	dir := tempDir(t)
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	stale := filepath.Join(dir, "fsmonitor--daemon.ipc")
	staleSocket(t, stale)
	t.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	for script, want := range map[string]string{
		`echo "fatal: fsmonitor--daemon not supported on this platform" >&2; exit 128`: "git version 2.39.5 has none for this system; on Linux, there is one from Git 2.55 on",
		`echo "fsmonitor-daemon is not watching '/x'"; exit 1`:                         "start it with 'git fsmonitor--daemon start'",
	} {
		text := "#!/bin/sh\ncase $1 in\nversion) echo 'git version 2.39.5' ;;\nrev-parse) echo " + dir + " ;;\nfsmonitor--daemon) " + script + " ;;\nesac\n"
		if err := os.WriteFile(filepath.Join(bin, "git"), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{stale, filepath.Join(dir, "none")} {
			err := run([]string{"-C", dir, "--socket=" + path}, io.Discard)
			if err == nil || err.Error() != "no daemon listens at "+path+": "+want {
				t.Errorf("%s: %v; want %q", path, err, want)
			}
		}
		// Also where Git says that the daemon is.
		if err := run([]string{"-C", dir}, io.Discard); err == nil || !strings.Contains(err.Error(), stale) {
			t.Errorf("%v", err)
		}
	}
}

// TestBusy has a server with no room for another connection, and a socket whose
// server has died. Only the former is worth to be waited for.
func TestBusy(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells that a server is busy")
	}
	path := filepath.Join(tempDir(t), "ipc")
	l, err := simpleipc.ListenConfig{Backlog: 1}.Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 10 {
		c, err := (&simpleipc.Dialer{NoWaitBusy: true}).Dial(t.Context(), path)
		if err != nil {
			break
		}
		defer c.Close()
	}
	d := daemon{path: path, dialer: simpleipc.Dialer{Timeout: time.Millisecond}}
	if _, err := d.changesSince(t.Context(), token); !errors.Is(err, simpleipc.ErrBusy) || !strings.Contains(err.Error(), "waited 1ms") {
		t.Errorf("busy: %v", err)
	}

	dead := filepath.Join(tempDir(t), "ipc")
	staleSocket(t, dead)
	ctx, cancel := context.WithTimeout(t.Context(), patience/2)
	defer cancel()
	d = daemon{path: dead, dialer: simpleipc.Dialer{Timeout: patience}}
	if _, err := d.changesSince(ctx, token); err == nil || ctx.Err() != nil {
		t.Errorf("dead: %v", err)
	}
}

// staleSocket makes what a server leaves that was killed.
func staleSocket(t testing.TB, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
}

func TestSomebodyElses(t *testing.T) {
	d := daemon{
		path:   serveBytes(t, "", strings.NewReader("")),
		dialer: simpleipc.Dialer{Authorize: func(simpleipc.Peer) error { return errors.New("a stranger") }},
	}
	_, err := d.changesSince(t.Context(), "")
	if !errors.Is(err, simpleipc.ErrUnauthorized) || !strings.HasPrefix(err.Error(), "the daemon is another user's") {
		t.Errorf("%v", err)
	}
}

// TestGitDaemon asks Git's own daemon.
func TestGitDaemon(t *testing.T) {
	needGit(t)
	dir := tempDir(t)
	mustGit(t, dir, "init", "--quiet")
	if _, err := git(t.Context(), dir, "fsmonitor--daemon", "status"); err != nil && strings.Contains(err.Error(), "not supported") {
		t.Skipf("%s has no fsmonitor daemon for this system", mustGit(t, dir, "version"))
	}
	mustGit(t, dir, "fsmonitor--daemon", "start")
	t.Cleanup(func() { mustGit(t, dir, "fsmonitor--daemon", "stop") })
	ask := func(token ...string) []string {
		t.Helper()
		var out strings.Builder
		if err := run(append([]string{"-C", dir, "-z"}, token...), &out); err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSuffix(out.String(), "\x00"), "\x00")
	}
	first := ask()
	if len(first) != 2 || first[1] != everything {
		t.Fatalf("without a token: %q", first)
	}
	if err := os.WriteFile(filepath.Join(dir, "a new\nfile"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	second := ask(first[0])
	if !slices.Contains(second[1:], "a new\nfile") {
		t.Errorf("since %q: %q", first[0], second)
	}
	if third := ask(second[0]); slices.Contains(third[1:], "a new\nfile") {
		t.Errorf("since %q: %q", second[0], third)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "t", "t\x00", "t\x00/\x00", "t\x00a\x00b/\x00", "t\x00\x00", "\x00", "t\x00../x\x00", "t\x00a"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, response []byte) {
		c, err := parse(response)
		if err != nil || c.Everything {
			return
		}
		if got := strings.Join(c.lines(), "\x00") + "\x00"; got != string(response) {
			t.Errorf("%q became %q", response, got)
		}
	})
}
