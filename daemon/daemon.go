// Package daemon starts servers on demand, and stops them.
//
// A program that wants an answer should not care whether its server runs. It
// says how to start it, and asks:
//
//	d := daemon.Daemon{Path: "/run/user/1000/counter.ipc", Args: []string{"serve"}}
//	answer, err := d.Call(ctx, []byte("next"))
//
// [Daemon.Dial] and [Daemon.Call] connect to the server, and start it first if
// there is none. Of any number of processes that do this at the same time, one
// starts a server and all are served by it. The server is a process in a
// session of its own. Of its starter it has the environment and the working
// directory, unless other ones are given, and no open file; it outlives it. If
// it cannot start, the error shows its last words.
//
// [Daemon.Start] and [Daemon.Stop] are for commands by which people do the same
// by hand. [Daemon.Check] replaces a server of an older version.
//
// The server's side is [Listen] and [Serve]. They take the socket that systemd
// has passed on, if it has, tell systemd when the server is ready and when it
// stops, and end the server in order on SIGTERM:
//
//	srv := &simpleipc.Server{Handler: h, IdleExit: 10 * time.Minute}
//	l, err := daemon.Listen(ctx, path)
//	…
//	err = daemon.Serve(ctx, srv, l)
//
// From Listen on the server counts as started: clients queue, and nobody reads
// last words any more. So what may fail comes before it; but what only one
// process may do, such as to open a database that others would spoil, comes
// after it, and then the Daemon should have a Log.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"example.com/simpleipc"
)

// DefaultMaxWait is a Daemon's MaxWait if that is 0 or less.
const DefaultMaxWait = 60 * time.Second

// How long to pause before another try.
const (
	firstPause = time.Millisecond
	maxPause   = 20 * time.Millisecond
)

// ErrOutdated is what a Daemon's Check returns, by itself or wrapped, for a
// server that is to be replaced.
var ErrOutdated = errors.New("the server is outdated")

// A Daemon says how to reach a server and how to start it. Only Path must be
// set, and Quit for what ends servers. The fields must not be changed while a
// method is called. The methods may be called concurrently.
type Daemon struct {
	// Path is where the server listens. To the program it must be told by its
	// arguments or otherwise.
	Path string

	// Program is the program to start: this process's own executable if it is
	// empty, and looked up in PATH if it has no slash. It listens at Path, or
	// exits with a message on standard error. If it goes into the background
	// by itself, it must not exit before it listens. If it is this program,
	// Args must lead it to serve: a process that was started to serve Path, and
	// starts the server there before it has called [Listen] or [Serve], gets an
	// error, and so do the processes that it has started. A program that calls
	// neither, and starts clients of its own server, removes SIMPLEIPC_STARTED
	// from its environment.
	Program string

	// Args are the program's arguments, without its name.
	Args []string

	// Dir is the program's working directory, this process's if it is empty.
	// A daemon keeps the file system of its directory in use; "/" is always
	// there.
	Dir string

	// Env is the program's environment, that of this process if it is nil. The
	// variables by which systemd speaks to a process are left out.
	Env []string

	// Log is the name of a file to which the program's standard output and
	// standard error are appended. It is made with permissions 0600. If it is
	// empty, the program's standard output is discarded, and what it writes to
	// standard error is kept for the error message until it calls [Serve]. A
	// program that does not call Serve and writes much needs a Log, since that
	// goes to a file without a name for as long as it runs.
	Log string

	// MaxWait is how long to wait for a program that was started to listen, and
	// as long for a server that was asked to quit to cease to, and for another
	// process that is starting the server: [DefaultMaxWait] if it is 0 or less.
	MaxWait time.Duration

	// Waiting, if it is set, is called once a second while a method waits for
	// the server to begin or to cease to listen, and told how long it has
	// waited so far.
	Waiting func(time.Duration)

	// Quit is the request that ends the server.
	Quit []byte

	// Check, if it is set, looks at each server that Dial connects to before
	// it is used, for instance by asking for its version. It must not close
	// the connection, and leaves it ready for the next call. If it returns
	// [ErrOutdated], the server is asked to quit, another one is started,
	// unless a service manager does so, and checked, too: no server is replaced
	// twice by one call. If the server has hung up on it, as one that is ending
	// does, it is called again with another connection. Any other error is
	// returned by Dial. How long the first check may take is bounded by Dial's
	// context only.
	//
	// So that an old and a new client do not take turns in replacing each
	// other's server, only the newer one may do so: a client that finds a
	// server newer than itself should use it or fail. Git's own servers serve
	// one exchange for each connection and cannot be checked so.
	Check func(ctx context.Context, c *simpleipc.Conn) error

	// Dialer says how to connect. NoWaitBusy and WaitNotFound mean nothing
	// here: a busy server is waited for, a missing one is started.
	Dialer simpleipc.Dialer
}

