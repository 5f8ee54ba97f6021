package simpleipc

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long a test waits for what must happen. It is long, because
// it is only used up by a failure.
const patience = 30 * time.Second

// childEnv names the function of childFuncs that this process is to run
// instead of the tests.
const childEnv = "SIMPLEIPC_TEST_CHILD"

// execEnv names a program that runs this one, for a system that cannot by
// itself: an emulator.
const execEnv = "SIMPLEIPC_TEST_EXEC"

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		if err := childFuncs[name](os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(descriptorCheck{m})
}

// A descriptorCheck fails if the tests leave descriptors open, where these can
// be counted.
type descriptorCheck struct{ *testing.M }

func (c descriptorCheck) Run() int {
	// What the poller and the like take, they take once.
	if l, err := Listen(context.Background(), filepath.Join(os.TempDir(), fmt.Sprintf("ipc-check-%d", os.Getpid()))); err == nil {
		l.Close()
	}
	before, err := openFiles()
	if err != nil {
		return c.M.Run()
	}
	code := c.M.Run()
	wait := newBackoff(context.Background(), patience)
	for code == 0 {
		now, err := openFiles()
		if err != nil || now <= before {
			break
		}
		if wait.next() != nil {
			fmt.Fprintf(os.Stderr, "the tests leave %d descriptors open\n", now-before)
			code = 1
		}
	}
	return code
}

// childFuncs are what tests need a process of their own for.
var childFuncs = map[string]func(args []string) error{}

// child prepares a process that runs a function of childFuncs.
func child(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	if emulator := os.Getenv(execEnv); emulator != "" {
		cmd = exec.Command(emulator, append([]string{exe}, args...)...)
	}
	cmd.Env = append(os.Environ(), childEnv+"="+name)
	cmd.Stderr = &bytes.Buffer{}
	return cmd
}

// A running is a child that was started.
type running struct {
	*exec.Cmd
	lines *bufio.Reader
	wait  func() error // waits for its end, any number of times
}

// start starts a child, which is killed when the test ends.
func start(t testing.TB, cmd *exec.Cmd) *running {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := &running{cmd, bufio.NewReader(out), sync.OnceValue(cmd.Wait)}
	t.Cleanup(r.kill)
	return r
}

// expect waits for a line that the child prints.
func (r *running) expect(t testing.TB, want string) {
	t.Helper()
	line, err := r.lines.ReadString('\n')
	if got := strings.TrimSuffix(line, "\n"); got != want {
		r.kill()
		t.Fatalf("child printed %q, %v; want %q; stderr: %s", got, err, want, r.Stderr)
	}
}

// kill kills the child with SIGKILL and waits until it has gone.
func (r *running) kill() {
	r.Process.Kill()
	r.wait()
}

// tempPath returns a path for a socket, whose directory is empty at the end.
func tempPath(t testing.TB) string {
	t.Helper()
	// Not t.TempDir, whose path may be too long for a socket's address.
	dir, err := os.MkdirTemp("", "ipc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "sock")
}

// A server under test.
type testServer struct {
	*Server
	path string
	done chan struct{} // closed when Serve has returned
	err  error         // what it returned
	log  syncBuffer
}

// serve serves a temporary path until the test ends.
func serve(t testing.TB, srv *Server) *testServer {
	t.Helper()
	path := tempPath(t)
	l, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return serveListener(t, srv, l)
}

func serveListener(t testing.TB, srv *Server, l *Listener) *testServer {
	t.Helper()
	s := &testServer{Server: srv, path: l.Path(), done: make(chan struct{})}
	if srv.Handler == nil {
		srv.Handler = HandlerFunc(echo)
	}
	if srv.Logger == nil {
		srv.Logger = slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	go func() {
		defer close(s.done)
		s.err = srv.Serve(context.Background(), l)
	}()
	t.Cleanup(func() {
		srv.Close()
		s.wait(t)
		if t.Failed() {
			t.Logf("the server's log:\n%s", s.log.String())
		}
	})
	return s
}

// wait waits until Serve has returned, and returns its error.
func (s *testServer) wait(t testing.TB) error {
	t.Helper()
	receive(t, s.done)
	return s.err
}

// stats waits until ok is content with the server's counts.
func (s *testServer) stats(t testing.TB, what string, ok func(Stats) bool) {
	t.Helper()
	eventually(t, what, func() bool { return ok(s.Stats()) })
}

// eventually waits until ok, for which there is no event to wait for.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	wait := newBackoff(context.Background(), patience)
	for !ok() {
		if err := wait.next(); err != nil {
			t.Fatalf("still not: %s", what)
		}
	}
}

// receive receives from c, but not for ever.
func receive[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case v := <-c:
		return v
	case <-timeout.C:
		t.Fatal("nothing comes")
		panic("unreachable")
	}
}

func echo(_ context.Context, w *ResponseWriter, r *Request) error {
	_, err := w.Write(r.Body)
	return err
}

// commands is a handler with a few requests of its own.
func commands(ctx context.Context, w *ResponseWriter, r *Request) error {
	switch verb, rest, _ := strings.Cut(string(r.Body), " "); verb {
	case "echo":
		io.WriteString(w, rest)
		return nil
	case "empty":
		return nil
	case "quit":
		io.WriteString(w, rest)
		return Quit
	case "fail":
		io.WriteString(w, rest)
		return errors.New("this request fails")
	case "panic":
		panic("this request panics")
	}
	return fmt.Errorf("no such command: %.20q", r.Body)
}

// dial connects to the server for the time of the test.
func dial(t testing.TB, path string) *Conn {
	t.Helper()
	c, err := new(Dialer).Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// rawConn connects to a server for tests that speak the protocol by hand.
func rawConn(t testing.TB, path string) socket {
	t.Helper()
	c, err := new(Dialer).DialRaw(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c.sock
}

func send(t testing.TB, w io.Writer, bytes string) {
	t.Helper()
	if _, err := io.WriteString(w, bytes); err != nil {
		t.Fatal(err)
	}
}

// wantCall makes a call and checks the response.
func wantCall(t testing.TB, path, request, want string) {
	t.Helper()
	got, err := Call(t.Context(), path, []byte(request))
	if err != nil || string(got) != want {
		t.Errorf("%q: got %q, %v; want %q", request, got, err, want)
	}
}

// wantHangUp checks that the peer closes the connection without a byte.
func wantHangUp(t testing.TB, r io.Reader) {
	t.Helper()
	b, err := io.ReadAll(r)
	if len(b) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %q, %v; want the connection closed", b, err)
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
