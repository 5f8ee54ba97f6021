package simpleipc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// pipes returns both ends of a connection.
func pipes(t testing.TB) (client, server socket) {
	t.Helper()
	l, err := ListenConfig{Backlog: 1}.Listen(t.Context(), tempPath(t))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = connect(l.Path()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return client, c.sock
}

// bothEnds runs a test with each end of a connection as the one it looks at.
func bothEnds(t *testing.T, f func(t *testing.T, p, peer socket)) {
	t.Run("client", func(t *testing.T) {
		client, server := pipes(t)
		f(t, client, server)
	})
	t.Run("server", func(t *testing.T) {
		client, server := pipes(t)
		f(t, server, client)
	})
}

// much is more than is on its way in a pipe: writing it waits for a reader.
const much = 1 << 20

// TestPipeDeadlines sets deadlines before and while something waits for them.
func TestPipeDeadlines(t *testing.T) {
	const short = 30 * time.Millisecond
	ops := map[string]struct {
		do  func(p socket) error
		set func(p socket, t time.Time) error
	}{
		"Read":               {func(p socket) error { _, err := p.Read(make([]byte, 1)); return err }, func(p socket, t time.Time) error { return p.SetReadDeadline(t) }},
		"Write":              {func(p socket) error { _, err := p.Write(make([]byte, much)); return err }, func(p socket, t time.Time) error { return p.SetWriteDeadline(t) }},
		"Read, by both's":    {func(p socket) error { _, err := p.Read(make([]byte, 1)); return err }, func(p socket, t time.Time) error { return p.SetDeadline(t) }},
		"Write, with both's": {func(p socket) error { _, err := p.Write(make([]byte, much)); return err }, func(p socket, t time.Time) error { return p.SetDeadline(t) }},
	}
	for name, op := range ops {
		t.Run(name, func(t *testing.T) {
			bothEnds(t, func(t *testing.T, p, _ socket) {
				begun := time.Now()
				if err := op.set(p, begun.Add(short)); err != nil {
					t.Fatal(err)
				}
				if err := op.do(p); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("until the deadline: %v", err)
				}
				if d := time.Since(begun); d < short {
					t.Errorf("it ended %v before the deadline", short-d)
				}
				if err := op.do(p); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("after the deadline: %v", err)
				}
			})
			bothEnds(t, func(t *testing.T, p, _ socket) {
				// Set, moved away and set again while it waits.
				ended := make(chan error, 1)
				go func() { ended <- op.do(p) }()
				for _, d := range []time.Duration{time.Hour, 0, patience, 2 * time.Hour} {
					deadline := time.Time{}
					if d > 0 {
						deadline = time.Now().Add(d)
					}
					if err := op.set(p, deadline); err != nil {
						t.Fatal(err)
					}
				}
				select {
				case err := <-ended:
					t.Fatalf("it does not wait: %v", err)
				case <-time.After(2 * short):
				}
				if err := op.set(p, longAgo); err != nil {
					t.Fatal(err)
				}
				if err := receive(t, ended); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("when the deadline was set: %v", err)
				}
			})
			bothEnds(t, func(t *testing.T, p, _ socket) {
				ended := make(chan error, 1)
				go func() { ended <- op.do(p) }()
				<-time.After(short) // most likely it waits by then
				if err := p.Close(); err != nil {
					t.Error(err)
				}
				if err := receive(t, ended); !errors.Is(err, os.ErrClosed) {
					t.Errorf("when it was closed: %v", err)
				}
				if err := op.do(p); !errors.Is(err, os.ErrClosed) {
					t.Errorf("after Close: %v", err)
				}
				if err := op.set(p, longAgo); !errors.Is(err, os.ErrClosed) {
					t.Errorf("setting a deadline after Close: %v", err)
				}
				if err := p.Close(); !errors.Is(err, os.ErrClosed) {
					t.Errorf("a second Close: %v", err)
				}
			})
		})
	}
	bothEnds(t, func(t *testing.T, p, peer socket) {
		// What failed by a deadline before it began can be done after.
		p.SetDeadline(longAgo)
		if n, err := p.Write([]byte("x")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write: %d, %v", n, err)
		}
		p.SetDeadline(time.Time{})
		send(t, p, "hello")
		b := make([]byte, 10)
		if n, err := peer.Read(b); err != nil || string(b[:n]) != "hello" {
			t.Errorf("%q, %v", b[:n], err)
		}
		send(t, peer, "hello")
		if n, err := p.Read(b); err != nil || string(b[:n]) != "hello" {
			t.Errorf("%q, %v", b[:n], err)
		}
	})
}

// TestPipeDeadlinePasses has a deadline pass while nothing is written, and just
// as it is moved. It does not end what is written then.
func TestPipeDeadlinePasses(t *testing.T) {
	bothEnds(t, func(t *testing.T, p, peer socket) {
		var wg sync.WaitGroup
		wg.Go(func() { io.Copy(io.Discard, peer) })
		b := make([]byte, much/4)
		for i := range 500 {
			begun := time.Now()
			p.SetWriteDeadline(begun.Add(time.Millisecond))
			for time.Since(begun) < time.Millisecond-time.Duration(i%10)*10*time.Microsecond {
			}
			p.SetWriteDeadline(begun.Add(patience))
			if n, err := p.Write(b); n != len(b) || err != nil {
				t.Fatalf("round %d: wrote %d bytes, %v", i, n, err)
			}
		}
		p.Close()
		wg.Wait()
	})
}

