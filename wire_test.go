package simpleipc

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"example.com/simpleipc/pktline"
)

// wire returns the bytes of a message as Git's programs write it, made without
// package pktline.
func wire(message []byte) []byte {
	var b bytes.Buffer
	for len(message) > 0 {
		n := min(len(message), 65516)
		fmt.Fprintf(&b, "%04x%s", n+4, message[:n])
		message = message[n:]
	}
	b.WriteString("0000")
	return b.Bytes()
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

// goldens are messages with their bytes on the wire: the small ones literally,
// the large ones by their headers.
var goldens = []struct {
	name    string
	message []byte
	wire    string
}{
	{"ping", []byte("ping"), "0008ping0000"},
	{"empty", nil, "0000"},
	{"65516", bytes.Repeat([]byte("x"), 65516), "fff0" + strings.Repeat("x", 65516) + "0000"},
	{"65517", bytes.Repeat([]byte("x"), 65517), "fff0" + strings.Repeat("x", 65516) + "0005x" + "0000"},
	{"200000", pattern(200000), "fff0" + string(pattern(200000)[:65516]) +
		"fff0" + string(pattern(200000)[65516:131032]) +
		"fff0" + string(pattern(200000)[131032:196548]) +
		"0d80" + string(pattern(200000)[196548:]) + "0000"},
	{"binary", []byte("\x00\xff\r\n0000ERR \n"), "0011\x00\xff\r\n0000ERR \n0000"},
}

// TestWireOfServer speaks to the server by hand, one message after the other
// on one connection, and checks every byte that it answers.
func TestWireOfServer(t *testing.T) {
	s := serve(t, &Server{})
	kept := rawConn(t, s.path)
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			go io.WriteString(kept, g.wire)
			got := make([]byte, len(g.wire))
			if _, err := io.ReadFull(kept, got); err != nil || string(got) != g.wire {
				t.Errorf("answered %.40q, %v; want %.40q", got, err, g.wire)
			}
		})
	}
	// Nothing comes behind the last flush packet.
	kept.closeRead()
	if rest, err := io.ReadAll(kept); len(rest) != 0 || err != nil {
		t.Errorf("behind the flush packet: %q, %v", rest, err)
	}
}

// TestWireOfClient has the client talk to a socket on which the test answers
// by hand, and checks every byte that it sends.
func TestWireOfClient(t *testing.T) {
	l, err := Listen(t.Context(), tempPath(t))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	type result struct {
		sent string
		err  error
	}
	// answer plays a server for one exchange.
	answer := func(wire string) <-chan result {
		done := make(chan result, 1)
		go func() {
			raw, err := l.accept()
			if err != nil {
				done <- result{err: err}
				return
			}
			s := raw.sock
			defer s.Close()
			s.SetDeadline(time.Now().Add(patience))
			sent := make([]byte, len(wire))
			if _, err = io.ReadFull(s, sent); err == nil {
				_, err = io.WriteString(s, wire)
			}
			// The client must neither send more nor half-close before it has
			// its answer; when it has, it closes.
			rest, _ := io.ReadAll(s)
			done <- result{string(sent) + string(rest), err}
		}()
		return done
	}
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			done := answer(g.wire)
			got, err := Call(t.Context(), l.Path(), g.message)
			if err != nil || !bytes.Equal(got, g.message) {
				t.Errorf("Call: %.40q, %v", got, err)
			}
			if r := receive(t, done); r.err != nil || r.sent != g.wire {
				t.Errorf("Call sent %.40q, %v; want %.40q", r.sent, r.err, g.wire)
			}
			done = answer(g.wire)
			resp, err := new(Dialer).CallStream(t.Context(), l.Path(), bytes.NewReader(g.message))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(resp); err != nil || !bytes.Equal(got, g.message) {
				t.Errorf("CallStream: %.40q, %v", got, err)
			}
			resp.Close()
			if r := receive(t, done); r.err != nil || r.sent != g.wire {
				t.Errorf("CallStream sent %.40q, %v; want %.40q", r.sent, r.err, g.wire)
			}
		})
	}
}

