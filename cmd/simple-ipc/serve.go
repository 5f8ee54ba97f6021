package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"

	"example.com/simpleipc"
	"example.com/simpleipc/daemon"
	"example.com/simpleipc/trace2"
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
		trace2.CmdMode(context.Background(), "exec")
	}
	ctx := context.Background()
	trace2.DefParam(ctx, "command", "threads", strconv.Itoa(o.threads))
	trace2.DefParam(ctx, "command", "idle-exit", o.idleExit.String())
	l, err := daemon.Listen(ctx, o.name)
	if err != nil {
		return fmt.Errorf("cannot serve '%s': %w", o.name, reason(err))
	}
	if program != nil {
		program.name = l.Path()
		defer program.wait()
	}
	srv := &simpleipc.Server{Handler: quitOn(o.quit, h), Workers: o.threads, IdleExit: o.idleExit, Logger: newLogger(o), SlowRequest: o.logSlow}
	if err := daemon.Serve(ctx, srv, l); err != nil {
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
	case o.logFormat != "":
		level = slog.LevelInfo
	case o.logSlow > 0:
		level = slog.LevelWarn
	case o.exec != nil:
		level = slog.LevelError
	default:
		return nil
	}
	options := &slog.HandlerOptions{Level: level}
	if o.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, options))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, options))
}
