//go:build linux

// Package security tests what the package promises against other users. Its
// tests run processes as two unprivileged users, for which they need root.
package security

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/simpleipc"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// patience is how long a test waits for what must happen. It is long, because
// it is only used up by a failure.
const patience = 30 * time.Second

// childEnv names the function of childFuncs that this process is to run
// instead of the tests.
const childEnv = "SIMPLEIPC_SECURITY_CHILD"

// base is a directory that all users may enter. The test binary is in it, too.
var base string

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		if err := childFuncs[name](os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(withBase{m})
}

type withBase struct{ *testing.M }

func (b withBase) Run() int {
	if os.Geteuid() == 0 {
		if err := makeBase(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(base)
	}
	return b.M.Run()
}

func makeBase() (err error) {
	if base, err = os.MkdirTemp("", "ipc"); err != nil {
		return err
	}
	if err = os.Chmod(base, 0o755); err != nil {
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
	if err = os.WriteFile(filepath.Join(base, "test"), binary, 0o600); err != nil {
		return err
	}
	return os.Chmod(filepath.Join(base, "test"), 0o755)
}

// A user runs processes. The numbers need not be in the password file.
type user struct {
	name string
	id   uint32 // of the user and of the group
}

var (
	root    = user{"root", 0}
	alice   = user{"alice", 64001}
	mallory = user{"mallory", 64002}
)

// needRoot skips a test that must run processes as other users.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can run processes as two other users")
	}
}

// A process is a child that was started.
type process struct {
	*exec.Cmd
	in    io.WriteCloser
	lines *bufio.Reader
	wait  func() error
}

// command prepares a child that runs a function of childFuncs as u.
func (u user) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(base, "test"), args...)
	cmd.Env = append(os.Environ(), childEnv+"="+name,
		"GORACE=atexit_sleep_ms=0") // each would take a second to end
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: u.id, Gid: u.id}}
	return cmd
}

// start starts a child, which is killed when the test ends.
func (u user) start(t testing.TB, name string, args ...string) *process {
	t.Helper()
	return start(t, u.command(name, args...))
}

func start(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	p, err := tryStart(t, cmd)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func tryStart(t testing.TB, cmd *exec.Cmd) (*process, error) {
	t.Helper()
	cmd.Stderr = &bytes.Buffer{}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd, in, bufio.NewReader(out), sync.OnceValue(cmd.Wait)}
	t.Cleanup(p.kill)
	return p, nil
}

func (p *process) kill() {
	p.Process.Kill()
	p.wait()
}

// hear reads what the child says next.
func (p *process) hear(t testing.TB, v any) {
	t.Helper()
	timeout := time.AfterFunc(patience, func() { p.Process.Kill() })
	defer timeout.Stop()
	line, err := p.lines.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, v)
	}
	if err != nil {
		late := !timeout.Stop()
		p.kill()
		t.Fatalf("%s: said %q, %v; hung: %v; stderr: %s", p.Args, line, err, late, p.Stderr)
	}
}

// expect waits for a word that the child says.
func (p *process) expect(t testing.TB, want string) {
	t.Helper()
	var got string
	p.hear(t, &got)
	if got != want {
		t.Fatalf("%s: said %q, want %q", p.Args, got, want)
	}
}

// tell writes a line to the child.
func (p *process) tell(t testing.TB, line string) {
	t.Helper()
	if _, err := fmt.Fprintln(p.in, line); err != nil {
		p.kill()
		t.Fatalf("%s: %v; stderr: %s", p.Args, err, p.Stderr)
	}
}

// stop lets the child end and reads what it says last.
func (p *process) stop(t testing.TB, v any) {
	t.Helper()
	p.in.Close()
	p.hear(t, v)
	if err := p.wait(); err != nil {
		t.Fatalf("%s: %v; stderr: %s", p.Args, err, p.Stderr)
	}
}

// ask runs a child to its end and returns what it says.
func ask[T any](t testing.TB, u user, name string, args ...string) (answer T) {
	t.Helper()
	u.start(t, name, args...).stop(t, &answer)
	return answer
}

// childFuncs are what other users do.
var childFuncs = map[string]func(args []string) error{}

// say is how a child talks to its test.
func say(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	os.Stdout.Write(append(b, '\n'))
}

var stdin = bufio.NewReader(os.Stdin)

// told waits for a line from the test, or the end of its input.
func told() { stdin.ReadString('\n') }

