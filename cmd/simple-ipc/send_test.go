package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"example.com/simpleipc"
	"example.com/simpleipc/pktline"
)

func TestOpenRequest(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("in the file"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, missing := os.Open(file + ".none")
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
		{options{file: file + ".none"}, nil, missing.Error()},
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
	accepted = new(atomic.Int64)
	return serveRaw(t, func(c *simpleipc.RawConn) {
		accepted.Add(1)
		request, err := pktline.NewReader(c).ReadMessage(nil, -1)
		if err == nil {
			_ = pktline.NewWriter(c).WriteMessage(request) // or the client says so
		}
	}), accepted
}
