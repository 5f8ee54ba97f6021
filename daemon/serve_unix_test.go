//go:build unix

package daemon

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/simpleipc"
)

// run starts cmd, which ends with the test, and returns what waits for its end.
func run(t testing.TB, cmd *exec.Cmd) (wait func() error) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var err error
	go func() {
		err = cmd.Wait()
		close(done)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-done
	})
	return func() error {
		select {
		case <-done:
		case <-time.After(patience):
			t.Fatalf("%v does not end", cmd)
		}
		return err
	}
}

// command returns a server as a command, whose standard error goes to stderr.
func command(t testing.TB, stderr *bytes.Buffer, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = roleOf("server")
	cmd.Stderr = stderr
	return cmd
}

// await connects to the server at path when there is one.
func await(t testing.TB, path string) *simpleipc.Conn {
	t.Helper()
	d := simpleipc.Dialer{WaitNotFound: true, Timeout: patience}
	c, err := d.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// call makes a request on c.
func call(t testing.TB, c *simpleipc.Conn, request string) string {
	t.Helper()
	answer, err := c.Call(t.Context(), []byte(request))
	if err != nil {
		t.Errorf("%q: %v", request, err)
	}
	return string(answer)
}

// One signal ends a server in order, a second one at once.
func TestServeSignals(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		path := filepath.Join(t.TempDir(), "ipc")
		var stderr bytes.Buffer
		cmd := command(t, &stderr, path, "log=1")
		wait := run(t, cmd)
		c := await(t, path)
		call(t, c, "pid") // it serves
		cmd.Process.Signal(sig)
		if err := wait(); err != nil {
			t.Errorf("after %v: %v", sig, err)
		}
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("after %v the socket is still there", sig)
		}
		if !strings.Contains(stderr.String(), "signal "+sig.String()) {
			t.Errorf("after %v it has logged %s", sig, &stderr)
		}
	}
	path := filepath.Join(t.TempDir(), "ipc")
	var stderr bytes.Buffer
	cmd := command(t, &stderr, path)
	wait := run(t, cmd)
	r, err := await(t, path).CallStream(t.Context(), strings.NewReader("wait"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	eventually(t, "the path is given up", func() bool {
		_, err := os.Lstat(path)
		return err != nil
	})
	cmd.Process.Signal(syscall.SIGTERM)
	if err := wait(); err == nil || !strings.Contains(stderr.String(), "second signal") {
		t.Errorf("after the second signal: %v: %s", err, &stderr)
	}
	r.Close()
}

// Standard error is discarded only if it is the file of the starter.
func TestServeKeepsItsStderr(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ipc")
	for _, id := range []string{"", "1:2", "x"} {
		var stderr bytes.Buffer
		cmd := command(t, &stderr, path)
		cmd.Env = append(cmd.Env, stderrEnv+"="+id)
		wait := run(t, cmd)
		c := await(t, path)
		call(t, c, "say hello")
		call(t, c, "quit")
		if err := wait(); err != nil {
			t.Error(err)
		}
		if !strings.Contains(stderr.String(), "stderr hello") {
			t.Errorf("with the ID %q its standard error has %q", id, &stderr)
		}
	}
}

// listenAt makes a socket at path, as systemd does for a program.
func listenAt(t testing.TB, path string) *os.File {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	defer l.Close()
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// activated turns cmd into a service with these sockets. A shell tells it its
// process ID, as only systemd can without.
func activated(cmd *exec.Cmd, sockets ...*os.File) *exec.Cmd {
	const script = `LISTEN_PID=$$ exec "$0" "$@"`
	sh := exec.Command("/bin/sh", append([]string{"-c", script}, cmd.Args...)...)
	sh.Env = append(cmd.Env, "LISTEN_FDS="+strconv.Itoa(len(sockets)), "LISTEN_FDNAMES=a:b")
	sh.Stderr = cmd.Stderr
	sh.ExtraFiles = sockets
	return sh
}

// TestActivated has the server of an inherited socket come and go, while its
// clients notice nothing.
func TestActivated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ipc")
	socket := listenAt(t, path)
	for range 2 {
		var stderr bytes.Buffer
		wait := run(t, activated(command(t, &stderr, path), socket))
		c := await(t, path)
		pid := call(t, c, "pid")
		if pid == strconv.Itoa(os.Getpid()) || pid == "" {
			t.Errorf("the server is process %q", pid)
		}
		for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET"} {
			if v := call(t, c, "env "+name); v != "" {
				t.Errorf("%s is still %q", name, v)
			}
		}
		call(t, c, "quit")
		if err := wait(); err != nil {
			t.Errorf("%v: %s", err, &stderr)
		}
		if s, err := simpleipc.Probe(t.Context(), path); s != simpleipc.Listening { // systemd does
			t.Error(s, err)
		}
	}
	// Who comes while there is no server waits for the next one.
	queued := await(t, path)
	answer := make(chan string, 1)
	go func() {
		b, _ := queued.Call(t.Context(), []byte("pid"))
		answer <- string(b)
	}()
	var stderr bytes.Buffer
	wait := run(t, activated(command(t, &stderr, "", "idle=1s"), socket)) // whatever its path is
	select {
	case pid := <-answer:
		if pid == "" {
			t.Error("the client in the queue has no answer")
		}
	case <-time.After(patience):
		t.Error("the client in the queue is not answered")
		queued.Close()
		<-answer
	}
	if err := wait(); err != nil {
		t.Errorf("%v: %s", err, &stderr)
	}
}