// TestSmallMessageIsOneWrite checks that a small request, and a small response
// that was written in pieces, go out in one piece.
func TestSmallMessageIsOneWrite(t *testing.T) {
	s := serve(t, &Server{Handler: HandlerFunc(func(_ context.Context, w *ResponseWriter, _ *Request) error {
		for range 100 {
			fmt.Fprint(w, "0123456789")
		}
		return nil
	})})
	c := rawConn(t, s.path)
	send(t, c, "0000")
	buf := make([]byte, 1<<16)
	n, err := c.Read(buf) // a stream socket returns what one write has sent
	if want := string(wire(bytes.Repeat([]byte("0123456789"), 100))); err != nil || string(buf[:n]) != want {
		t.Errorf("one read gave %d bytes, %v; want %d", n, err, len(want))
	}
}

// TestMessagesOfAllShapes sends requests that are cut into packets and pieces
// in unusual ways.
func TestMessagesOfAllShapes(t *testing.T) {
	s := serve(t, &Server{})
	for _, tt := range []struct{ sent, want string }{
		{"0006hi0000", "0006hi0000"},
		{"0005h0005i0000", "0006hi0000"},
		{"00040006hi00040000", "0006hi0000"},
		{"000Ahello\n0000", "000ahello\n0000"},
		{strings.Repeat("0005x", 70000) + "0000", string(wire(bytes.Repeat([]byte("x"), 70000)))},
	} {
		c := rawConn(t, s.path)
		go func() {
			for _, b := range []byte(tt.sent[:min(50, len(tt.sent))]) {
				c.Write([]byte{b})
			}
			io.WriteString(c, tt.sent[min(50, len(tt.sent)):])
		}()
		got := make([]byte, len(tt.want))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != tt.want {
			t.Errorf("%.40q: got %.40q, %v; want %.40q", tt.sent, got, err, tt.want)
		}
	}
}

// FuzzServer sends any bytes to a server, split in two anywhere. Whatever it
// is, the server answers each whole request, and hangs up at the first byte
// that cannot be one.
func FuzzServer(f *testing.F) {
	for _, seed := range []string{
		"0008ping0000", "0000", "00040000", "0000000000000008ping0000", "0003", "fff1", "fff0x", "0001", "0002",
		"0008ping", "0008pin", "zzzz", "", "000",
	} {
		f.Add([]byte(seed), uint(3))
	}
	s := serve(f, &Server{MaxRequest: 1 << 20})
	f.Fuzz(func(t *testing.T, in []byte, cut uint) {
		// What a server must answer: every whole message before the end or
		// the first fault.
		var want bytes.Buffer
		rd := pktline.NewReader(bytes.NewReader(in))
		for {
			m, err := rd.ReadMessage(nil, 1<<20)
			if err != nil {
				break
			}
			want.Write(wire(m))
		}
		c := rawConn(t, s.path)
		go func() {
			k := cut % uint(len(in)+1)
			c.Write(in[:k])
			c.Write(in[k:])
			if want.Len() == 0 {
				halfClose(c)
			}
		}()
		got := make([]byte, want.Len())
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want.Bytes()) {
			t.Errorf("got %.100q, %v; want %.100q", got, err, want.Bytes())
		}
		if want.Len() == 0 {
			wantHangUp(t, c)
		}
	})
}

// FuzzClient has a server answer with any bytes, split in two anywhere, and
// hang up. The client takes a whole response for one, and reports an error for
// all else.
func FuzzClient(f *testing.F) {
	for _, seed := range []string{
		"0008pong0000", "0000", "0008pong", "0008pon", "0003", "fff1", "fff0x", "0001", "0002", "", "000", "00040000",
	} {
		f.Add([]byte(seed), uint(3))
	}
	answers := make(chan [2][]byte, 1)
	path := fake(f, func(s socket) {
		io.ReadFull(s, make([]byte, len("0008ping0000")))
		for _, part := range <-answers {
			s.Write(part)
		}
	})
	f.Fuzz(func(t *testing.T, in []byte, cut uint) {
		want, wantErr := pktline.NewReader(bytes.NewReader(in)).ReadMessage(nil, -1)
		k := cut % uint(len(in)+1)
		answers <- [2][]byte{in[:k], in[k:]}
		got, err := Call(t.Context(), path, []byte("ping"))
		if (err == nil) != (wantErr == nil) {
			t.Errorf("%.100q: got %v, want %v", in, err, wantErr)
		}
		if err == nil && !bytes.Equal(got, want) {
			t.Errorf("%.100q: got %.100q, want %.100q", in, got, want)
		}
	})
}
