//go:build unix

package trace2

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/simpleipc/internal/stream"
)

// listen makes a socket. A stream socket is a listener, a datagram socket a
// connection.
func listen(t *testing.T, kind string) (path string, l *net.UnixListener, c *net.UnixConn) {
	t.Helper()
	dir, err := os.MkdirTemp("", "trace2") // the name of a t.TempDir may be too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path = filepath.Join(dir, "socket")
	if kind == "stream" {
		l, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err == nil {
			err = l.SetDeadline(time.Now().Add(limit))
			t.Cleanup(func() { _ = l.Close() })
		}
	} else {
		c, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		if err == nil {
			err = c.SetDeadline(time.Now().Add(limit))
			t.Cleanup(func() { _ = c.Close() })
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return path, l, c
}

// patient lets a target wait for readers that do not get a processor.
func patient(t *testing.T) {
	before, beforeMax := patience, maxWaited
	patience, maxWaited = limit, limit
	t.Cleanup(func() { patience, maxWaited = before, beforeMax })
}

// burst tells more than a socket holds.
func burst(ctx context.Context, lines int) {
	for i := range lines {
		Printf(ctx, "%d", i)
	}
}

func TestStreamSocket(t *testing.T) {
	patient(t)
	for _, prefix := range []string{"af_unix:", "af_unix:stream:"} {
		path, l, _ := listen(t, "stream")
		tracer := New(env("GIT_TRACE2_EVENT=" + prefix + path))
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		received := make(chan []byte)
		go func() {
			b, _ := io.ReadAll(c) // what is missing will be missed
			_ = c.Close()
			received <- b
		}()
		burst(tracer.Context(context.Background()), 2000)
		tracer.Exit(0)
		entries, err := stream.Parse(<-received, false)
		if err != nil || len(entries) != 2003 {
			t.Errorf("%s: %d events, %v", prefix, len(entries), err)
		}
	}
}

// TestDatagramSocket checks that each line is one datagram, and that a burst of
// them does not get lost if there is a reader.
func TestDatagramSocket(t *testing.T) {
	patient(t)
	for _, prefix := range []string{"af_unix:", "af_unix:dgram:"} {
		path, _, c := listen(t, "dgram")
		received := make(chan []byte)
		go func() {
			var all []byte
			b := make([]byte, 1<<16)
			for !bytes.Contains(all, []byte("atexit")) {
				n, err := c.Read(b)
				if err != nil || !bytes.HasSuffix(b[:n], []byte("}\n")) || bytes.Count(b[:n], []byte("\n")) != 1 {
					break
				}
				all = append(all, b[:n]...)
			}
			received <- all
		}()
		tracer := New(env("GIT_TRACE2_EVENT=" + prefix + path))
		burst(tracer.Context(context.Background()), 500)
		tracer.Exit(0)
		entries, err := stream.Parse(<-received, false)
		if err != nil || len(entries) != 503 {
			t.Errorf("%s: %d events, %v", prefix, len(entries), err)
		}
	}
}

// TestStuckSockets has readers that do not read. They are given up.
func TestStuckSockets(t *testing.T) {
	for _, kind := range []string{"stream", "dgram"} {
		path, _, _ := listen(t, kind)
		tracer := New(env("GIT_TRACE2_EVENT=af_unix:" + kind + ":" + path))
		began := time.Now()
		burst(tracer.Context(context.Background()), 20000)
		if tracer.alive.Load() {
			t.Errorf("%s: it has not been given up after %v", kind, time.Since(began))
		}
		if o := tracer.targets[0].output; o != nil {
			t.Errorf("%s: it has not been closed", kind)
		}
		tracer.Exit(0)
	}
}

// TestDeadSocket has a reader that goes away.
func TestDeadSocket(t *testing.T) {
	path, l, _ := listen(t, "stream")
	tracer := New(env("GIT_TRACE2_EVENT=af_unix:" + path))
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	burst(tracer.Context(context.Background()), 1)
	if tracer.alive.Load() {
		t.Error("it has not been given up")
	}
	tracer.Exit(0)
}

func TestNoSocket(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	dead, l, _ := listen(t, "stream")
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	datagram, _, _ := listen(t, "dgram")
	for _, value := range []string{
		"af_unix:" + dir, "af_unix:" + file, "af_unix:" + dead, "af_unix:stream:" + datagram,
		"af_unix:" + filepath.Join(dir, "none"), "af_unix:/" + strings.Repeat("x", 200),
	} {
		if tracer := New(env("GIT_TRACE2=" + value)); tracer.alive.Load() {
			t.Errorf("%s can be written to", value)
			tracer.Exit(0)
		}
	}
}

// TestDescriptor has a process inherit a descriptor.
func TestDescriptor(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "trace"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := child(t, "nothing", "GIT_TRACE2_EVENT=3")
	cmd.ExtraFiles = []*os.File{f}
	run(t, cmd)
	if got, want := eventsOf(readStream(t, f.Name(), false)), "version start cmd_name exit atexit"; got != want {
		t.Errorf("%s, not %s", got, want)
	}
}

// TestDescriptorNotInherited makes sure that nothing is written to a file of
// the program's own that happens to have the number.
func TestDescriptorNotInherited(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "own"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if o, err := openDescriptor(int(f.Fd())); err != errNotInherited {
		t.Errorf("%v, %v", o, err)
	}
	const unused = 1 << 20
	if o, err := openDescriptor(unused); err != unix.EBADF {
		t.Errorf("%v, %v", o, err)
	}
}

// TestBrokenPipe has the standard error of a process, or another descriptor,
// be a pipe that nobody reads. That must not end it, not even by SIGPIPE.
func TestBrokenPipe(t *testing.T) {
	for _, value := range []string{"1", "3"} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		cmd := child(t, "targets", "GIT_TRACE2="+value, "GIT_TRACE2_DST_DEBUG=1")
		cmd.Stderr = w
		cmd.ExtraFiles = []*os.File{w}
		if err := cmd.Run(); err != nil {
			t.Errorf("%s: %v", value, err)
		}
	}
}

// TestNamedPipes has pipes that nobody reads, not yet and not at all.
func TestNamedPipes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if tracer := New(env("GIT_TRACE2=" + path)); tracer.alive.Load() {
		t.Error("it writes to a pipe without a reader")
		tracer.Exit(0)
	}
	r, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	tracer := New(env("GIT_TRACE2=" + path))
	if !tracer.alive.Load() {
		t.Error("it does not write to a pipe with a reader")
	}
	burst(tracer.Context(context.Background()), 5000)
	if tracer.alive.Load() {
		t.Error("the pipe is not full")
	}
	first, err := bufio.NewReader(r).ReadString('\n')
	if err != nil || !strings.Contains(first, " version ") {
		t.Errorf("%q, %v", first, err)
	}
}