// TestPipeBothWays writes and reads in both directions at once, by which
// nothing waits for anything else.
func TestPipeBothWays(t *testing.T) {
	client, server := pipes(t)
	var wg sync.WaitGroup
	for i, p := range []socket{client, server} {
		p.SetDeadline(time.Now().Add(patience))
		wg.Go(func() {
			sent := bytes.Repeat([]byte{byte(i)}, 8*much)
			if n, err := p.Write(sent); n != len(sent) || err != nil {
				t.Errorf("end %d wrote %d bytes, %v", i, n, err)
			}
		})
		wg.Go(func() {
			got := make([]byte, 8*much)
			if _, err := io.ReadFull(p, got); err != nil || !bytes.Equal(got, bytes.Repeat([]byte{byte(1 - i)}, len(got))) {
				t.Errorf("end %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

// TestPipeClosedUnread has one side write and close at once, and the other read
// late. Not a byte is lost.
func TestPipeClosedUnread(t *testing.T) {
	for _, size := range []int{1, 4, 1000, 4096, 60000, 64 << 10, 64<<10 + 1, 200000, 1 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			bothEnds(t, func(t *testing.T, p, peer socket) {
				want := pattern(size)
				closed := make(chan struct{})
				go func() {
					defer close(closed)
					if n, err := p.Write(want); n != size || err != nil {
						t.Errorf("wrote %d bytes, %v", n, err)
					}
					p.Close()
				}()
				if size <= 60000 { // more is not written before it is read
					receive(t, closed)
				}
				got, err := io.ReadAll(peer)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("read %d bytes, %v", len(got), err)
				}
				receive(t, closed)
				if _, err := peer.Write([]byte("x")); err == nil {
					t.Error("the pipe can still be written to")
				}
			})
		})
	}
}

// TestResponseOfEndedServer reads a response when the server has ended.
func TestResponseOfEndedServer(t *testing.T) {
	for _, size := range []int{0, 1, 1000, 60000} {
		s := serve(t, &Server{Handler: HandlerFunc(commands)})
		request := append([]byte("quit "), pattern(size)...)
		c := rawConn(t, s.path)
		send(t, c, string(wire(request)))
		s.wait(t)
		want := wire(pattern(size))
		if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want) {
			t.Errorf("a response of %d bytes: read %d, %v, want %d", size, len(got), err, len(want))
		}
	}
}

// TestPipeCloseRead ends reading behind what has arrived, however that is.
func TestPipeCloseRead(t *testing.T) {
	bothEnds(t, func(t *testing.T, p, peer socket) {
		for _, b := range []string{"he", "llo", ""} {
			send(t, peer, b)
		}
		p.closeRead()
		p.closeRead()
		p.SetReadDeadline(time.Time{}) // does not begin it anew
		b := make([]byte, 4)
		for _, want := range []string{"he", "llo"} { // or in other pieces
			if n, err := p.Read(b); err != nil || n == 0 {
				t.Errorf("%q, %v, want %q or so", b[:n], err, want)
			}
		}
		for range 2 {
			if n, err := p.Read(b); n != 0 || err != io.EOF {
				t.Errorf("at the end: %d, %v", n, err)
			}
		}
		send(t, p, "still") // the other direction
		if n, err := peer.Read(b); n != 4 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	})
	t.Run("while reading", func(t *testing.T) {
		bothEnds(t, func(t *testing.T, p, _ socket) {
			ended := make(chan error, 1)
			go func() {
				_, err := p.Read(make([]byte, 1))
				ended <- err
			}()
			<-time.After(10 * time.Millisecond) // most likely it waits by then
			p.closeRead()
			if err := receive(t, ended); err != io.EOF {
				t.Errorf("Read: %v", err)
			}
		})
	})
	t.Run("while the peer writes", func(t *testing.T) {
		bothEnds(t, func(t *testing.T, p, peer socket) {
			want := pattern(much)
			var wg sync.WaitGroup
			wg.Go(func() { peer.Write(want) })
			got := make([]byte, 10)
			if _, err := io.ReadFull(p, got); err != nil {
				t.Fatal(err)
			}
			p.closeRead()
			rest, err := io.ReadAll(p)
			if got = append(got, rest...); err != nil || !bytes.Equal(got, want[:len(got)]) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			p.Close()
			wg.Wait()
		})
	})
	t.Run("after the peer", func(t *testing.T) {
		bothEnds(t, func(t *testing.T, p, peer socket) {
			send(t, peer, "hello")
			peer.Close()
			p.closeRead()
			if got, err := io.ReadAll(p); err != nil || string(got) != "hello" {
				t.Errorf("%q, %v", got, err)
			}
		})
	})
}

// TestPipeWritesNothing has the peer write no bytes, of which Windows tells the
// reader. It is not the end.
func TestPipeWritesNothing(t *testing.T) {
	bothEnds(t, func(t *testing.T, p, peer socket) {
		read := make(chan string, 1)
		go func() {
			b, err := io.ReadAll(p)
			read <- fmt.Sprint(string(b), err)
		}()
		writeFile := windows.NewLazySystemDLL("kernel32.dll").NewProc("WriteFile")
		event, err := windows.CreateEvent(nil, 1, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer windows.CloseHandle(event)
		for _, b := range []string{"one ", "two "} {
			err := peer.control(func(h windows.Handle) error {
				o := &windows.Overlapped{HEvent: event | 1}
				var n uint32
				if ok, _, err := writeFile.Call(uintptr(h), 0, 0, uintptr(unsafe.Pointer(&n)), uintptr(unsafe.Pointer(o))); ok == 0 && err != windows.ERROR_IO_PENDING {
					return err
				}
				return windows.GetOverlappedResult(h, o, &n, true)
			})
			if err != nil {
				t.Error(err)
			}
			send(t, peer, b)
		}
		peer.Close()
		if got := receive(t, read); got != "one two <nil>" {
			t.Errorf("read %q", got)
		}
	})
}
