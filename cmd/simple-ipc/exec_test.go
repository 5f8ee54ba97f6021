package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"example.com/simpleipc"
)

// actingHandler returns a handler that runs act with these actions.
func actingHandler(t *testing.T, linger time.Duration, actions string) *commandHandler {
	t.Helper()
	h, err := newCommandHandler(append([]string{"act"}, strings.Fields(actions)...))
	if err != nil {
		t.Fatal(err)
	}
	h.linger = linger
	h.name = "the socket"
	return h
}

// serveActing serves with one, and returns the path.
func serveActing(t *testing.T, linger time.Duration, actions string) (path string) {
	t.Helper()
	h := actingHandler(t, linger, actions)
	t.Cleanup(h.wait) // when the server is closed
	return serve(t, h)
}

func TestCommandHandler(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("0123456789abcdef", 1<<17) // more than pipes and sockets hold
	self := thisProcess()
	asker := strings.Join([]string{"the socket", known(self.PID), known(self.UID), known(self.GID), self.SID, ""}, "\n")
	for _, tt := range []struct {
		actions, request, want string
		err                    error // that errors.Is finds
	}{
		{"cat", "a\x00b\n", "a\x00b\n", nil},
		{"cat", "", "", nil},
		{"cat", large, large, nil},
		{"upper", "hello", "HELLO", nil},
		{"", large, "", nil},
		{"head=1", large, "0", nil},
		{"close-stdin say=closed", large, "closed\n", nil},
		{"close-stdout skip", large, "", nil},
		{"env=SIMPLE_IPC_NAME env=SIMPLE_IPC_PEER_PID env=SIMPLE_IPC_PEER_UID env=SIMPLE_IPC_PEER_GID env=SIMPLE_IPC_PEER_SID", "", asker, nil},
		{"exit=3", "", "", simpleipc.ErrConnClosed},
		{"cat exit=3", "part", "", io.ErrUnexpectedEOF},
		{"cat exit=3", large, "", io.ErrUnexpectedEOF},
		{"say=part kill", "", "", io.ErrUnexpectedEOF},
	} {
		t.Run(fmt.Sprintf("%s, %d bytes", tt.actions, len(tt.request)), func(t *testing.T) {
			t.Parallel()
			got, err := simpleipc.Call(t.Context(), serveActing(t, testPatience, tt.actions), []byte(tt.request))
			if !errors.Is(err, tt.err) || string(got) != tt.want {
				t.Errorf("the answer is %.100q, %v; want %.100q, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

func TestCommandMissing(t *testing.T) {
	h, err := newCommandHandler([]string{"no-such-program", "x"})
	want := "cannot run 'no-such-program': " + exec.ErrNotFound.Error()
	if h != nil || err == nil || err.Error() != want {
		t.Errorf("a missing program gives %v, want %s", err, want)
	}
	// One that goes away later is an error for the client.
	h = actingHandler(t, testPatience, "cat")
	h.program = filepath.Join(t.TempDir(), filepath.Base(h.program))
	if _, err := simpleipc.Call(t.Context(), serve(t, h), []byte("x")); !errors.Is(err, simpleipc.ErrConnClosed) {
		t.Errorf("the client gets %v", err)
	}
}

// A piece of a response arrives while the command still works on the next.
func TestCommandIsPrompt(t *testing.T) {
	t.Parallel()
	goOn := filepath.Join(t.TempDir(), "go-on")
	path := serveActing(t, testPatience, "say=first await="+goOn+" say=second")
	r := begin(t, path, "")
	if line := readLine(t, r); line != "first" {
		t.Fatalf("got %q", line)
	}
	if err := os.WriteFile(goOn, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(r); err != nil || string(rest) != "second\n" {
		t.Errorf("then %q, %v", rest, err)
	}
}

// All processes of a command are killed when there is nobody to answer.
func TestCommandIsKilled(t *testing.T) {
	t.Parallel()
	const family = "pid child sleep" // both have the output open
	const orphan = "pid child"       // only the second has, for longer than the first lives
	for _, actions := range []string{family, orphan} {
		t.Run("hung up on: "+actions, func(t *testing.T) {
			t.Parallel()
			r := begin(t, serveActing(t, time.Hour, actions), "")
			pids := []int{readPID(t, r), readPID(t, r)}
			r.Close()
			for _, pid := range pids {
				awaitEnd(t, pid)
			}
		})
		t.Run("server closed: "+actions, func(t *testing.T) {
			t.Parallel()
			h := actingHandler(t, time.Hour, actions)
			path := filepath.Join(t.TempDir(), "ipc")
			srv, ended := new(simpleipc.Server), make(chan error, 1)
			srv.Handler = h
			go func() { ended <- srv.ListenAndServe(context.Background(), path) }()
			r := begin(t, path, "")
			pids := []int{readPID(t, r), readPID(t, r)}
			srv.Close()
			if err := <-ended; err != simpleipc.ErrServerClosed {
				t.Errorf("Serve: %v", err)
			}
			h.wait()
			for _, pid := range pids {
				awaitEnd(t, pid)
			}
			if _, err := io.ReadAll(r); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("the client gets %v", err)
			}
		})
	}
}

// A process that a command leaves behind keeps the worker only for a while if it
// has the output open, and not at all if it has not.
func TestCommandLeavesProcess(t *testing.T) {
	t.Parallel()
	r := begin(t, serveActing(t, time.Millisecond, "pid child"), "")
	pids := []int{readPID(t, r), readPID(t, r)}
	if rest, err := io.ReadAll(r); !errors.Is(err, io.ErrUnexpectedEOF) || len(rest) > 0 {
		t.Errorf("the response goes on with %q and ends with %v", rest, err)
	}
	for _, pid := range pids {
		awaitEnd(t, pid)
	}

	if isWine() {
		t.Skip("for a process in the background, Wine keeps a console, which keeps the output open")
	}
	got, err := simpleipc.Call(t.Context(), serveActing(t, time.Hour, "quiet-child"), nil)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(got)))
	if err != nil {
		t.Fatal(err)
	}
	if hasEnded(pid) {
		t.Error("the process in the background has ended")
	}
	p, err := os.FindProcess(pid)
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		t.Error(err)
	}
}

// A server that is told to run commands in an environment that such a server
// made tells its own clients.
func TestCommandEnvironment(t *testing.T) {
	t.Setenv("SIMPLE_IPC_PEER_PID", "1")
	h := &commandHandler{name: "/x"}
	got := h.environment(simpleipc.Peer{PID: 12, UID: -1, GID: -2, SID: "S-1-5-18"})
	want := []string{"SIMPLE_IPC_NAME=/x", "SIMPLE_IPC_PEER_PID=12", "SIMPLE_IPC_PEER_UID=", "SIMPLE_IPC_PEER_GID=4294967294", // where int has 32 bits
		"SIMPLE_IPC_PEER_SID=S-1-5-18"}
	if !slices.Equal(got[len(got)-len(want):], want) {
		t.Errorf("the environment is %q", got)
	}
}

func TestQuitOn(t *testing.T) {
	h := simpleipc.HandlerFunc(func(context.Context, *simpleipc.ResponseWriter, *simpleipc.Request) error { return nil })
	for _, tt := range []struct {
		token, request string
		want           error
	}{
		{"quit", "quit", simpleipc.Quit},
		{"quit", "quit ", nil},
		{"", "quit", nil},
		{"", "", nil},
		{"other", "quit", nil},
		{"other", "other", simpleipc.Quit},
	} {
		err := quitOn(tt.token, h).ServeIPC(t.Context(), nil, &simpleipc.Request{Body: []byte(tt.request)})
		if err != tt.want {
			t.Errorf("%q at a server that quits on %q: %v, want %v", tt.request, tt.token, err, tt.want)
		}
	}
}

// begin sends a request and returns the beginning of its response.
func begin(t *testing.T, path, request string) *simpleipc.Response {
	t.Helper()
	d := simpleipc.Dialer{WaitNotFound: true, Timeout: testPatience}
	r, err := d.CallStream(t.Context(), path, strings.NewReader(request))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// readLine reads a line, and nothing behind it.
func readLine(t *testing.T, r io.Reader) string {
	t.Helper()
	line, err := bufio.NewReader(iotest.OneByteReader(r)).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(line, "\n")
}

func readPID(t *testing.T, r io.Reader) int {
	t.Helper()
	pid, err := strconv.Atoi(readLine(t, r))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}
