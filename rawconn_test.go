package simpleipc

import (
	"errors"
	"io"
	"os"
	"runtime"
	"testing"
	"time"
)

// TestRawConn has a client and a server speak a protocol of their own.
func TestRawConn(t *testing.T) {
	l, err := Listen(t.Context(), tempPath(t))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			served <- err
			return
		}
		defer c.Close()
		if c.Peer() != thisProcess() && c.Peer().PID != unknown {
			t.Errorf("the client is %v", c.Peer())
		}
		c.SetDeadline(time.Now().Add(patience))
		question := make([]byte, len("what?"))
		_, err = io.ReadFull(c, question)
		if err == nil && runtime.GOOS != "windows" {
			if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("after the half-close: %d, %v", n, err)
			}
		}
		if err == nil {
			_, err = c.Write(append(question, "..."...))
		}
		served <- err
	}()
	c, err := new(Dialer).DialRaw(t.Context(), l.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	send(t, c, "what?")
	if err := c.CloseWrite(); err != nil && !(runtime.GOOS == "windows" && errors.Is(err, errors.ErrUnsupported)) {
		t.Error(err)
	}
	if answer, err := io.ReadAll(c); err != nil || string(answer) != "what?..." {
		t.Errorf("the answer is %q, %v", answer, err)
	}
	if err := receive(t, served); err != nil {
		t.Error(err)
	}
	c.SetDeadline(longAgo)
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("reading after the deadline: %v", err)
	}
	c.Close()
	if _, err := c.Write([]byte("x")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("writing after Close: %v", err)
	}
	if err := c.CloseWrite(); !errors.Is(err, os.ErrClosed) && runtime.GOOS != "windows" {
		t.Errorf("CloseWrite after Close: %v", err)
	}
}

func TestDialRawRefuses(t *testing.T) {
	l, err := Listen(t.Context(), tempPath(t))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	no := errors.New("no")
	d := Dialer{Authorize: func(Peer) error { return no }}
	if c, err := d.DialRaw(t.Context(), l.Path()); c != nil || !errors.Is(err, no) || !errors.Is(err, ErrUnauthorized) {
		t.Errorf("%v, %v", c, err)
	}
}

// Close ends Accept.
func TestAcceptEnds(t *testing.T) {
	l, err := Listen(t.Context(), tempPath(t))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		done <- err
	}()
	l.Close()
	err = receive(t, done)
	var e *Error
	if !errors.Is(err, os.ErrClosed) || !errors.As(err, &e) || e.Op != "accept" {
		t.Errorf("Accept returned %v", err)
	}
}
