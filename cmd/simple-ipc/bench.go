package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"example.com/simpleipc"
	"example.com/simpleipc/trace2"
)

const (
	defaultDuration = 5 * time.Second

	// warmUpTime is how long the callers call before it counts, so that
	// connections are made, and memory and caches are ready.
	warmUpTime = 100 * time.Millisecond

	// lateTime is how long after the end an answer may still come.
	lateTime = 5 * time.Second

	// failurePause keeps a caller from failing a million times a second.
	failurePause = 10 * time.Millisecond
)

// runBench measures how fast a server answers.
func runBench(o *options, _ []string) error {
	if o.token != nil && o.byteCount >= 0 {
		return &usageError{"the request is given twice", "use either --token=TOKEN or --bytecount=N"}
	}
	if o.duration == 0 && o.count == 0 {
		o.duration = defaultDuration
	}
	b := &benchmark{name: o.name, request: []byte("ping"), fresh: o.fresh}
	if o.token != nil {
		b.request = []byte(*o.token)
	} else if o.byteCount >= 0 {
		b.request = ballast('x', o.byteCount)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := b.tryOut(ctx); err != nil {
		return err
	}
	for range o.threads {
		b.callers = append(b.callers, &caller{benchmark: b})
	}
	defer b.hangUp()
	bar := &progressBar{out: os.Stderr, paint: newPainter(os.Stderr)}
	warmUp := b.measure(ctx, warmUpTime, 0, bar)
	m := b.measure(ctx, o.duration, int64(o.count), bar)
	bar.clear()

	r := b.report(warmUp, m)
	r.Interrupted = ctx.Err() != nil
	if err := r.print(os.Stdout, o.json); err != nil {
		return err
	}
	if r.Errors > 0 {
		return fmt.Errorf("%d of %d exchanges failed, the first: %w", r.Errors, r.Requests+r.Errors, m.firstErr)
	}
	return nil
}

// A benchmark is about one request to one server.
type benchmark struct {
	name    string
	request []byte
	fresh   bool // each request has a connection of its own
	closes  bool // for the server closes it
	callers []*caller
}

// tryOut makes two exchanges on a connection, to see whether the server answers
// and keeps it.
func (b *benchmark) tryOut(ctx context.Context) error {
	c, err := connect(b.name)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Call(ctx, b.request)
	if err == nil && !b.fresh {
		if _, err = c.Call(ctx, b.request); errors.Is(err, simpleipc.ErrConnClosed) {
			b.fresh, b.closes = true, true
			err = nil
		}
	}
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return failed(b.name, err)
}

// A measurement is what came of calling for a while.
type measurement struct {
	latencies latencies
	received  atomic.Int64 // bytes of responses
	left      atomic.Int64 // how many calls may begin

	mu       sync.Mutex
	took     time.Duration // until the last exchange ended
	errors   int64
	firstErr error
}

// measure lets the callers call for a time or a number of calls; 0 is no limit.
func (b *benchmark) measure(ctx context.Context, limit time.Duration, count int64, bar *progressBar) *measurement {
	m := new(measurement)
	m.left.Store(math.MaxInt64)
	if count > 0 {
		m.left.Store(count)
	}
	began := clock()
	end := time.Duration(math.MaxInt64)
	if limit > 0 {
		end = began + limit
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit+lateTime)
		defer cancel()
	}
	var calling sync.WaitGroup
	for _, c := range b.callers {
		calling.Go(func() { c.call(ctx, m, began, end) })
	}
	ended := make(chan struct{})
	go func() {
		calling.Wait()
		close(ended)
	}()
	tick := time.NewTicker(redrawPause)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return m
		case <-tick.C:
			took := clock() - began
			done, total := int64(took), int64(limit)
			n := m.latencies.n.Load()
			if count > 0 {
				done, total = n, count
			}
			bar.draw(done, total, fmt.Sprintf("%d requests, %.0f/s", n, float64(n)/took.Seconds()))
		}
	}
}

func (m *measurement) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.errors++; m.firstErr == nil {
		m.firstErr = err
	}
}

func (b *benchmark) hangUp() {
	for _, c := range b.callers {
		c.hangUp()
	}
}

// A caller makes one call after the other.
type caller struct {
	*benchmark
	conn     *simpleipc.Conn // nil if there is none
	response []byte
}

// call calls until there are no more calls to begin, or no time.
func (c *caller) call(ctx context.Context, m *measurement, began, end time.Duration) {
	ctx, exit := trace2.Thread(ctx, "caller")
	defer exit()
	took := time.Duration(0)
	for m.left.Add(-1) >= 0 {
		start := clock()
		if start > end || ctx.Err() != nil {
			break
		}
		err := c.exchange(ctx)
		now := clock()
		if ctx.Err() == nil {
			took = now - began
		}
		switch {
		case err == nil:
			m.latencies.add(now - start)
			m.received.Add(int64(len(c.response)))
		case errors.Is(ctx.Err(), context.Canceled):
			// The user has had enough: nothing has failed.
		default:
			m.fail(failed(c.name, err))
			select {
			case <-time.After(failurePause):
			case <-ctx.Done():
			}
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.took = max(m.took, took)
}

// exchange calls once, on the connection there is or on a new one.
func (c *caller) exchange(ctx context.Context) (err error) {
	if c.conn == nil {
		if c.conn, err = new(simpleipc.Dialer).Dial(ctx, c.name); err != nil {
			return unreachable(c.name, err)
		}
	}
	c.response, err = c.conn.AppendCall(ctx, c.response[:0], c.request)
	if err != nil || c.fresh {
		c.hangUp()
	}
	return err
}

func (c *caller) hangUp() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}
