package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"example.com/simpleipc"
)

// stderrEnv names the file that a starter reads a program's standard error
// from, for as long as it waits for it to listen.
const stderrEnv = "SIMPLEIPC_STDERR"

// Listen returns a listener for path: systemd's socket if this process was
// started by socket activation, and otherwise one that has claimed the path,
// as [simpleipc.Listen] does.
//
// systemd's socket must be the one at path; the unit's ListenStream= says
// where it is. If path is empty, and systemd has passed one socket on, it is
// that one. A program with several servers calls Listen for each.
func Listen(ctx context.Context, path string) (*simpleipc.Listener, error) {
	listensAsTold()
	l, err := listenPassed(path)
	if l != nil || err != nil {
		return l, err
	}
	return simpleipc.Listen(ctx, path)
}

// listensAsTold forgets that this process was started to listen.
func listensAsTold() { _ = os.Unsetenv(startedEnv) } // which only fails for bad names

// Serve serves l until srv is shut down, ctx ends or the process is asked to
// end, by SIGTERM or an interrupt. It returns nil when srv has shut down in
// order, and otherwise the error of [simpleipc.Server.Serve]. A second signal
// closes the server at once, which is an error.
//
// A service manager that wants to know is notified: that the server is ready,
// now; and, when it begins to shut down, that it is stopping. If the process
// was started by a [Daemon] without a Log, its standard error is discarded
// from now on.
func Serve(ctx context.Context, srv *simpleipc.Server, l *simpleipc.Listener) error {
	log := srv.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	ctx, shutDown := context.WithCancelCause(ctx)
	defer shutDown(nil)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	defer signal.Stop(signals)
	listensAsTold()
	leaveStarter(log)
	notify(log, "READY=1")
	served, watched := make(chan struct{}), make(chan struct{})
	stopping := srv.Stopping()
	var asked, forced os.Signal
	go func() {
		defer close(watched)
		for forced == nil {
			select {
			case s := <-signals:
				if asked != nil {
					forced = s
					_ = srv.Close() // it has none
				} else {
					asked = s
					shutDown(fmt.Errorf("signal %v", s))
				}
			case <-stopping:
				stopping = nil
				notify(log, "STOPPING=1")
			case <-served:
				return
			}
		}
	}()
	err := srv.Serve(ctx, l)
	close(served)
	<-watched
	if stopping != nil {
		notify(log, "STOPPING=1")
	}
	switch {
	case forced != nil:
		return fmt.Errorf("a second signal (%v) has ended it at once", forced)
	case errors.Is(err, simpleipc.ErrServerClosed):
		return nil
	}
	return err
}

// leaveStarter lets go of the file that a starter reads this process's standard
// error from. It would grow for as long as this process runs, and nobody could
// see it.
func leaveStarter(log *slog.Logger) {
	id, ok := os.LookupEnv(stderrEnv)
	if !ok {
		return
	}
	_ = os.Unsetenv(stderrEnv) // which only fails for bad names
	if id == "" || id != fileID(os.Stderr) {
		return // it was redirected, or is another process's
	}
	if err := discardStderr(); err != nil {
		log.Warn("standard error cannot be discarded", "err", err)
	}
}
