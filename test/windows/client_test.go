// Package windows has the tool's server for Windows talk to a client that is
// not written in Go.
//
// Elsewhere than on Windows the two run under Wine, by the program that the
// environment variable WINE_EXEC names: it is given a program for Windows and
// its arguments.
package windows

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// patience is how long anything may take. It is only used up by a failure.
const patience = time.Minute

// run prepares a program for Windows.
func run(t *testing.T, exe string, args ...string) *exec.Cmd {
	t.Helper()
	if runtime.GOOS == "windows" {
		return exec.CommandContext(t.Context(), exe, args...)
	}
	wine := os.Getenv("WINE_EXEC")
	if wine == "" {
		t.Skip("the environment variable WINE_EXEC does not name a program that runs others under Wine")
	}
	return exec.CommandContext(t.Context(), wine, append([]string{exe}, args...)...)
}

// build makes a program for Windows.
func build(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
}

// TestClientInC has a client in C speak to the server, byte by byte.
func TestClientInC(t *testing.T) {
	const compiler = "x86_64-w64-mingw32-gcc"
	if _, err := exec.LookPath(compiler); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	server, client := filepath.Join(dir, "simple-ipc.exe"), filepath.Join(dir, "client.exe")
	run(t, server) // or be skipped, before anything is built
	goBuild := exec.Command("go", "build", "-o", server, "../../cmd/simple-ipc")
	goBuild.Env = append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
	build(t, goBuild)
	build(t, exec.Command(compiler, "-std=c99", "-Wall", "-Wextra", "-Werror", "-O2", "-static", "-o", client, filepath.Join("testdata", "client.c")))

	pipe := fmt.Sprintf(`\\.\pipe\simple-ipc\test %d`, os.Getpid())
	serving := start(t, run(t, server, "run-daemon", "--verbose", "--echo", "--name="+pipe))
	call := func(want string, args ...string) {
		t.Helper()
		var stdout, stderr bytes.Buffer
		cmd := run(t, client, append([]string{args[0], pipe}, args[1:]...)...)
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil || stdout.String() != want {
			t.Errorf("%.60q: %.60q, %v; want %.60q; stderr: %s", args, stdout.String(), err, want, stderr.String())
		}
	}
	raw := func(sent, want string) {
		t.Helper()
		call(want, "raw", sent, strconv.Itoa(len(want)))
	}
	raw("0008ping0000", "0008pong0000")
	raw("0000", "0017unhandled command: 0000")
	raw("000Becho hi0000", "0006hi0000") // digits of either case
	raw("0005p0005i00040006ng0000", "0008pong0000")
	raw("000esendbytes 0000", "0012rcvd:00000000\n0000")
	raw("0008ping00000008ping0000", "0008pong0000") // and leaves before the second
	call("", "echo", strconv.Itoa(100<<10))

	// Those who come and go, in the middle of something too, leave no trace.
	for _, sent := range []string{"", "0", "0008pi", "0008ping", "0008ping0000", "0007big0000"} {
		if sent == "" {
			call("", "probe")
		} else {
			call("", "leave", sent)
		}
	}
	raw("0008ping0000", "0008pong0000")
	raw("0008quit0000", "0000")
	serving.end(t)
}

// A serving is a server's process.
type serving struct {
	*exec.Cmd
	log  chan string // its lines on standard error
	done chan error
}

// start starts a server and waits until it listens.
func start(t *testing.T, cmd *exec.Cmd) *serving {
	t.Helper()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &serving{Cmd: cmd, log: make(chan string, 1000), done: make(chan error, 1)}
	go func() {
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			s.log <- lines.Text()
		}
		close(s.log)
		s.done <- cmd.Wait()
	}()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		select {
		case line, ok := <-s.log:
			if !ok {
				t.Fatalf("the server has ended: %v", <-s.done)
			}
			if strings.Contains(line, "listening") {
				return s
			}
		case <-timeout.C:
			t.Fatal("the server does not listen")
		}
	}
}

// end waits for the server's end, and looks at what it has logged.
func (s *serving) end(t *testing.T) {
	t.Helper()
	select {
	case err := <-s.done:
		if err != nil {
			t.Errorf("the server: %v", err)
		}
	case <-time.After(patience):
		t.Error("the server does not end")
	}
	for line := range s.log {
		if strings.Contains(line, "WARN") || strings.Contains(line, "ERROR") {
			t.Errorf("the server says: %s", line)
		}
	}
}
