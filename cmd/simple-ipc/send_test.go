package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"example.com/simpleipc"
	"example.com/simpleipc/pktline"
)

func TestOpenRequest(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("in the file"), 0o600); err != nil {
		t.Fatal(err)
	}
	token, empty := "token", ""
	for _, tt := range []struct {
		o    options
		args []string
		want string // or the error
	}{
		{options{}, nil, "(no command)"},
		{options{}, []string{"arg"}, "arg"},
		{options{}, []string{""}, ""},
		{options{token: &token}, nil, "token"},
		{options{token: &empty}, nil, ""},
		{options{file: file}, nil, "in the file"},
		{options{token: &token}, []string{"arg"}, "the request is given twice"},
		{options{token: &token, file: file}, nil, "the request is given twice"},
		{options{file: file}, []string{"arg"}, "the request is given twice"},
		{options{file: file + ".none"}, nil, "open " + file + ".none: no such file or directory"},
	} {
		r, err := openRequest(&tt.o, tt.args)
		if err != nil {
			if err.Error() != tt.want {
				t.Errorf("%+v, %q: %v, want %s", tt.o, tt.args, err, tt.want)
			}
			continue
		}
		got, err := io.ReadAll(r)
		if c, ok := r.(io.Closer); ok {
			c.Close()
		}
		if err != nil || string(got) != tt.want {
			t.Errorf("%+v, %q: %q, %v, want %q", tt.o, tt.args, got, err, tt.want)
		}
	}
}

// A file has its old contents or the new ones, and nothing else is beside it.
func TestOutput(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.Symlink("file", link); err != nil {
		t.Fatal(err)
	}
	holds := func(want string) {
		t.Helper()
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("the file holds %q, %v; want %q", got, err, want)
		}
		if entries, _ := os.ReadDir(dir); len(entries) != 2 {
			t.Errorf("there are %v", entries)
		}
	}
	write := func(path, text string, commit bool) {
		t.Helper()
		out, err := createOutput(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = out.WriteString(text); err == nil && commit {
			err = out.commit()
		}
		out.discard()
		if err != nil {
			t.Error(err)
		}
	}
	defer syscall.Umask(syscall.Umask(0o027))
	write(path, "one", true)
	holds("one")
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 {
		t.Errorf("the new file: %v, %v", info.Mode(), err)
	}
	write(path, "two", false)
	holds("one")
	if err := os.Chmod(path, 0o606); err != nil {
		t.Fatal(err)
	}
	write(link, "three", true)
	holds("three")
	if info, err := os.Lstat(link); err != nil || info.Mode().Type() != os.ModeSymlink {
		t.Errorf("the link: %v, %v", info.Mode(), err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o606 {
		t.Errorf("the file that was there: %v, %v", info.Mode(), err)
	}
}

func TestOutputInPlace(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	read := make(chan string, 1)
	go func() {
		got, _ := os.ReadFile(fifo)
		read <- string(got)
	}()
	out, err := createOutput(fifo)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.WriteString("through"); err != nil {
		t.Error(err)
	}
	if err := out.commit(); err != nil {
		t.Error(err)
	}
	out.discard()
	if got := <-read; got != "through" {
		t.Errorf("the pipe's reader got %q", got)
	}
	for _, tt := range []struct{ path, want string }{
		{dir, "is a directory"},
		{filepath.Join(dir, "none", "file"), "cannot write '" + filepath.Join(dir, "none", "file") + "': no such file or directory"},
		{filepath.Join(fifo, "file"), "not a directory"},
	} {
		if _, err := createOutput(tt.path); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.path, err, tt.want)
		}
	}
	if out, err := createOutput("-"); err != nil || out.File != os.Stdout {
		t.Errorf("-: %v, %v", out, err)
	}
	if os.Geteuid() != 0 {
		path := filepath.Join(dir, "locked")
		if err := os.WriteFile(path, nil, 0o400); err != nil {
			t.Fatal(err)
		}
		if _, err := createOutput(path); !errors.Is(err, os.ErrPermission) {
			t.Errorf("a file that may not be written: %v", err)
		}
	}
}

// A repeater keeps its connection while the server does, and never sends a
// request twice that a server of this package may have seen.
func TestRepeater(t *testing.T) {
	var requests atomic.Int64
	path := serve(t, simpleipc.HandlerFunc(func(_ context.Context, w *simpleipc.ResponseWriter, r *simpleipc.Request) error {
		if requests.Add(1) == 4 {
			return errors.New("not this one")
		}
		_, err := w.Write(r.Body)
		return err
	}))
	r := &repeater{name: path, request: []byte("again")}
	defer r.hangUp()
	for range 3 {
		first := r.conn
		repeatCall(t, r)
		if first != nil && r.conn != first {
			t.Error("there is a new connection")
		}
	}
	if _, err := r.call(); !errors.Is(err, simpleipc.ErrConnClosed) || r.closes {
		t.Errorf("an exchange that fails: %v", err)
	}
	if n := requests.Load(); n != 4 {
		t.Errorf("the server saw %d requests instead of 4", n)
	}
	// The connection is closed, and it is known that nothing was sent.
	repeatCall(t, r)
}

func repeatCall(t *testing.T, r *repeater) {
	t.Helper()
	response, err := r.call()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(response); err != nil || !bytes.Equal(got, r.request) {
		t.Fatalf("got %q, %v", got, err)
	}
}

// With a server like Git's, each exchange has a connection of its own.
func TestRepeaterReconnects(t *testing.T) {
	path, accepted := serveOnce(t)
	r := &repeater{name: path, request: []byte("again")}
	defer r.hangUp()
	for range 5 {
		repeatCall(t, r)
	}
	if n := accepted.Load(); n != 5 || !r.closes {
		t.Errorf("%d connections were made instead of 5; closes is %v", n, r.closes)
	}
}

// serveOnce echoes requests until the test ends, and closes each connection
// after one exchange, as Git's servers do. It returns the path, and counts the
// connections.
func serveOnce(t *testing.T) (path string, accepted *atomic.Int64) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "ipc")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	accepted = new(atomic.Int64)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			request, err := pktline.NewReader(c).ReadMessage(nil, -1)
			if err == nil {
				_ = pktline.NewWriter(c).WriteMessage(request) // or the client says so
			}
			c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
	return path, accepted
}
