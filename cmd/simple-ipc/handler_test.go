package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"example.com/simpleipc"
)

// serve serves h until the test ends, and returns the path.
func serve(t *testing.T, h simpleipc.Handler) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ipc")
	l, err := simpleipc.Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &simpleipc.Server{Handler: h}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		srv.Close()
		if err := <-ended; !errors.Is(err, simpleipc.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return path
}

func TestHandler(t *testing.T) {
	plain, echo := serve(t, handler{}), serve(t, handler{echo: true})
	all := string(func() (b []byte) {
		for i := range 256 {
			b = append(b, byte(i))
		}
		return b
	}())
	for _, tt := range []struct{ path, request, want string }{
		{plain, "ping", "pong"},
		{plain, "ping ", "unhandled command: ping "},
		{plain, "Ping", "unhandled command: Ping"},
		{plain, "", "unhandled command: "},
		{plain, all, "unhandled command: " + all},
		{plain, "sendbytes", "unhandled command: sendbytes"},
		{plain, "sendbytes ", "rcvd:00000000\n"},
		{plain, "sendbytes x", "rcvd:x00000001\n"},
		{plain, "sendbytes " + strings.Repeat("y", 70000), "rcvd:y00070000\n"},
		{plain, "sendbytes \xff\xff", "rcvd:\xff00000002\n"},
		{plain, "sendbytes   ", "rcvd: 00000002\n"},
		{plain, "sendbytes xxyxz", "errs:2\n"},
		{plain, "sendbytes " + strings.Repeat("a", 5) + strings.Repeat("b", 7), "errs:7\n"},
		{plain, "echo x", "unhandled command: echo x"},
		{echo, "echo x", "x"},
		{echo, "echo ", ""},
		{echo, "echo " + all, all},
		{echo, "echo", "unhandled command: echo"},
		{echo, "ping", "pong"},
	} {
		got, err := simpleipc.Call(t.Context(), tt.path, []byte(tt.request))
		if err != nil || string(got) != tt.want {
			t.Errorf("%.30q is answered by %.100q, %v; want %.100q", tt.request, got, err, tt.want)
		}
	}
}

func TestHandlerRows(t *testing.T) {
	path := serve(t, handler{})
	var want bytes.Buffer
	for i := range bigRows {
		digits := strconv.Itoa(i)
		want.WriteString("big: " + strings.Repeat("0", 75-len(digits)) + digits + "\n")
	}
	for _, request := range []string{"big", "chunk"} {
		got, err := simpleipc.Call(t.Context(), path, []byte(request))
		if err != nil || !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%s: %d bytes, %v; want the %d of the rows", request, len(got), err, want.Len())
		}
	}
}

// Every row of a slow response is sent when it is made, and a client that
// hangs up is noticed.
func TestHandlerSlow(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Run("serving", func(t *testing.T) {
		r, err := new(simpleipc.Dialer).CallStream(t.Context(), serve(t, handler{}), strings.NewReader("slow"))
		if err != nil {
			t.Fatal(err)
		}
		row := make([]byte, 81)
		for i := range 3 {
			if _, err := io.ReadFull(r, row); err != nil {
				t.Fatal(err)
			}
			if want := appendRow(nil, i); !bytes.Equal(row, want) {
				t.Errorf("got %q, want %q", row, want)
			}
		}
		r.Close()
	})
}

func TestHandlerQuit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ipc")
	l, err := simpleipc.Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- (&simpleipc.Server{Handler: quitOn("quit", handler{})}).Serve(context.Background(), l)
	}()
	if got, err := simpleipc.Call(t.Context(), path, []byte("quit")); err != nil || len(got) > 0 {
		t.Errorf("the answer is %q, %v", got, err)
	}
	if err := <-ended; err != simpleipc.ErrServerClosed {
		t.Errorf("Serve: %v", err)
	}
}
