package simpleipc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"example.com/simpleipc/trace2"
)

// Defaults of a Server's fields.
const (
	DefaultWorkers      = 8
	DefaultMaxRequest   = 1 << 30
	DefaultReadTimeout  = 30 * time.Second
	DefaultWriteTimeout = 30 * time.Second
	DefaultIdleTimeout  = 5 * time.Minute
	DefaultDrainTimeout = 30 * time.Second

	// waitingPerWorker is how many requests may wait for each worker.
	waitingPerWorker = 100
)

// How long a server waits after it could not accept a connection.
const (
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = 1 * time.Second
)

// A Server answers the requests that arrive at a [Listener]. Only its Handler
// must be set; the zero value of every other field is the safe default. The
// fields must not be changed once it serves. A Server serves once.
//
// Of each connection, a server reads requests and answers them in turn, until
// the client closes it (Git's clients do so after one exchange) or it has been
// idle for too long. A client occupies a worker only from the moment its whole
// request has arrived until its response is written: one that is silent, slow
// or gone costs a descriptor and a little memory.
//
// All methods may be called concurrently, at any time, repeatedly, and from a
// handler.
type Server struct {
	// Handler answers the requests.
	Handler Handler

	// Workers is how many requests are handled at the same time,
	// [DefaultWorkers] if it is 0 or less.
	Workers int

	// MaxWaiting is how many whole requests may wait for a worker, 100 for
	// each worker if it is 0 or less. When that many wait, the client of the
	// next is hung up on.
	MaxWaiting int

	// MaxRequest is the size in bytes of the largest request,
	// [DefaultMaxRequest] (1 GiB) if it is 0, without limit if it is negative.
	// The client of a larger one is hung up on. The memory for a request grows
	// as it arrives. It holds for streamed requests, too.
	MaxRequest int64

	// ReadTimeout is how long a request may take to arrive once it has begun,
	// [DefaultReadTimeout] if it is 0, without limit if it is negative. If
	// requests are streamed, it is how long a handler may take to read one.
	ReadTimeout time.Duration

	// WriteTimeout is how long a client may not read its response,
	// [DefaultWriteTimeout] if it is 0, without limit if it is negative. The
	// time begins anew with every part of the response, of at most 2 MiB,
	// that is sent. What is sent into the socket's buffer counts as read.
	WriteTimeout time.Duration

	// IdleTimeout is how long a connection is kept on which nothing arrives,
	// [DefaultIdleTimeout] if it is 0, without limit if it is negative.
	IdleTimeout time.Duration

	// DrainTimeout is how long a shutdown waits for running handlers, and for
	// clients to be sent their responses, before their contexts and
	// connections are closed: [DefaultDrainTimeout] if it is 0, without limit
	// if it is negative. A context that is given to Shutdown can end the wait
	// earlier.
	DrainTimeout time.Duration

	// IdleExit shuts the server down when it has had nothing to do for this
	// long: no request was arriving or being answered, and nobody is waiting
	// to be accepted. Clients that are connected and silent do not keep it. If
	// it is 0 or less, the server stays. It is for servers that are started on
	// demand; see package daemon.
	IdleExit time.Duration

	// StreamRequests calls the handler when a request begins to arrive
	// instead of when it is complete, for requests that should not be in
	// memory as a whole: Body is nil, and the handler reads the [Request].
	// A slow client occupies a worker then. Since a client writes its whole
	// request before it reads, a handler must read the request to its end
	// before it sends anything, which is to call Send or to write more than
	// 64 KiB; otherwise it gets [ErrRequestUnread].
	StreamRequests bool

	// Authorize decides, by an error, whether to serve a peer, before a byte
	// from it is read. If it is nil, [SameUser] decides. It is called from
	// several goroutines at once. A panic refuses the peer.
	Authorize func(Peer) error

	// Logger gets what an operator should know, never the bytes of messages.
	// If it is nil, nothing is logged. What clients bring about is limited to
	// ten lines a minute for each cause, and then it is told how many there
	// were besides; that holds above the level Debug.
	Logger *slog.Logger

	// SlowRequest is how long a request may take, from its arrival until its
	// response is sent, and not be logged as slow, with how long it waited for
	// a worker and how long the handler took. If it is 0 or less, none is.
	SlowRequest time.Duration

	counters counters
	began    time.Time
	arriving atomic.Int64 // requests that are being read, if IdleExit is set
	lastBusy atomic.Int64 // when a request has last arrived or was answered, since began

	once     sync.Once
	stop     chan struct{} // closed to shut down
	kill     chan struct{} // closed to shut down at once
	finished chan struct{} // closed when Serve is about to return

	mu       sync.Mutex
	started  bool
	reason   error  // why stop is closed; Serve returns it
	why      string // the same for people
	killed   bool
	drainErr error
	conns    map[*serverConn]struct{}

	// Fixed before the first connection.
	log       *serverLog
	observed  bool // requests are timed
	limits    limits
	authorize func(Peer) error
	workers   chan *worker // those that are free
	base      context.Context
	draining  atomic.Bool
	serving   sync.WaitGroup // connections
}