// TestUpgradeActivated has a client replace the server of an inherited socket.
// Its successor is started by who holds the socket, and not by the client.
func TestUpgradeActivated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ipc")
	socket := listenAt(t, path)
	var stderr bytes.Buffer
	service := func(version string) (wait func() error) {
		return run(t, activated(command(t, &stderr, path, "version="+version), socket))
	}
	first := service("1")
	upgraded := make(chan func() error, 1)
	go func() {
		if err := first(); err != nil {
			t.Errorf("%v: %s", err, &stderr)
		}
		upgraded <- service("2")
	}()
	d := &Daemon{Path: path, Program: "/nowhere/x", Quit: []byte("quit"), Check: newer(2)}
	if v := ask(t, d, "version"); v != "2" {
		t.Errorf("version %q answers", v)
	}
	d.Check, d.MaxWait = newer(3), time.Second // for the server to be checked and quit, too
	wait := <-upgraded
	if _, err := d.Dial(t.Context()); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no other has answered") {
		t.Error(err)
	}
	if err := wait(); err != nil {
		t.Errorf("%v: %s", err, &stderr)
	}
}

func TestActivatedPaths(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	link := filepath.Join(dir, "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	sockets := []*os.File{listenAt(t, one), listenAt(t, two)}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, path := range []string{two, one, filepath.Join(link, "two")} {
		wait := run(t, activated(command(t, new(bytes.Buffer), path), sockets...))
		call(t, await(t, path), "quit")
		if err := wait(); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	// What else systemd has passed on is of no interest.
	for _, path := range []string{one, ""} {
		wait := run(t, activated(command(t, new(bytes.Buffer), path), null, sockets[0]))
		call(t, await(t, one), "quit")
		if err := wait(); err != nil {
			t.Error(err)
		}
	}
	for _, tt := range []struct {
		path    string
		sockets []*os.File
		want    string
	}{
		{filepath.Join(dir, "three"), sockets, "no socket for this path, but: " + one + ", " + two},
		{"", sockets, "no socket for this path"},
		{one, []*os.File{null}, "systemd's descriptor 3"},
	} {
		var stderr bytes.Buffer
		err := run(t, activated(command(t, &stderr, tt.path), tt.sockets...))()
		if err == nil || !strings.Contains(stderr.String(), tt.want) {
			t.Errorf("%q: %v: %s", tt.path, err, &stderr)
		}
	}
	for _, number := range []string{"x", "-1", "99999999"} {
		var stderr bytes.Buffer
		cmd := activated(command(t, &stderr, one))
		cmd.Env = append(cmd.Env, "LISTEN_FDS="+number)
		if err := run(t, cmd)(); err == nil || !strings.Contains(stderr.String(), "LISTEN_FDS") {
			t.Errorf("LISTEN_FDS=%s: %v: %s", number, err, &stderr)
		}
	}
	// What is meant for another process means nothing to this one.
	free := filepath.Join(dir, "free")
	cmd := command(t, new(bytes.Buffer), free)
	cmd.Env = append(cmd.Env, "LISTEN_FDS=1", "LISTEN_PID=1")
	wait := run(t, cmd)
	call(t, await(t, free), "quit")
	if err := wait(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(free); err == nil {
		t.Error("the socket is still there, which the server has made itself")
	}
}

// TestNotify plays systemd for what a service tells it.
func TestNotify(t *testing.T) {
	dir := t.TempDir()
	for name, address := range map[string]string{
		"path":     filepath.Join(dir, "notify"),
		"abstract": "@simpleipc-test-" + strconv.Itoa(os.Getpid()),
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			l.SetReadDeadline(time.Now().Add(patience))
			told := func() string {
				b := make([]byte, 100)
				n, err := l.Read(b)
				if err != nil {
					t.Fatal(err)
				}
				return string(b[:n])
			}
			path := filepath.Join(dir, "ipc")
			var stderr bytes.Buffer
			cmd := command(t, &stderr, path)
			cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+address)
			wait := run(t, cmd)
			if got := told(); got != "READY=1" {
				t.Errorf("systemd was told %q", got)
			}
			r, err := await(t, path).CallStream(t.Context(), strings.NewReader("wait"))
			if err != nil {
				t.Fatal(err)
			}
			call(t, await(t, path), "quit")
			if got := told(); got != "STOPPING=1" { // while a request is answered
				t.Errorf("systemd was told %q", got)
			}
			r.Close()
			if err := wait(); err != nil {
				t.Errorf("%v: %s", err, &stderr)
			}
		})
	}
	// A manager that has gone is no reason not to serve.
	path := filepath.Join(dir, "ipc")
	var stderr bytes.Buffer
	cmd := command(t, &stderr, path, "log=1")
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+filepath.Join(dir, "nobody"))
	wait := run(t, cmd)
	call(t, await(t, path), "quit")
	if err := wait(); err != nil || !strings.Contains(stderr.String(), "systemd could not be notified") {
		t.Errorf("%v: %s", err, &stderr)
	}
}

// TestSocketActivate has systemd's own tool start the server.
func TestSocketActivate(t *testing.T) {
	tool, err := exec.LookPath("systemd-socket-activate")
	if err != nil {
		t.Skip("systemd-socket-activate is not installed")
	}
	path := filepath.Join(t.TempDir(), "ipc")
	var stderr bytes.Buffer
	server := command(t, nil, path)
	args := []string{"--listen=" + path, "--setenv=" + roleEnv + "=server", "--setenv=GORACE=atexit_sleep_ms=0"}
	cmd := exec.Command(tool, append(args, server.Args...)...)
	cmd.Stderr = &stderr
	wait := run(t, cmd)
	c := await(t, path) // which starts it
	if pid := call(t, c, "pid"); pid != strconv.Itoa(cmd.Process.Pid) {
		t.Errorf("process %s answers, and systemd's is %d", pid, cmd.Process.Pid)
	}
	call(t, c, "quit")
	if err := wait(); err != nil {
		t.Errorf("%v: %s", err, &stderr)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode().Type() != fs.ModeSocket {
		t.Errorf("systemd's socket: %v", err)
	}
}
