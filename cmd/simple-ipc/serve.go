package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"example.com/simpleipc"
	"example.com/simpleipc/daemon"
)

// runDaemon serves until it is asked to quit.
func runDaemon(o *options, _ []string) error {
	var h simpleipc.Handler = handler{echo: o.echo}
	var program *commandHandler
	if o.exec != nil {
		if o.echo {
			return &usageError{"--echo and --exec are two ways to answer", "use one of them"}
		}
		var err error
		if program, err = newCommandHandler(o.exec); err != nil {
			return err
		}
		h = program
	}
	l, err := daemon.Listen(context.Background(), o.name)
	if err != nil {
		return fmt.Errorf("cannot serve '%s': %w", o.name, reason(err))
	}
	if program != nil {
		program.name = l.Path()
		defer program.wait()
	}
	srv := &simpleipc.Server{Handler: quitOn(o.quit, h), Workers: o.threads, IdleExit: o.idleExit, Logger: newLogger(o)}
	if err := daemon.Serve(context.Background(), srv, l); err != nil {
		return fmt.Errorf("the server at '%s' has ended: %w", o.name, reason(err))
	}
	return nil
}

// newLogger returns where the server logs to, or nil for nowhere. That a
// command has failed is told in any case: the client is not.
func newLogger(o *options) *slog.Logger {
	level := slog.LevelDebug
	switch {
	case o.verbose:
	case o.exec != nil:
		level = slog.LevelError
	default:
		return nil
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}
