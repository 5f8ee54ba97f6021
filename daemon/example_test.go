package daemon_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"example.com/simpleipc"
	"example.com/simpleipc/daemon"
)

// A client does not care whether its server runs.
func ExampleDaemon_Call() {
	d := daemon.Daemon{
		Path: filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "counter.ipc"),
		Args: []string{"serve"}, // of this same program
	}
	answer, err := d.Call(context.Background(), []byte("next"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", answer)
}

// A client of version 2 replaces a server of version 1, and is content with
// one of version 3.
func ExampleDaemon_check() {
	const version = 2
	d := daemon.Daemon{
		Path: filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "counter.ipc"),
		Args: []string{"serve"},
		Quit: []byte("quit"),
		Check: func(ctx context.Context, c *simpleipc.Conn) error {
			answer, err := c.Call(ctx, []byte("version"))
			if err != nil {
				return err
			}
			if v, err := strconv.Atoi(string(answer)); err != nil || v < version {
				return fmt.Errorf("%w: its version is %s", daemon.ErrOutdated, answer)
			}
			return nil
		},
	}
	c, err := d.Dial(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
}

// The daemon: it gets ready, claims its path, and serves until it is asked to
// end, or nobody has asked it anything for ten minutes.
func ExampleServe() {
	srv := &simpleipc.Server{
		IdleExit: 10 * time.Minute,
		Handler: simpleipc.HandlerFunc(func(_ context.Context, w *simpleipc.ResponseWriter, r *simpleipc.Request) error {
			if string(r.Body) == "quit" {
				return simpleipc.Quit
			}
			_, err := w.WriteString(time.Now().Format(time.RFC3339))
			return err
		}),
	}
	ctx := context.Background()
	l, err := daemon.Listen(ctx, filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "clock.ipc"))
	if err != nil {
		log.Fatal(err) // Another server is listening, for instance. The starter sees this.
	}
	if err := daemon.Serve(ctx, srv, l); err != nil {
		log.Fatal(err)
	}
}
