package main

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// roles are what a process of the benchmark can be. Each gets itself ready and
// returns what it answers to questions.
var roles = map[string]func(contender, task) (answers, error){
	"server": serverRole,
	"client": clientRole,
	"crowd":  crowdRole,
}

// serverRole serves until the process ends.
func serverRole(c contender, t task) (answers, error) {
	prof := newProfiler(t.Profile)
	if _, err := c.peer.listen(t.Path, t.Case.exchange, t.Case.service()); err != nil {
		return nil, err
	}
	return answers{
		"begin": func() (any, error) {
			err := prof.begin()
			return usageBefore(), err
		},
		"end":    func() (any, error) { return usageAfter(), prof.end() },
		"memory": func() (any, error) { return settledUsage(), nil },
	}, nil
}

// A sample is what a client has measured.
type sample struct {
	Exchanges     int
	Seconds       float64
	P50, P90, P99 float64 // latencies in microseconds
	Before, After usage
}

// clientRole warms up, and measures when it is asked to.
func clientRole(c contender, t task) (answers, error) {
	prof := newProfiler(t.Profile)
	all, err := newCallers(c, t)
	if err != nil {
		return nil, err
	}
	if _, err := all.run(func(k *caller) error { return k.work(t.Time, 1) }); err != nil {
		return nil, err
	}
	for _, k := range all {
		k.latencies = make([]float64, 0, 1024+2*len(k.latencies)) // so that measuring allocates nothing
	}
	return answers{
		"measure": func() (any, error) {
			if err := prof.begin(); err != nil {
				return nil, err
			}
			s := sample{Before: usageBefore()}
			took, err := all.run(func(k *caller) error { return k.work(t.Time, minExchanges) })
			if err != nil {
				return nil, err
			}
			s.After = usageAfter()
			s.Seconds = took.Seconds()
			var latencies []float64
			for _, k := range all {
				latencies = append(latencies, k.latencies...)
			}
			slices.Sort(latencies)
			s.Exchanges = len(latencies)
			s.P50, s.P90, s.P99 = quantile(latencies, 0.5), quantile(latencies, 0.9), quantile(latencies, 0.99)
			return s, prof.end()
		},
	}, nil
}

// minExchanges is how many exchanges each caller makes at least.
const minExchanges = 2

// A caller makes one exchange after the other, on a goroutine of its own,
// since there are connections that are bound to a thread.
type caller struct {
	exchange  func() error
	latencies []float64 // in microseconds
	jobs      chan func()
}

type callers []*caller

// newCallers returns the callers of a task, connected if they keep their
// connections.
func newCallers(c contender, t task) (callers, error) {
	dial := func() (conn, error) { return c.peer.dial(t.Path, t.Case.exchange) }
	if c.shared {
		dial = sync.OnceValues(dial)
	}
	all := make(callers, t.Case.Callers)
	for i := range all {
		all[i] = &caller{jobs: make(chan func())}
		go func() {
			for job := range all[i].jobs {
				job()
			}
		}()
	}
	_, err := all.run(func(k *caller) error {
		b := newBuffers(t.Case.exchange)
		if t.Case.New {
			k.exchange = func() error { return t.Case.doOnce(c.peer, t.Path, b) }
			return nil
		}
		conns := make([]conn, max(1, t.Case.Connections/t.Case.Callers))
		for i := range conns {
			var err error
			if conns[i], err = dial(); err != nil {
				return err
			}
			if err := t.Case.do(conns[i], b); err != nil {
				return err
			}
		}
		next := 0
		k.exchange = func() error {
			c := conns[next]
			if next++; next == len(conns) {
				next = 0
			}
			return t.Case.do(c, b)
		}
		return nil
	})
	return all, err
}

// run lets all callers do the same, and returns how long that took.
func (all callers) run(job func(*caller) error) (time.Duration, error) {
	errs := make([]error, len(all))
	var working sync.WaitGroup
	working.Add(len(all))
	start := time.Now()
	for i, k := range all {
		k.jobs <- func() {
			defer working.Done()
			errs[i] = job(k)
		}
	}
	working.Wait()
	return time.Since(start), errors.Join(errs...)
}

// work makes exchanges until the time is over, but some at least. The end of
// one is the beginning of the next.
func (k *caller) work(limit time.Duration, least int) error {
	start := time.Now()
	last := start
	for n := 1; ; n++ {
		if err := k.exchange(); err != nil {
			return err
		}
		now := time.Now()
		k.latencies = append(k.latencies, micros(now.Sub(last)))
		last = now
		if n >= least && now.Sub(start) >= limit {
			return nil
		}
	}
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// crowdRole makes many connections, uses each once and keeps them.
func crowdRole(c contender, t task) (answers, error) {
	b := newBuffers(t.Case.exchange)
	conns := make([]conn, t.Case.Connections)
	for i := range conns {
		var err error
		if conns[i], err = c.peer.dial(t.Path, t.Case.exchange); err != nil {
			return nil, err
		}
		if err := t.Case.do(conns[i], b); err != nil {
			return nil, err
		}
	}
	// With the answer, the connections stay in use.
	return answers{"count": func() (any, error) { return len(conns), nil }}, nil
}

// quantile returns the value below which the part q of sorted values is.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 == len(sorted) {
		return sorted[i]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}
