package simpleipc_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

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

// A server that answers while it works: its client sees each line at once.
func ExampleResponseWriter_Send() {
	path, stop := start(&simpleipc.Server{
		Handler: simpleipc.HandlerFunc(func(ctx context.Context, w *simpleipc.ResponseWriter, r *simpleipc.Request) error {
			for _, step := range []string{"compiling", "linking", "done"} {
				fmt.Fprintln(w, step)
				if err := w.Send(); err != nil {
					return err // the client has gone
				}
			}
			return nil
		}),
	})
	defer stop()

	response, err := new(simpleipc.Dialer).CallStream(context.Background(), path, strings.NewReader("build"))
	if err != nil {
		log.Fatal(err)
	}
	defer response.Close()
	lines := bufio.NewScanner(response)
	for lines.Scan() {
		fmt.Println("now:", lines.Text())
	}
	// A response that was broken off is an error here.
	fmt.Println(lines.Err())
	// Output:
	// now: compiling
	// now: linking
	// now: done
	// <nil>
}

// A server of requests that should not be in memory as a whole.
func ExampleServer_streamRequests() {
	path, stop := start(&simpleipc.Server{
		StreamRequests: true,
		Handler: simpleipc.HandlerFunc(func(ctx context.Context, w *simpleipc.ResponseWriter, r *simpleipc.Request) error {
			sum := sha256.New()
			if _, err := io.Copy(sum, r); err != nil {
				return err
			}
			_, err := fmt.Fprintf(w, "%x", sum.Sum(nil)[:4])
			return err
		}),
	})
	defer stop()

	response, err := new(simpleipc.Dialer).CallStream(context.Background(), path, strings.NewReader(strings.Repeat("a", 1e6)))
	if err != nil {
		log.Fatal(err)
	}
	defer response.Close()
	if _, err := io.Copy(os.Stdout, response); err != nil {
		log.Fatal(err)
	}
	// Output: cdc76e5c
}

// A client that waits up to five seconds for a server which is just starting,
// and that does not want an answer of more than 1 MiB.
func ExampleDialer() {
	path, stop := startCounter()
	defer stop()

	d := simpleipc.Dialer{
		WaitNotFound: true,
		Timeout:      5 * time.Second,
		MaxResponse:  1 << 20,
	}
	answer, err := d.Call(context.Background(), path, []byte("four"))
	fmt.Printf("%s %v\n", answer, err)
	// Output: 4 <nil>
}

// A request that must not be made twice: is it safe to try again?
func ExampleError() {
	path, stop := start(&simpleipc.Server{
		Handler: simpleipc.HandlerFunc(func(context.Context, *simpleipc.ResponseWriter, *simpleipc.Request) error {
			return errors.New("the disk is full")
		}),
	})
	defer stop()

	_, err := simpleipc.Call(context.Background(), path, []byte("pay 5"))
	var e *simpleipc.Error
	if errors.As(err, &e) {
		fmt.Println(e.Op, e.State)
		fmt.Println("closed:", errors.Is(err, simpleipc.ErrConnClosed))
		fmt.Println("may have been paid:", e.MaybeSeen)
	}
	// Output:
	// call listening
	// closed: true
	// may have been paid: true
}

// A server and a client that speak lines instead of Simple IPC.
func ExampleRawConn() {
	path := filepath.Join(os.TempDir(), fmt.Sprintf("raw-%d.ipc", os.Getpid()))
	l, err := simpleipc.Listen(context.Background(), path)
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if simpleipc.SameUser(conn.Peer()) == nil {
			fmt.Fprintln(conn, "hello, process", conn.Peer().PID)
		}
	}()

	conn, err := new(simpleipc.Dialer).DialRaw(context.Background(), path)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	line, err := bufio.NewReader(conn).ReadString('\n')
	fmt.Println(line == fmt.Sprintln("hello, process", os.Getpid()), err)
	// Output: true <nil>
}

func ExampleProbe() {
	state, err := simpleipc.Probe(context.Background(), "/run/no-such-daemon.ipc")
	fmt.Println(state)
	fmt.Println(errors.Is(err, fs.ErrNotExist))
	// Output:
	// path not found
	// true
}

// startCounter starts a server that answers with the size of the request.
func startCounter() (path string, stop func()) {
	return start(&simpleipc.Server{
		Handler: simpleipc.HandlerFunc(func(ctx context.Context, w *simpleipc.ResponseWriter, r *simpleipc.Request) error {
			_, err := fmt.Fprint(w, len(r.Body))
			return err
		}),
	})
}

// start starts a server at a temporary path.
func start(srv *simpleipc.Server) (path string, stop func()) {
	path = filepath.Join(os.TempDir(), fmt.Sprintf("example-%d.ipc", os.Getpid()))
	l, err := simpleipc.Listen(context.Background(), path)
	if err != nil {
		log.Fatal(err)
	}
	go srv.Serve(context.Background(), l)
	return path, func() { srv.Shutdown(context.Background()) }
}