// An outcome is an error, and what came with it, as a child tells it.
type outcome struct {
	Err    string         // "" if there was none
	Kinds  []string       // the errors that errors.Is finds
	Op     string         // of the *Error
	State  string         // of the *Error
	Peer   simpleipc.Peer // of the connection
	Answer string
}

var kinds = []struct {
	name string
	err  error
}{
	{"permission", fs.ErrPermission},
	{"unauthorized", simpleipc.ErrUnauthorized},
	{"closed", simpleipc.ErrConnClosed},
	{"invalid", simpleipc.ErrInvalidPath},
	{"in use", simpleipc.ErrInUse},
	{"locked", simpleipc.ErrLocked},
	{"not found", fs.ErrNotExist},
	{"not listening", simpleipc.ErrNotListening},
	{"stolen", simpleipc.ErrStolen},
	{"server closed", simpleipc.ErrServerClosed},
}

func outcomeOf(err error) (o outcome) {
	if err == nil {
		return o
	}
	o.Err = err.Error()
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			o.Kinds = append(o.Kinds, k.name)
		}
	}
	var e *simpleipc.Error
	if errors.As(err, &e) {
		o.Op, o.State = e.Op, e.State.String()
	}
	return o
}

func (o outcome) is(kind string) bool {
	return kind == "" && o.Err == "" || slices.Contains(o.Kinds, kind)
}

// directory makes a directory of the test's with this owner and mode.
func directory(t testing.TB, owner user, mode fs.FileMode) string {
	t.Helper()
	dir, err := os.MkdirTemp(base, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	give(t, dir, owner, mode)
	return dir
}

// makeDirectory makes one with a name.
func makeDirectory(t testing.TB, path string, owner user, mode fs.FileMode) string {
	t.Helper()
	must(t, os.Mkdir(path, 0o700))
	give(t, path, owner, mode)
	return path
}

func makeFile(t testing.TB, path, content string, owner user, mode fs.FileMode) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(content), 0o600))
	give(t, path, owner, mode)
}

// give sets owner and mode.
func give(t testing.TB, path string, owner user, mode fs.FileMode) {
	t.Helper()
	must(t, os.Lchown(path, int(owner.id), int(owner.id)))
	must(t, os.Chmod(path, mode))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const sticky = fs.ModeSticky | 0o777

// eventually waits until ok, for which there is no event to wait for.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("still not: %s", what)
		}
	}
}

// precious makes files and directories that must not be touched, with the
// names that the package uses in its own directories.
func precious(t testing.TB, dir string, owner user) {
	t.Helper()
	sub := makeDirectory(t, filepath.Join(dir, "sub"), owner, 0o750)
	for _, d := range []string{dir, sub} {
		makeFile(t, filepath.Join(d, "secret"), "precious\n", owner, 0o600)
		makeFile(t, filepath.Join(d, "empty"), "", owner, 0o640)
		makeFile(t, filepath.Join(d, "like-a-lock"), "simpleipc 1\n", owner, 0o644)
		makeFile(t, filepath.Join(d, "lock"), "another program's\n", owner, 0o644)
		makeFile(t, filepath.Join(d, "s"), "a file with a short name\n", owner, 0o604)
		old := time.Now().Add(-time.Hour)
		for _, name := range []string{"secret", "empty", "like-a-lock", "lock", "s"} {
			must(t, os.Chtimes(filepath.Join(d, name), old, old))
		}
	}
}

// snapshot tells all that matters of the files in dir: what they are, whose,
// their content and when they were last changed. The time of the last change
// of a directory tells whether names in it have come or gone.
func snapshot(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		files[path] = fmt.Sprintf("inode %d mode %o owner %d:%d size %d modified %d.%d", st.Ino, st.Mode, st.Uid, st.Gid, st.Size, st.Mtim.Sec, st.Mtim.Nsec)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			files[path] += fmt.Sprintf(" content %x", sha256.Sum256(content))
		case unix.S_IFLNK:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			files[path] += " to " + target
		}
		return nil
	}))
	return files
}

// wantSame checks that nothing has changed since the snapshot.
func wantSame(t testing.TB, dir string, before map[string]string) {
	t.Helper()
	after := snapshot(t, dir)
	names := slices.Sorted(maps.Keys(before))
	for name := range after {
		if _, ok := before[name]; !ok {
			names = append(names, name)
		}
	}
	for _, name := range names {
		if before[name] != after[name] {
			t.Errorf("%s\n\twas %q\n\tis  %q", strings.TrimPrefix(name, base), before[name], after[name])
		}
	}
}
