package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"example.com/simpleipc"
)

// runDaemon serves until it is asked to quit.
func runDaemon(o *options, _ []string) error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	l, err := simpleipc.Listen(context.Background(), o.name)
	if err != nil {
		return fmt.Errorf("cannot serve '%s': %w", o.name, reason(err))
	}
	srv := &simpleipc.Server{Handler: handler{echo: o.echo}, Workers: o.threads}
	if o.verbose {
		srv.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	ctx, shutDown := context.WithCancel(context.Background())
	defer shutDown()
	forced := make(chan os.Signal, 1)
	go func() {
		<-signals
		shutDown()
		forced <- <-signals
		_ = srv.Close() // it has none
	}()
	err = srv.Serve(ctx, l)
	select {
	case s := <-forced:
		return fmt.Errorf("the server at '%s' was ended at once by a second signal: %v", o.name, s)
	default:
	}
	if errors.Is(err, simpleipc.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("the server at '%s' has ended: %w", o.name, reason(err))
}

// startDaemon lets the tool serve in the background.
func startDaemon(o *options, _ []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), o.maxWait)
	defer cancel()
	d, err := spawn(o)
	if err != nil {
		return fmt.Errorf("cannot start a server: %w", err)
	}
	dialing, stop := context.WithCancel(ctx)
	go func() {
		<-d.ended
		stop()
	}()
	if d.listens(dialing, o) {
		return nil
	}
	// The path cannot be had. Our server says why when it ends.
	select {
	case <-d.ended:
		return d.failure()
	case <-ctx.Done():
		d.end()
		return fmt.Errorf("the server at '%s' did not listen within %v", o.name, o.maxWait)
	}
}

// listens waits until the daemon listens, and reports whether it does. Until
// then, another server may still be there, which is about to end.
func (d *daemon) listens(ctx context.Context, o *options) bool {
	dialer := simpleipc.Dialer{WaitNotFound: true, Timeout: o.maxWait}
	for {
		c, err := dialer.Dial(ctx, o.name)
		if err != nil {
			return false
		}
		pid := c.Peer().PID
		c.Close()
		if pid == d.Process.Pid || pid == -1 { // which is not told on this platform
			return true
		}
		if pause(ctx, 5*time.Millisecond) != nil {
			return false
		}
	}
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A daemon is a server that was started in the background.
type daemon struct {
	*exec.Cmd
	errors *os.File // what it writes to its standard error
	ended  chan struct{}
}

// spawn starts a daemon. It gets nothing from this process but the environment
// and the working directory: no terminal and no open file.
func spawn(o *options) (*daemon, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	// A file without a name, since a pipe would not outlive this process.
	messages, err := os.CreateTemp("", "simple-ipc")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(messages.Name()); err != nil {
		return nil, err
	}
	closeAllOnExec()
	d := &daemon{
		Cmd:    exec.Command(exe, "run-daemon", "--name="+o.name, "--threads="+strconv.Itoa(o.threads)),
		errors: messages,
		ended:  make(chan struct{}),
	}
	d.Stderr = messages
	d.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := d.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = d.Wait() // ProcessState tells
		close(d.ended)
	}()
	return d, nil
}

// closeAllOnExec keeps files which this process has inherited from being
// passed on; those which it has opened itself are not.
func closeAllOnExec() {
	entries, _ := os.ReadDir("/dev/fd")
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}

// failure is why the daemon has ended, in its own words if it found any.
func (d *daemon) failure() error {
	const most = 64 << 10
	text, _ := io.ReadAll(io.NewSectionReader(d.errors, 0, most))
	message := strings.TrimSpace(string(text))
	if own, ok := strings.CutPrefix(message, "error: "); ok {
		return errors.New(own)
	}
	return errors.New(strings.TrimSpace(fmt.Sprintf("the server has ended: %v\n%s", d.ProcessState, message)))
}

// end ends the daemon, in order if it can.
func (d *daemon) end() {
	_ = d.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-d.ended:
	case <-time.After(time.Second):
		_ = d.Process.Kill()
		<-d.ended
	}
}

// stopDaemon ends the server, wherever it was started.
func stopDaemon(o *options, _ []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), o.maxWait)
	defer cancel()
	c, err := connect(o.name)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err = c.Call(ctx, []byte("quit")); err == nil {
		err = awaitSilence(ctx, o.name, c.Peer().PID)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("the server at '%s' still listens after %v", o.name, o.maxWait)
	}
	if err != nil {
		return failed(o.name, err)
	}
	return nil
}

// awaitSilence waits until the server with this process ID does not listen any
// more, or until ctx ends. If the ID is not known, any server is meant.
func awaitSilence(ctx context.Context, name string, pid int) error {
	dialer := simpleipc.Dialer{NoWaitBusy: true}
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		c, err := dialer.Dial(ctx, name)
		if err == nil {
			other := pid > 0 && c.Peer().PID != pid
			c.Close()
			if other {
				return nil // a new server has taken the path
			}
		}
		var e *simpleipc.Error
		if errors.As(err, &e) && !errors.Is(err, syscall.EAGAIN) { // that is a busy server
			switch e.State {
			case simpleipc.NotListening, simpleipc.PathNotFound, simpleipc.InvalidPath:
				return nil
			}
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}
