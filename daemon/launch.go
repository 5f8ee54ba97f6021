package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"example.com/simpleipc"
	"example.com/simpleipc/trace2"
)

// How much of what a program has written to its standard error an error shows.
const (
	maxTailLines = 10
	maxTailBytes = 4 << 10
)

// endPatience is how long a program that does not listen may take to end when
// it is asked to.
const endPatience = time.Second

// A StartError says that a server could not be started.
type StartError struct {
	// Path is where the server should have listened.
	Path string
	// Program is what was started.
	Program string
	// Stderr is the end of what the program has written to its standard
	// error, or to its Log: at most 10 lines.
	Stderr string
	// Err is the cause: an [*exec.ExitError] if the program has failed.
	Err error
}

// Error returns what was started, what became of it and its last words.
func (e *StartError) Error() string {
	text := fmt.Sprintf("daemon: start %s for %s: %v", e.Program, e.Path, e.Err)
	switch {
	case e.Stderr == "":
		return text
	case strings.Contains(e.Stderr, "\n"):
		return text + ":\n" + e.Stderr
	}
	return text + ": " + e.Stderr
}

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Err }

// errNotListening: the program has ended without an error, and nobody listens.
var errNotListening = errors.New("it has exited and does not listen")

// launch starts the program and connects to the server.
func (d *Daemon) launch(ctx context.Context) (*simpleipc.Conn, error) {
	within, cancel := d.limit(ctx)
	defer cancel()
	p, err := d.spawn(ctx)
	if err != nil {
		return nil, &StartError{Path: d.Path, Program: p.cmd.Path, Err: err}
	}
	defer p.messages.Close()
	defer func() { p.leave(err) }()

	alive, cancel := context.WithCancel(within)
	defer cancel()
	go func() {
		select {
		case <-p.ended:
			cancel()
		case <-alive.Done():
		}
	}()
	dialer := d.Dialer
	dialer.WaitNotFound = true
	dialer.NoWaitBusy = false
	dialer.Timeout = d.maxWait()
	c, err := dialer.Dial(alive, d.Path)
	if err != nil && p.hasEnded() {
		c, err = d.dial(within) // another process may have been faster
	}
	switch {
	case err == nil:
		p.settle(within, c.Peer().PID)
		missing := false
		if c, err = d.checked(within, c); isUnchecked(err) {
			c, missing, err = d.connect(within)
		}
		if err == nil {
			return c, nil
		}
		hangUp(c)
		if !missing || errors.Is(err, ErrOutdated) {
			return nil, err
		}
		err = errNotListening // any more
	case ctx.Err() != nil || !isAbsent(err) && within.Err() == nil:
		return nil, err
	case p.hasEnded():
		if err = p.err; err == nil {
			err = errNotListening
		}
	default:
		err = fmt.Errorf("it did not listen within %v: %w", d.maxWait(), context.DeadlineExceeded)
		p.end()
	}
	return nil, &StartError{Path: d.Path, Program: p.cmd.Path, Stderr: p.tail(), Err: err}
}

// A process is a program that was started.
type process struct {
	cmd      *exec.Cmd
	traced   trace2.ChildProcess
	messages *os.File // what it writes to its standard error
	begin    int64    // where that begins
	ended    chan struct{}
	err      error // how it has ended
}

// spawn starts the program. It gets nothing from this process but what the
// fields say: no terminal and no open file.
func (d *Daemon) spawn(ctx context.Context) (*process, error) {
	program, err := d.Program, error(nil)
	if program == "" {
		program, err = os.Executable()
	}
	p := &process{cmd: exec.Command(program, d.Args...), ended: make(chan struct{})}
	if err != nil {
		return p, err
	}
	if d.Dir != "" {
		if _, err := os.Stat(d.Dir); err != nil { // Start would blame the program
			return p, fmt.Errorf("working directory: %w", err)
		}
	}
	p.cmd.Dir = d.Dir
	env := d.Env
	if env == nil {
		env = os.Environ()
	}
	p.cmd.Env = append(slices.DeleteFunc(slices.Clone(env), isSystemd), startedEnv+"="+absolute(d.Path))
	if d.Log != "" {
		p.messages, err = os.OpenFile(d.Log, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
		p.cmd.Stdout = p.messages
	} else if p.messages, err = unnamedFile(); err == nil {
		p.cmd.Env = append(p.cmd.Env, stderrEnv+"="+fileID(p.messages))
	}
	if err != nil {
		return p, err
	}
	p.cmd.Stderr = p.messages
	if p.begin, err = p.messages.Seek(0, io.SeekEnd); err == nil {
		p.traced = trace2.Child(ctx, "daemon", p.cmd)
		err = startDetached(p.cmd)
	}
	if err != nil {
		p.traced.Exit()
		p.messages.Close()
		return p, err
	}
	// It is waited for as long as it runs, or it would stay a zombie.
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// isSystemd reports whether a variable is meant by systemd for this process,
// which may be a service.
func isSystemd(variable string) bool {
	name, _, _ := strings.Cut(variable, "=")
	switch name {
	case "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC":
		return true
	}
	return false
}

func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// leave traces what has become of the program: it has ended, or is left to
// itself, with an error if it does not serve.
func (p *process) leave(err error) {
	if p.hasEnded() {
		p.traced.Exit()
	} else {
		p.traced.Ready(err)
	}
}

// settle is called when a server listens, which may be another process's. Then
// the program is about to find that out and to end, which is waited for: if that
// server ended first, the program would become a server nobody has asked for.
func (p *process) settle(ctx context.Context, server int) {
	if isOf(server, p.cmd.Process.Pid) {
		return
	}
	select {
	case <-p.ended:
	case <-time.After(endPatience): // it is a server all the same, in its own way
	case <-ctx.Done():
	}
}

// end ends the program and the processes of its group, in order if they can.
func (p *process) end() {
	askToEnd(p.cmd.Process)
	select {
	case <-p.ended:
	case <-time.After(endPatience):
	}
	forceEnd(p.cmd.Process) // and what of its group has not ended with it
	<-p.ended
}

// tail returns the last lines that the program has written.
func (p *process) tail() string {
	end, err := p.messages.Seek(0, io.SeekEnd)
	if err != nil {
		return ""
	}
	begin := max(p.begin, end-maxTailBytes)
	text, _ := io.ReadAll(io.NewSectionReader(p.messages, begin, end-begin))
	if begin > p.begin { // within a line
		_, text, _ = bytes.Cut(text, []byte("\n"))
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-maxTailLines):], "\n")
}