// A worker is a place for one request to be handled, and a thread of its own
// for the trace.
type worker struct {
	thread context.Context
	exit   func()
}

// limits are a server's limits with the defaults filled in; 0 is no limit for
// the times, a negative one for the size.
type limits struct {
	workers, waiting         int
	request                  int64
	read, write, idle, drain time.Duration
}

func (s *Server) init() {
	s.once.Do(func() {
		s.stop = make(chan struct{})
		s.kill = make(chan struct{})
		s.finished = make(chan struct{})
	})
}

// ListenAndServe claims path with [Listen] and serves it as [Server.Serve]
// does.
func (s *Server) ListenAndServe(ctx context.Context, path string) error {
	l, err := Listen(ctx, path)
	if err != nil {
		return err
	}
	return s.Serve(ctx, l)
}

// Serve answers the requests that arrive at l, until the server is shut down:
// by [Server.Shutdown], [Server.Close], a handler that returns [Quit],
// IdleExit, or the end of ctx, which has the effect of Shutdown. It returns
// when the shutdown is complete, so that a program may exit then. l is closed
// and its path removed. The values of ctx are passed on to the handlers.
//
// Serve always returns an error: [ErrServerClosed] after these, [ErrStolen]
// when the path no longer led to the server, which then has shut down in
// order, or what went wrong.
func (s *Server) Serve(ctx context.Context, l *Listener) error {
	s.init()
	if err := s.start(); err != nil {
		_ = l.Close() // the server's error comes first
		return err
	}
	defer close(s.finished)
	base, cancel := context.WithCancelCause(context.WithValue(context.WithoutCancel(ctx), serverKey{}, s))
	defer cancel(ErrServerClosed)
	s.base = base
	// What Serve does is traced as a thread of its own: its caller may go on.
	thread, exit := trace2.Thread(base, traceAccept)
	defer exit()
	s.observed = s.SlowRequest > 0 || trace2.Enabled(base)
	s.log.Info("listening", "path", l.Path(), "workers", s.limits.workers)

	for range s.limits.workers {
		w := new(worker)
		w.thread, w.exit = trace2.Thread(base, traceWorker)
		s.workers <- w
	}
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		s.acceptLoop(l)
	}()
	s.untilShutDown(ctx, l)
	s.log.Info("shutting down", "path", l.Path(), "why", s.why)
	if errors.Is(s.reason, ErrStolen) {
		trace2.Data(thread, traceAccept, "queue_stop_async", "socket_stolen")
	}
	stopping, region := trace2.Region(thread, traceServer, "server-stop-async", s.why)
	s.drain(l, accepting, cancel)
	trace2.DataJSON(stopping, traceServer, "stats", s.Stats())
	region.End()
	s.log.close()
	n := &s.counters
	s.log.Info("shut down", "path", l.Path(), "accepted", n.accepted.Load(), "requests", n.requests.Load(), "responses", n.responses.Load())
	return s.reason
}

