package simpleipc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"

	"example.com/simpleipc"
)

// A daemon that answers in capital letters until it is told to quit.
func ExampleServer() {
	path := filepath.Join(os.TempDir(), fmt.Sprintf("upper-%d.ipc", os.Getpid()))

	srv := &simpleipc.Server{
		Handler: simpleipc.HandlerFunc(func(ctx context.Context, w *simpleipc.ResponseWriter, r *simpleipc.Request) error {
			if string(r.Body) == "quit" {
				return simpleipc.Quit
			}
			_, err := w.Write(bytes.ToUpper(r.Body))
			return err
		}),
	}
	l, err := simpleipc.Listen(context.Background(), path)
	if err != nil {
		log.Fatal(err)
	}
	// Clients can connect from here on.
	done := make(chan error)
	go func() { done <- srv.Serve(context.Background(), l) }()

	answer, err := simpleipc.Call(context.Background(), path, []byte("hello"))
	fmt.Printf("%s %v\n", answer, err)
	answer, err = simpleipc.Call(context.Background(), path, []byte("quit"))
	fmt.Printf("%q %v\n", answer, err)
	fmt.Println(<-done)
	// Output:
	// HELLO <nil>
	// "" <nil>
	// server closed
}

// What a command says when its daemon is not there.
func ExampleCall() {
	_, err := simpleipc.Call(context.Background(), "/run/no-such-daemon.ipc", []byte("hello"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		fmt.Println("the daemon has not been started")
	case errors.Is(err, simpleipc.ErrNotListening):
		fmt.Println("the daemon has died or is overloaded")
	case err != nil:
		fmt.Println(err)
	}
	// Output: the daemon has not been started
}

// Many calls on one connection, with the response's memory used again.
func ExampleConn_AppendCall() {
	path, stop := startCounter()
	defer stop()

	conn, err := new(simpleipc.Dialer).Dial(context.Background(), path)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	var response []byte
	for _, request := range []string{"a", "bb", "ccc"} {
		response, err = conn.AppendCall(context.Background(), response[:0], []byte(request))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s bytes\n", response)
	}
	// Output:
	// 1 bytes
	// 2 bytes
	// 3 bytes
}

// A response that is copied as it arrives, however large it is.
func ExampleDialer_CallStream() {
	path, stop := startCounter()
	defer stop()

	response, err := new(simpleipc.Dialer).CallStream(context.Background(), path, strings.NewReader("how long is this?"))
	if err != nil {
		log.Fatal(err)
	}
	defer response.Close()
	if _, err := response.WriteTo(os.Stdout); err != nil {
		log.Fatal(err)
	}
	// Output: 17
}

func ExampleProbe() {
	state, err := simpleipc.Probe(context.Background(), "/run/no-such-daemon.ipc")
	fmt.Println(state)
	fmt.Println(errors.Is(err, fs.ErrNotExist))
	// Output:
	// path not found
	// true
}

// A server for a group: its members may connect, and are let in.
func ExampleListenConfig() {
	path := filepath.Join(os.TempDir(), fmt.Sprintf("group-%d.ipc", os.Getpid()))
	l, err := simpleipc.ListenConfig{Mode: 0o660}.Listen(context.Background(), path)
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	info, err := os.Stat(l.Path())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(info.Mode())
	srv := &simpleipc.Server{
		Authorize: simpleipc.AnyUser, // whoever the socket's permissions let in
	}
	_ = srv // Serve(ctx, l)
	// Output: Srw-rw----
}

// startCounter starts a server that answers with the size of the request.
func startCounter() (path string, stop func()) {
	path = filepath.Join(os.TempDir(), fmt.Sprintf("count-%d.ipc", os.Getpid()))
	l, err := simpleipc.Listen(context.Background(), path)
	if err != nil {
		log.Fatal(err)
	}
	srv := &simpleipc.Server{
		Handler: simpleipc.HandlerFunc(func(ctx context.Context, w *simpleipc.ResponseWriter, r *simpleipc.Request) error {
			_, err := fmt.Fprint(w, len(r.Body))
			return err
		}),
	}
	go srv.Serve(context.Background(), l)
	return path, func() { srv.Shutdown(context.Background()) }
}