// TestFullDevice has a target that takes nothing. The process complains once,
// and goes on with the other targets.
func TestFullDevice(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("no /dev/full")
	}
	path := filepath.Join(t.TempDir(), "trace")
	for debug, want := range map[string]string{
		"0": "",
		"1": "warning: trace2: cannot write to GIT_TRACE2=/dev/full: no space left on device\n",
	} {
		if got := run(t, child(t, "targets", "GIT_TRACE2=/dev/full", "GIT_TRACE2_EVENT="+path, "GIT_TRACE2_DST_DEBUG="+debug)); got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
	if entries := readStream(t, path, false); len(entries) != 2*105 {
		t.Errorf("there are %d events", len(entries))
	}
}

// TestUnwritable has directories in which no file can be made.
func TestUnwritable(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may write everywhere")
	}
	dir := t.TempDir()
	for _, mode := range []os.FileMode{0, 0o500} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		for _, max := range []string{"", "5"} {
			if tracer := New(env("GIT_TRACE2="+dir, "GIT_TRACE2_MAX_FILES="+max)); tracer.alive.Load() {
				t.Errorf("it writes to a directory of mode %o", mode)
				tracer.Exit(0)
			}
		}
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
}

// TestExitCloses makes sure that no descriptor is left.
func TestExitCloses(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("descriptors can be counted on Linux only")
	}
	count := func() int { return len(files(t, "/proc/self/fd")) }
	path, l, _ := listen(t, "stream")
	dir := t.TempDir()
	before := count()
	for i := range 50 {
		New(env("GIT_TRACE2="+dir, "GIT_TRACE2_PERF="+filepath.Join(dir, fmt.Sprint(i)), "GIT_TRACE2_EVENT=af_unix:"+path)).Exit(0)
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	if after := count(); after > before {
		t.Errorf("%d descriptors became %d", before, after)
	}
}
