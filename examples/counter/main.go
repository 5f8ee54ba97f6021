// Command counter counts, for all who ask: a small daemon that is started by
// its first client and ends when nobody has asked it for a while.
//
//	$ counter
//	1
//	$ counter --add=10
//	11
//	$ counter stop
//
// The count is in the daemon's memory, so it begins anew when the daemon does.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"example.com/simpleipc"
	"example.com/simpleipc/daemon"
)

// quit is the request that ends the daemon. Any other is a number to add.
const quit = "quit"

func main() {
	path := flag.String("socket", defaultPath(), "`PATH` of the daemon's socket")
	add := flag.Int64("add", 1, "add `N` to the count")
	idle := flag.Duration("idle", 10*time.Minute, "let a daemon that is started end after this `TIME` without a request")
	flag.Usage = func() {
		_, _ = fmt.Fprintln(flag.CommandLine.Output(), "Usage: counter [--socket=PATH] [--add=N] [--idle=TIME] [stop]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if err := run(*path, *add, *idle, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "counter:", err)
		os.Exit(1)
	}
}

// defaultPath is in a directory that is this user's alone, if there is one.
func defaultPath() string {
	dir := os.Getenv("XDG_RUNTIME_DIR")
	switch {
	case dir != "":
	case runtime.GOOS == "windows":
		dir = os.Getenv("LOCALAPPDATA")
	default:
		dir = filepath.Join(os.TempDir(), fmt.Sprintf("counter-%d", os.Getuid())) // made with mode 0700
	}
	return filepath.Join(dir, "counter.ipc")
}

func run(path string, add int64, idle time.Duration, args []string) error {
	ctx := context.Background()
	path, err := filepath.Abs(path) // the daemon's directory is another one
	if err != nil {
		return err
	}
	d := daemon.Daemon{
		Path: path,
		Args: []string{"--socket=" + path, "--idle=" + idle.String(), "serve"},
		Dir:  "/",
		Quit: []byte(quit),
	}
	switch {
	case len(args) == 0:
		count, err := d.Call(ctx, strconv.AppendInt(nil, add, 10))
		if err != nil {
			return err
		}
		fmt.Printf("%s\n", count)
		return nil
	case len(args) == 1 && args[0] == "stop":
		if err := d.Stop(ctx); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, simpleipc.ErrNotListening) {
			return err
		}
		return nil
	case len(args) == 1 && args[0] == "serve": // by a client
		return serve(ctx, path, idle)
	}
	return fmt.Errorf("unknown command %q; see --help", args)
}

// serve is the daemon.
func serve(ctx context.Context, path string, idle time.Duration) error {
	l, err := daemon.Listen(ctx, path)
	if err != nil {
		return err
	}
	srv := &simpleipc.Server{Handler: new(counter), IdleExit: idle}
	return daemon.Serve(ctx, srv, l)
}

// A counter adds up what is asked of it.
type counter struct{ n atomic.Int64 }

func (c *counter) ServeIPC(_ context.Context, w *simpleipc.ResponseWriter, r *simpleipc.Request) error {
	if string(r.Body) == quit {
		return simpleipc.Quit
	}
	n, err := strconv.ParseInt(string(r.Body), 10, 64)
	if err != nil {
		return err // the client gets an error, too
	}
	_, err = w.Write(strconv.AppendInt(nil, c.n.Add(n), 10))
	return err
}
