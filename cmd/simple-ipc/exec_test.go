package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"example.com/simpleipc"
)

// serveCommand serves with a shell script.
func serveCommand(t *testing.T, linger time.Duration, script string) (path string) {
	t.Helper()
	h, err := newCommandHandler([]string{"sh", "-c", script})
	if err != nil {
		t.Fatal(err)
	}
	h.linger = linger
	h.name = "the socket"
	t.Cleanup(h.wait) // when the server is closed
	return serve(t, h)
}

func TestCommandHandler(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("0123456789abcdef", 1<<17) // more than pipes and sockets hold
	self := fmt.Sprintf("the socket %d %d %d\n", os.Getpid(), os.Getuid(), os.Getgid())
	for _, tt := range []struct {
		script, request, want string
		err                   error // that errors.Is finds
	}{
		{"cat", "a\x00b\n", "a\x00b\n", nil},
		{"cat", "", "", nil},
		{"cat", large, large, nil},
		{"tr a-z A-Z", "hello", "HELLO", nil},
		{"true", large, "", nil},
		{"head -c 1", large, "0", nil},
		{"exec <&-; echo closed", large, "closed\n", nil},
		{"exec >&-; cat >/dev/null", large, "", nil},
		{"echo $SIMPLE_IPC_NAME $SIMPLE_IPC_PEER_PID $SIMPLE_IPC_PEER_UID $SIMPLE_IPC_PEER_GID", "", self, nil},
		{"exit 3", "", "", simpleipc.ErrConnClosed},
		{"cat; exit 3", "part", "", io.ErrUnexpectedEOF},
		{"cat; exit 3", large, "", io.ErrUnexpectedEOF},
		{"echo part; kill -KILL $$", "", "", io.ErrUnexpectedEOF},
	} {
		t.Run(fmt.Sprintf("%s, %d bytes", tt.script, len(tt.request)), func(t *testing.T) {
			t.Parallel()
			got, err := simpleipc.Call(t.Context(), serveCommand(t, testPatience, tt.script), []byte(tt.request))
			if !errors.Is(err, tt.err) || string(got) != tt.want {
				t.Errorf("the answer is %.100q, %v; want %.100q, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

func TestCommandMissing(t *testing.T) {
	h, err := newCommandHandler([]string{"no-such-program", "x"})
	if h != nil || err == nil || err.Error() != "cannot run 'no-such-program': executable file not found in $PATH" {
		t.Errorf("a missing program gives %v", err)
	}
	// One that goes away later is an error for the client.
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\ncat\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if h, err = newCommandHandler([]string{program}); err != nil {
		t.Fatal(err)
	}
	path := serve(t, h)
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	if _, err := simpleipc.Call(t.Context(), path, []byte("x")); !errors.Is(err, simpleipc.ErrConnClosed) {
		t.Errorf("the client gets %v", err)
	}
}

// A piece of a response arrives while the command still works on the next.
func TestCommandIsPrompt(t *testing.T) {
	t.Parallel()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	path := serveCommand(t, testPatience, "echo first; cat "+fifo)
	r := begin(t, path, "")
	if line := readLine(t, r); line != "first" {
		t.Fatalf("got %q", line)
	}
	if err := os.WriteFile(fifo, []byte("second\n"), 0); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(r); err != nil || string(rest) != "second\n" {
		t.Errorf("then %q, %v", rest, err)
	}
}

// All processes of a command are killed when there is nobody to answer.
func TestCommandIsKilled(t *testing.T) {
	t.Parallel()
	const family = "sleep 1000 & echo $$; echo $!; wait" // both have the output open
	const orphan = "sleep 1000 & echo $!; echo $!"       // only the second has, for longer than the first lives
	for _, script := range []string{family, orphan} {
		t.Run("hung up on: "+script, func(t *testing.T) {
			t.Parallel()
			r := begin(t, serveCommand(t, time.Hour, script), "")
			pids := []int{readPID(t, r), readPID(t, r)}
			r.Close()
			for _, pid := range pids {
				awaitEnd(t, pid)
			}
		})
		t.Run("server closed: "+script, func(t *testing.T) {
			t.Parallel()
			h, err := newCommandHandler([]string{"sh", "-c", script})
			if err != nil {
				t.Fatal(err)
			}
			h.linger = time.Hour
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
	r := begin(t, serveCommand(t, time.Millisecond, "echo $$; sleep 1000 & echo $!"), "")
	pids := []int{readPID(t, r), readPID(t, r)}
	if rest, err := io.ReadAll(r); !errors.Is(err, io.ErrUnexpectedEOF) || len(rest) > 0 {
		t.Errorf("the response goes on with %q and ends with %v", rest, err)
	}
	for _, pid := range pids {
		awaitEnd(t, pid)
	}

	got, err := simpleipc.Call(t.Context(), serveCommand(t, time.Hour, "sleep 1000 >/dev/null & echo $!"), nil)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(got)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("the process in the background: %v", err)
	}
}

// A server that is told to run commands in an environment that such a server
// made tells its own clients.
func TestCommandEnvironment(t *testing.T) {
	t.Setenv("SIMPLE_IPC_PEER_PID", "1")
	h := &commandHandler{name: "/x"}
	got := h.environment(simpleipc.Peer{PID: 12, UID: -1, GID: 0})
	want := []string{"SIMPLE_IPC_NAME=/x", "SIMPLE_IPC_PEER_PID=12", "SIMPLE_IPC_PEER_UID=", "SIMPLE_IPC_PEER_GID=0"}
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