// start fixes what the fields say, and refuses to serve twice.
func (s *Server) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.reason != nil:
		return ErrServerClosed
	case s.started:
		return errors.New("simpleipc: a Server serves only once")
	case s.Handler == nil:
		return errors.New("simpleipc: the Server has no Handler")
	}
	s.started = true
	s.began = time.Now()
	s.log = newServerLog(s.Logger)
	workers := cmp.Or(max(0, s.Workers), DefaultWorkers)
	s.limits = limits{
		workers: workers,
		waiting: cmp.Or(max(0, s.MaxWaiting), waitingPerWorker*workers),
		request: cmp.Or(s.MaxRequest, DefaultMaxRequest),
		read:    max(0, cmp.Or(s.ReadTimeout, DefaultReadTimeout)),
		write:   max(0, cmp.Or(s.WriteTimeout, DefaultWriteTimeout)),
		idle:    max(0, cmp.Or(s.IdleTimeout, DefaultIdleTimeout)),
		drain:   max(0, cmp.Or(s.DrainTimeout, DefaultDrainTimeout)),
	}
	s.authorize = s.Authorize
	if s.authorize == nil {
		s.authorize = SameUser
	}
	s.conns = make(map[*serverConn]struct{})
	s.workers = make(chan *worker, s.limits.workers)
	return nil
}

// untilShutDown waits for somebody to shut the server down, and does so itself
// when ctx ends, when it has been idle for IdleExit, and when the path does not
// lead to l any more.
func (s *Server) untilShutDown(ctx context.Context, l *Listener) {
	w := l.watch()
	defer w.close()
	tick := time.NewTicker(w.interval)
	defer tick.Stop()
	idle := time.NewTimer(s.IdleExit)
	defer idle.Stop()
	if s.IdleExit <= 0 {
		idle.Stop()
	}
	check := func() {
		if err := l.Check(); err != nil {
			s.shutDown(err, ErrStolen.Error())
		}
	}
	for {
		select {
		case <-s.stop:
			return
		case <-ctx.Done():
			s.shutDown(ErrServerClosed, "its context has ended: "+context.Cause(ctx).Error())
		case <-idle.C:
			if left := s.idleLeft(l); left > 0 {
				idle.Reset(left)
			} else {
				s.shutDown(ErrServerClosed, fmt.Sprintf("idle for %v", s.IdleExit))
			}
		case <-w.look:
			check()
		case <-tick.C:
			check()
		}
	}
}

// touch notes that the server has had something to do, for IdleExit.
func (s *Server) touch(now time.Time) { s.lastBusy.Store(int64(now.Sub(s.began))) }

// idleLeft is how long the server must yet be idle until IdleExit.
func (s *Server) idleLeft(l *Listener) time.Duration {
	if s.arriving.Load()+s.counters.waiting.Load()+s.counters.active.Load() > 0 || l.isAwaited() {
		return s.IdleExit
	}
	return s.IdleExit - time.Since(s.began.Add(time.Duration(s.lastBusy.Load())))
}

// serverKey is the key of a handler's context whose value is its server.
type serverKey struct{}

// Shutdown shuts the server down in order: it stops accepting and removes the
// path, hangs up on clients that have not sent a whole request, lets the
// others be answered, and returns. When ctx ends or DrainTimeout has passed
// before that, it goes on as [Server.Close] and returns an error.
//
// From a handler, given the handler's context or one derived from it, it
// returns at once and the shutdown goes on, for it would wait for itself; see
// also [Quit].
func (s *Server) Shutdown(ctx context.Context) error {
	s.init()
	if !s.shutDown(ErrServerClosed, "Shutdown was called") || ctx.Value(serverKey{}) == s {
		return nil
	}
	select {
	case <-s.finished:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.drainErr
	case <-ctx.Done():
		_ = s.Close() // it has none
		return ctx.Err()
	}
}

// Close shuts the server down at once: it removes the path, ends the contexts
// of the handlers and closes all connections. It does not wait for handlers to
// return.
func (s *Server) Close() error {
	s.init()
	started := s.shutDown(ErrServerClosed, "Close was called")
	s.mu.Lock()
	if !s.killed {
		s.killed = true
		close(s.kill)
	}
	s.mu.Unlock()
	if started {
		<-s.finished
	}
	return nil
}

