package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"testing"
)

// echo is a service whose response is the request.
var echo = service{
	answer: func(request []byte) []byte { return request },
	stream: func(request io.Reader) (io.Reader, error) {
		whole, err := io.ReadAll(request)
		return bytes.NewReader(whole), err
	},
}

func TestPeersEcho(t *testing.T) {
	sizes := []int{1, small, 4 << 10, 65515, 65516, 65517, 65520, 65536, 1<<20 + 1}
	for _, c := range contenders {
		if c.shared {
			continue // the same peer as without
		}
		for _, streamed := range []bool{false, true} {
			for _, n := range sizes {
				b := benchCase{Callers: 1, exchange: exchange{Request: n, Response: n, Streamed: streamed}}
				if !c.takes(b) {
					continue
				}
				t.Run(fmt.Sprintf("%s/%d/streamed=%t", c.name, n, streamed), func(t *testing.T) {
					t.Parallel()
					testEcho(t, c.peer, b.exchange)
				})
			}
		}
	}
}

func testEcho(t *testing.T, p peer, x exchange) {
	path := filepath.Join(t.TempDir(), "s")
	server, err := p.listen(path, x, echo)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Close(); err != nil {
			t.Errorf("close the server: %v", err)
		}
	}()
	message := pattern(x.Request)
	message[len(message)-1] ^= 0xff

	c, err := p.dial(path, x)
	if err != nil {
		t.Fatal(err)
	}
	var buf []byte
	for i := range 3 {
		var got []byte
		if x.Streamed {
			var w bytes.Buffer
			err = c.stream(&w, bytes.NewReader(message))
			got = w.Bytes()
		} else {
			buf, err = c.call(buf, message)
			got = buf
		}
		if err != nil || !bytes.Equal(got, message) {
			t.Fatalf("exchange %d: got %d bytes, %v; want the %d that were sent", i, len(got), err, len(message))
		}
	}
	if err := c.Close(); err != nil {
		t.Errorf("close: %v", err)
	}

	once, ok := p.(oneShot)
	if !ok {
		return
	}
	var w bytes.Buffer
	if x.Streamed {
		err = once.streamOnce(path, &w, bytes.NewReader(message))
	} else {
		var got []byte
		got, err = once.callOnce(path, message)
		w.Write(got)
	}
	if err != nil || !bytes.Equal(w.Bytes(), message) {
		t.Fatalf("on a connection for one exchange: got %d bytes, %v", w.Len(), err)
	}
}

// A response of another length than the case says is noticed.
func TestWrongLength(t *testing.T) {
	x := exchange{Request: 5, Response: 5}
	for _, p := range []peer{simpleIPC{}, lfsPktline{}, netRPC{}, ttRPC{}, gRPC{}} {
		path := filepath.Join(t.TempDir(), "s")
		server, err := p.listen(path, x, exchange{Request: 6, Response: 5}.service())
		if err != nil {
			t.Fatal(err)
		}
		if err := x.doOnce(p, path, newBuffers(x)); err == nil {
			t.Errorf("%T: no error for an empty response", p)
		}
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestRPCStreamUnsupported(t *testing.T) {
	if err := (rpcConn{}).stream(nil, nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}
