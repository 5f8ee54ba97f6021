package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"example.com/simpleipc"
	"example.com/simpleipc/daemon"
)

// How long things may take until somebody gives up.
const (
	startPatience    = 10 * time.Second // the daemon's start and end
	exchangePatience = 2 * time.Minute  // sending or receiving an object
)

// workers is how many objects the daemon sends and receives at the same time.
const workers = 64

// serve is the daemon.
func (o *options) serve() error {
	ctx := context.Background()
	l, err := daemon.Listen(ctx, o.socket())
	if err != nil {
		return err
	}
	s, err := openStore(o.dir, int64(o.maxSize))
	if err != nil {
		_ = l.Close() // err comes first
		return err
	}
	srv := newServer(s)
	srv.IdleExit = o.idle
	srv.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return daemon.Serve(ctx, srv, l)
}

func newServer(s *store) *simpleipc.Server {
	return &simpleipc.Server{
		Handler:        handler{s},
		Workers:        workers,
		StreamRequests: true,
		MaxRequest:     -1, // the store has a limit
		ReadTimeout:    exchangePatience,
	}
}

func (o *options) socket() string { return filepath.Join(o.dir, "socket") }

// daemon says how to reach the daemon, and how to start it.
func (o *options) daemon() *daemon.Daemon {
	return &daemon.Daemon{
		Path:    o.socket(),
		Args:    []string{"serve", "--dir=" + o.dir, "--max-size=" + o.maxSize.String(), "--idle=" + o.idle.String()},
		Dir:     "/",
		Log:     filepath.Join(o.dir, "log"),
		MaxWait: startPatience,
		Quit:    []byte("quit"),
	}
}