// Stopping returns a channel that is closed when the server begins to shut
// down, for whatever reason.
func (s *Server) Stopping() <-chan struct{} {
	s.init()
	return s.stop
}

// shutDown lets Serve begin to shut down, and reports whether it has been
// called.
func (s *Server) shutDown(reason error, why string) (started bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reason == nil {
		s.reason, s.why = reason, why
		close(s.stop)
	}
	return s.started
}

// drain ends all that is going on, gently as long as it may.
func (s *Server) drain(l *Listener, accepting <-chan struct{}, cancel context.CancelCauseFunc) {
	gently, stop := context.WithCancel(context.Background())
	defer stop()
	if s.limits.drain > 0 {
		defer time.AfterFunc(s.limits.drain, stop).Stop()
	}
	go func() {
		select {
		case <-s.kill:
			stop()
		case <-gently.Done():
		}
	}()

	s.draining.Store(true)
	s.eachConn((*serverConn).drain)
	if err := retry(gently, func() error { return l.remove(gently) }); err != nil {
		s.log.Warn("the socket stays behind", "path", l.Path(), "err", err)
	}
	l.interrupt()
	<-accepting
	s.acceptQueued(gently, l)
	l.closeSocket()

	done := make(chan struct{})
	go func() {
		s.serving.Wait()
		for range s.limits.workers {
			(<-s.workers).exit()
		}
		close(done)
	}()
	select {
	case <-done:
		return
	case <-gently.Done():
	}
	cut := 0
	s.eachConn(func(c *serverConn) {
		if c.isBusy() {
			cut++
		}
	})
	cancel(ErrServerClosed)
	s.eachConn((*serverConn).close)
	if cut > 0 {
		s.mu.Lock()
		s.drainErr = fmt.Errorf("simpleipc: shutdown: %d requests were cut off", cut)
		s.mu.Unlock()
		s.log.Warn("cut off requests that were still being answered", "requests", cut)
	}
}

// acceptQueued accepts the connections that wait to be, for their requests may
// have arrived, too. If others keep coming, it ends after a full backlog. Where
// the socket lives on, they are the next server's.
func (s *Server) acceptQueued(ctx context.Context, l *Listener) {
	if l.inherited {
		return
	}
	for range maxBacklog {
		err := retry(ctx, func() error {
			raw, err := l.acceptQueued()
			if err == nil {
				s.receive(raw)
			}
			return err
		})
		if err != nil {
			return
		}
	}
}

// retry repeats f for a while as long as its error is a temporary one: when
// connections end, there are descriptors again.
func retry(ctx context.Context, f func() error) error {
	wait := newBackoff(ctx, maxAcceptPause)
	for {
		err := f()
		if err == nil || !isTemporary(err) || wait.next() != nil {
			return err
		}
	}
}

func (s *Server) eachConn(f func(*serverConn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		f(c)
	}
}

// acceptLoop accepts connections until the server is shut down.
func (s *Server) acceptLoop(l *Listener) {
	pause := time.Duration(0)
	for {
		raw, err := l.accept()
		switch {
		case err == nil:
			pause = 0
			s.receive(raw)
		case errors.Is(err, os.ErrDeadlineExceeded):
			return // interrupted
		case isTemporary(err):
			s.counters.acceptErrors.Add(1)
			pause = min(max(2*pause, minAcceptPause), maxAcceptPause)
			s.log.limited(slog.LevelWarn, "accept", "cannot accept connections for now", "path", l.Path(), "err", err, "pause", pause)
			select {
			case <-time.After(pause):
			case <-s.stop:
				return
			}
		default:
			s.shutDown(fmt.Errorf("simpleipc: serve %s: %w", l.Path(), err), err.Error())
			return
		}
	}
}

// receive begins to read requests from an accepted connection.
func (s *Server) receive(raw RawConn) {
	s.counters.accepted.Add(1)
	s.counters.open.Add(1)
	c := newServerConn(s, raw)
	s.mu.Lock()
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	s.serving.Add(1)
	go c.serve()
	if s.draining.Load() {
		c.drain()
	}
}

// forget is called when a connection has ended.
func (s *Server) forget(c *serverConn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.counters.open.Add(-1)
	s.serving.Done()
}