// Dial connects to the server, and starts it if there is none.
//
// The error is that of [simpleipc.Dialer.Dial] if there is something at the
// path with which nothing can be done, and a [*StartError] if the server did
// not start; errors.Is finds [context.DeadlineExceeded] if it did not listen
// within MaxWait, after which it has been ended again, except on Windows with
// the processes of its group. When ctx ends before that, Dial returns its error
// at once, and leaves the server that it has started to whoever comes next.
func (d *Daemon) Dial(ctx context.Context) (*simpleipc.Conn, error) {
	c, missing, err := d.connect(ctx)
	if !missing {
		return c, err
	}
	hangUp(c)
	return d.ensure(ctx)
}

// Call sends one request to the server, which it starts if there is none, and
// returns the response. If the server ends before it can have seen the
// request, because it was idle or is being replaced, Call tries again, with
// another server. On Windows it may not be possible to tell. Otherwise its
// errors are those of [Daemon.Dial] and [simpleipc.Conn.Call].
func (d *Daemon) Call(ctx context.Context, request []byte) ([]byte, error) {
	for tries := 1; ; tries++ {
		c, err := d.Dial(ctx)
		if err != nil {
			return nil, err
		}
		response, err := c.Call(ctx, request)
		c.Close()
		if err == nil || tries == maxTries || !isUnseen(err) {
			return response, err
		}
		if perr := pause(ctx, tries); perr != nil {
			return nil, fmt.Errorf("%w after: %w", perr, err)
		}
	}
}

// maxTries is how often Call tries. A server that is ending hangs up on those
// who come in its last milliseconds.
const maxTries = 20

// isUnseen reports whether a call failed because the server hung up before it
// had the request.
func isUnseen(err error) bool {
	var e *simpleipc.Error
	return errors.As(err, &e) && !e.MaybeSeen && errors.Is(err, simpleipc.ErrConnClosed)
}

// isUnchecked reports whether a Check failed because the server hung up before
// it had the request. On Windows it may have had it, for all that can be told;
// but a question about the server can be asked again.
func isUnchecked(err error) bool {
	var e *simpleipc.Error
	return errors.As(err, &e) && (!e.MaybeSeen || runtime.GOOS == "windows") &&
		errors.Is(err, simpleipc.ErrConnClosed) && !errors.Is(err, ErrOutdated)
}

// Start starts the server and returns when it listens. If another process was
// faster, it is that one's server that listens then, which is as good. If one
// was there before, errors.Is finds [simpleipc.ErrInUse] in the error; the
// others are those of [Daemon.Dial]. Check is not called.
func (d *Daemon) Start(ctx context.Context) error {
	unchecked := *d
	unchecked.Check = nil
	c, missing, err := unchecked.connect(ctx)
	if err == nil {
		c.Close()
		return &simpleipc.Error{Op: "start", Path: d.Path, State: simpleipc.Listening, Err: simpleipc.ErrInUse}
	}
	if !missing {
		return err
	}
	c, err = unchecked.ensure(ctx)
	if err == nil {
		c.Close()
	}
	return err
}

// Stop sends the server its Quit request and waits until it no longer listens.
// It may go on answering what it was asked before; on Windows that is waited
// for, too, since the name of a pipe is in use as long as a connection is. That
// another server listens there by then is no error.
//
// Where there is no server, errors.Is finds [fs.ErrNotExist] or
// [simpleipc.ErrNotListening] in the error; if it still listens after MaxWait,
// [context.DeadlineExceeded]. A socket that a service manager holds never
// ceases to listen: the service manager must be asked to stop it.
func (d *Daemon) Stop(ctx context.Context) error {
	ctx, cancel := d.limit(ctx)
	defer cancel()
	defer d.report()()
	c, err := d.dial(ctx)
	if err != nil {
		return err
	}
	server := c.Peer().PID
	if err := d.quit(ctx, c); err != nil {
		return err
	}
	if err := d.awaitSilence(ctx, server); err != nil {
		return d.stopError(ctx, err)
	}
	return nil
}

