//go:build linux

// Package faults tests servers and clients, as processes of their own, while
// everything goes wrong: killed, stopped, raced for, out of room, and facing
// peers who break every rule.
//
//	go test ./test/faults                          // short
//	go test ./test/faults -long -v                 // long: minutes, with the figures
//
// Each test logs what it did and what came of it. What is random comes from
// -seed, which is logged too.
package faults

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"example.com/simpleipc"
)

var (
	long = flag.Bool("long", false, "do more of everything")
	seed = flag.Uint64("seed", 1, "where random numbers begin")
)

// patience is how long to wait for what must happen.
const patience = 60 * time.Second

// roleEnv names what this process is to be instead of the tests.
const roleEnv = "SIMPLEIPC_FAULTS_ROLE"

var roles = map[string]func(args []string) error{}

// The exit status of a server that was not needed.
const statusNotNeeded = 3

var errNotNeeded = errors.New("another server has the path")

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		err := roles[role](os.Args[1:])
		switch {
		case err == nil:
			os.Exit(0)
		case errors.Is(err, errNotNeeded):
			os.Exit(statusNotNeeded)
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// pick returns a number for the short mode or for the long one.
func pick(short, longer int) int {
	if *long {
		return longer
	}
	return short
}

func random(t testing.TB) *rand.Rand {
	t.Logf("-seed=%d", *seed)
	return rand.New(rand.NewPCG(*seed, 0))
}

// A process is this program in one of its other roles.
type process struct {
	*exec.Cmd
	out    *bufio.Reader
	stderr bytes.Buffer
	wait   func() error
}

// spawn starts a process, which is killed at the end of the test.
func spawn(t testing.TB, role string, args ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: exec.Command(exe, args...)}
	// The race detector's runtime would wait a second at each exit.
	p.Env = append(os.Environ(), roleEnv+"="+role, "GORACE=atexit_sleep_ms=0")
	p.Stderr = &p.stderr
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	p.wait = sync.OnceValue(p.Wait)
	t.Cleanup(func() {
		p.Process.Kill()
		p.wait()
	})
	return p
}

// line waits for a line from the process.
func (p *process) line(t testing.TB) string {
	t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		t.Fatalf("a process has ended: %v; %v: %s", err, p.wait(), p.stderr.String())
	}
	return strings.TrimSuffix(line, "\n")
}

// tempDir returns an empty directory with a short name.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ipc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// wantHealed checks that a server can start at path and end, and that nothing
// is left then.
func wantHealed(t testing.TB, path string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	// A lock like Git's is respected for ten seconds.
	l, err := simpleipc.ListenConfig{LockTimeout: 15 * time.Second}.Listen(ctx, path)
	if err != nil {
		t.Fatalf("the next server does not start: %v", err)
	}
	wantOnly(t, path, filepath.Base(path))
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	wantOnly(t, path)
}

// wantOnly checks what there is beside path.
func wantOnly(t testing.TB, path string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if fmt.Sprint(got) != fmt.Sprint(append([]string{}, want...)) {
		t.Errorf("there is %q, and should be %q", got, want)
	}
}

// pause waits for about d, which is part of the experiment.
func pause(rnd *rand.Rand, d time.Duration) {
	t := time.NewTimer(time.Duration(rnd.Int64N(int64(d))))
	<-t.C
}

// await waits until ok, for which there is no event.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-timeout.C:
			t.Fatalf("still not: %s", what)
		}
	}
}
