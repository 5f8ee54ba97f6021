package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"example.com/simpleipc"
	"example.com/simpleipc/daemon"
)

// background returns the daemon that start-daemon starts and stop-daemon stops.
func background(o *options) *daemon.Daemon {
	return &daemon.Daemon{
		Path:    o.name,
		Args:    o.runDaemonArgs(),
		Log:     o.log,
		MaxWait: max(o.maxWait, 1), // 0 would be the default
		Quit:    []byte(o.quit),
		Waiting: showWaiting(),
	}
}

// showWaiting returns what tells people at a terminal that something takes its
// time, or nil.
func showWaiting() func(time.Duration) {
	if _, ok := terminalWidth(os.Stderr); !ok {
		return nil
	}
	return func(waited time.Duration) { fmt.Fprintf(os.Stderr, "\rwaiting for the server, %v \x1b[K", waited) }
}

// startDaemon lets the tool serve in the background.
func startDaemon(o *options, _ []string) error {
	err := background(o).Start(context.Background())
	if err == nil {
		return nil
	}
	var e *daemon.StartError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the server at '%s' did not listen within %v", o.name, o.maxWait)
	case !errors.As(err, &e):
		return fmt.Errorf("cannot serve '%s': %w", o.name, reason(err))
	case e.Stderr == "":
		return fmt.Errorf("cannot start a server: %w", e.Err)
	}
	// It has said why, as this process would.
	if own, ok := strings.CutPrefix(e.Stderr, "error: "); ok {
		return errors.New(own)
	}
	return fmt.Errorf("the server has ended: %w\n%s", e.Err, e.Stderr)
}

// stopDaemon ends the server, wherever it was started.
func stopDaemon(o *options, _ []string) error {
	err := background(o).Stop(context.Background())
	var e *simpleipc.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the server at '%s' still listens after %v", o.name, o.maxWait)
	case errors.As(err, &e) && e.Op == "dial":
		return unreachable(o.name, err)
	}
	return failed(o.name, err)
}