// limit bounds ctx by MaxWait.
func (d *Daemon) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d.maxWait(), errWaitedLong)
}

// errWaitedLong is the cause for which a context of limit ends by itself.
var errWaitedLong = fmt.Errorf("waited for too long: %w", context.DeadlineExceeded)

func (d *Daemon) maxWait() time.Duration {
	if d.MaxWait <= 0 {
		return DefaultMaxWait
	}
	return d.MaxWait
}

// report calls Waiting every second until stop is called.
func (d *Daemon) report() (stop func()) {
	if d.Waiting == nil {
		return func() {}
	}
	begin := time.Now()
	stopping, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				d.Waiting(time.Since(begin).Round(time.Second))
			case <-stopping:
				return
			}
		}
	}()
	return func() {
		close(stopping)
		<-stopped
	}
}

// connect connects to the server if there is one, and checks it. It also
// reports whether what failed is that there is none, or none that is recent;
// with ErrOutdated it returns the connection, too. A server that is ending
// hangs up on Check; then it is gone in a moment.
func (d *Daemon) connect(ctx context.Context) (c *simpleipc.Conn, missing bool, err error) {
	for tries := 1; ; tries++ {
		c, err := d.dial(ctx)
		if err != nil {
			return nil, isAbsent(err), err
		}
		c, err = d.checked(ctx, c)
		if tries == maxTries || !isUnchecked(err) {
			return c, errors.Is(err, ErrOutdated), err
		}
		if perr := pause(ctx, tries); perr != nil {
			return nil, false, fmt.Errorf("%w after: %w", perr, err)
		}
	}
}

// checked returns c if Check is content with the server, and otherwise closes
// it, unless the error is ErrOutdated.
func (d *Daemon) checked(ctx context.Context, c *simpleipc.Conn) (*simpleipc.Conn, error) {
	if d.Check == nil {
		return c, nil
	}
	err := d.Check(ctx, c)
	if err != nil && !errors.Is(err, ErrOutdated) {
		c.Close()
		return nil, err
	}
	return c, err
}

// hangUp closes the connection to an outdated server, if there is one.
func hangUp(c *simpleipc.Conn) {
	if c != nil {
		c.Close()
	}
}

// dial connects to the server if there is one. Only for a busy one it waits.
func (d *Daemon) dial(ctx context.Context) (*simpleipc.Conn, error) {
	dialer := d.Dialer
	dialer.WaitNotFound = false
	dialer.NoWaitBusy = true
	c, err := dialer.Dial(ctx, d.Path)
	if errors.Is(err, simpleipc.ErrBusy) {
		dialer.NoWaitBusy = false
		c, err = dialer.Dial(ctx, d.Path)
	}
	return c, err
}

// isAbsent reports whether dial failed because there is no server.
func isAbsent(err error) bool {
	var e *simpleipc.Error
	if !errors.As(err, &e) || errors.Is(err, simpleipc.ErrBusy) {
		return false
	}
	return e.State == simpleipc.PathNotFound || e.State == simpleipc.NotListening
}

// ensure connects to the server, for which somebody starts it: this process,
// or another one that does so just now. Who starts it holds a lock, which only
// spares many processes from starting as many servers, of which all but one
// must give up.
func (d *Daemon) ensure(ctx context.Context) (*simpleipc.Conn, error) {
	if os.Getenv(startedEnv) == absolute(d.Path) {
		return nil, &simpleipc.Error{Op: "start", Path: d.Path, State: simpleipc.OtherError, Err: errors.New("this process was started to be the server there, and asks for it instead of listening; look at Daemon.Args")}
	}
	within, cancel := d.limit(ctx)
	defer cancel()
	defer d.report()()
	for tries := 1; ; tries++ {
		if unlock, locked := lockStart(d.Path); locked {
			defer unlock()
			c, missing, err := d.connect(within) // somebody may have been faster
			if missing {
				c, err = d.start(ctx, c)
			}
			return c, err
		}
		err := pause(within, tries)
		if err == nil {
			var c *simpleipc.Conn
			var missing bool
			c, missing, err = d.connect(within)
			if err == nil || !missing && within.Err() == nil {
				return c, err
			}
			hangUp(c)
		}
		if within.Err() != nil {
			return nil, &simpleipc.Error{Op: "start", Path: d.Path, State: simpleipc.OtherError, Err: fmt.Errorf("another process is starting the server: %w", within.Err())}
		}
	}
}

