package simpleipc_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/simpleipc"
	"example.com/simpleipc/daemon"
)

// The README shows the bodies of these two.

func Example_server() {
	srv := &simpleipc.Server{
		Handler: simpleipc.HandlerFunc(func(ctx context.Context, w *simpleipc.ResponseWriter, r *simpleipc.Request) error {
			if string(r.Body) == "quit" {
				return simpleipc.Quit // answer, then shut down in order
			}
			_, err := fmt.Fprintf(w, "hello, %s (process %d)", r.Body, r.Peer.PID)
			return err
		}),
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	l, err := simpleipc.Listen(ctx, "hello.ipc") // the path is ours; clients queue
	if err != nil {
		log.Fatal(err)
	}
	// Get ready here, as long as it takes.
	if err := srv.Serve(ctx, l); !errors.Is(err, simpleipc.ErrServerClosed) {
		log.Fatal(err)
	}
}

func Example_client() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	answer, err := simpleipc.Call(ctx, "hello.ipc", []byte("world"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		log.Fatal("the daemon has not been started")
	case errors.Is(err, simpleipc.ErrUnauthorized):
		log.Fatal("that is somebody else's daemon")
	case err != nil:
		log.Fatal(err)
	}
	fmt.Printf("%s\n", answer)
}

func Example_daemon() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	d := &daemon.Daemon{
		Path: filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "hello.ipc"),
		Args: []string{"serve"}, // of this same program
	}
	answer, err := d.Call(ctx, []byte("world"))
	if err != nil {
		log.Fatal(err) // if it could not start, with what it has said
	}
	fmt.Printf("%s\n", answer)
}

// TestReadme checks that the README's Go code is what is compiled here.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("readme_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(readme), "```go\n")[1:]
	if len(blocks) != 3 {
		t.Errorf("%d blocks of Go, want 3", len(blocks))
	}
	for _, b := range blocks {
		code, _, _ := strings.Cut(b, "```")
		var body strings.Builder
		for line := range strings.Lines(code) {
			body.WriteString("\t" + line)
		}
		if !strings.Contains(string(source), "() {\n"+body.String()+"}\n") {
			t.Errorf("not the body of an example:\n%s", code)
		}
	}
}