// startedEnv tells a program for which path it was started.
const startedEnv = "SIMPLEIPC_STARTED"

// absolute returns a path as every process understands it.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// start starts a server, after the end of the outdated one on the other side of
// old, if there is one.
func (d *Daemon) start(ctx context.Context, old *simpleipc.Conn) (*simpleipc.Conn, error) {
	if old != nil {
		c, missing, err := d.replace(ctx, old)
		if !missing {
			return c, err
		}
	}
	for tries := 1; ; tries++ {
		c, err := d.launch(ctx)
		if e, ok := err.(*StartError); !ok || e.Path != d.Path || e.Err != errNotListening || tries == maxLaunches {
			return c, err
		}
		// It may have been idle for so long that it has ended again.
	}
}

// maxLaunches is how often the program is started if it ends without an error.
const maxLaunches = 3

// replace ends the outdated server on the other side of old, and connects to
// its successor, or reports that there is none yet. Service managers have one.
func (d *Daemon) replace(ctx context.Context, old *simpleipc.Conn) (c *simpleipc.Conn, missing bool, err error) {
	ctx, cancel := d.limit(ctx)
	defer cancel()
	if err := d.quit(ctx, old); err != nil {
		return nil, false, err
	}
	for tries := 1; ; tries++ {
		c, missing, err := d.connect(ctx)
		if !errors.Is(err, ErrOutdated) {
			if err != nil && context.Cause(ctx) == errWaitedLong {
				err = &simpleipc.Error{Op: "start", Path: d.Path, State: simpleipc.OtherError, Err: fmt.Errorf("the outdated server has quit, and no other has answered within %v: %w", d.maxWait(), err)}
			}
			return c, missing, err
		}
		hangUp(c)
		if perr := pause(ctx, tries); perr != nil {
			return nil, false, d.stopError(ctx, fmt.Errorf("%w (%v)", perr, err))
		}
	}
}

// quit asks the server on the other side of c to end, and closes c.
func (d *Daemon) quit(ctx context.Context, c *simpleipc.Conn) error {
	defer c.Close()
	if d.Quit == nil {
		return d.stopError(ctx, errors.New("no request is known that ends the server: Quit is not set"))
	}
	_, err := c.Call(ctx, d.Quit)
	if err != nil && !errors.Is(err, simpleipc.ErrConnClosed) { // then it is ending
		return d.stopError(ctx, err)
	}
	return nil
}

// stopError says that a server listens though it should not.
func (d *Daemon) stopError(ctx context.Context, err error) error {
	if context.Cause(ctx) == errWaitedLong {
		err = fmt.Errorf("the server still listens after %v: %w", d.maxWait(), err)
	}
	return &simpleipc.Error{Op: "stop", Path: d.Path, State: simpleipc.Listening, Err: err}
}

// awaitSilence waits until the server with this process ID does not listen any
// more. If the ID is not known, any server is meant.
func (d *Daemon) awaitSilence(ctx context.Context, pid int) error {
	dialer := simpleipc.Dialer{NoWaitBusy: true, Authorize: simpleipc.AnyUser}
	for tries := 1; ; tries++ {
		c, err := dialer.Dial(ctx, d.Path)
		if err == nil {
			other := pid > 0 && c.Peer().PID != pid
			c.Close()
			if other {
				return nil
			}
		}
		var e *simpleipc.Error
		if errors.As(err, &e) && !errors.Is(err, simpleipc.ErrBusy) {
			switch e.State {
			case simpleipc.NotListening, simpleipc.PathNotFound, simpleipc.InvalidPath:
				return nil
			}
		}
		if err := pause(ctx, tries); err != nil {
			return err
		}
	}
}

// pause waits before the next of several tries, or until ctx ends.
func pause(ctx context.Context, tries int) error {
	wait := min(firstPause<<min(tries-1, 10), maxPause)
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
