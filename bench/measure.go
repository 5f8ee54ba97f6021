package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// A result is one measurement: of one contender in one case and one round.
type result struct {
	Case          string
	Peer          string
	Round         int
	Exchanges     int
	Rate          float64 // exchanges per second
	P50, P90, P99 float64 // latencies in microseconds
	Client        cost
	Server        cost
	Error         string `json:",omitempty"`
}

// A cost is what an exchange costs one of the two processes.
type cost struct {
	CPU     float64 // microseconds of user and system
	Allocs  float64
	PeakRSS int64 // bytes, of the whole process since it began
}

func costOf(before, after usage, exchanges int) cost {
	n := float64(exchanges)
	return cost{
		CPU:     micros(after.CPU-before.CPU) / n,
		Allocs:  float64(after.Mallocs-before.Mallocs) / n,
		PeakRSS: after.PeakRSS,
	}
}

// A lab is where measurements are made.
type lab struct {
	dir     string // for sockets
	time    time.Duration
	profile string // directory for profiles, or ""
	sockets int
}

// hugeTime is how long huge messages are measured at least. A few of them say
// more about whether a garbage collection fell among them than about the rest.
const hugeTime = 1 * time.Second

// patience is how long one measurement may take.
const patience = 2 * time.Minute

// socket returns a path that has not been used.
func (l *lab) socket() string {
	l.sockets++
	return filepath.Join(l.dir, fmt.Sprintf("s%d", l.sockets))
}

// measure measures c in a case, with new processes.
func (l *lab) measure(ctx context.Context, c contender, b benchCase) (result, error) {
	r := result{Case: b.name(), Peer: c.name}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	server, t, err := l.serve(ctx, c, b)
	if err != nil {
		return r, err
	}
	s, before, after, err := l.ask(ctx, server, t)
	if err := errors.Join(err, server.stop()); err != nil {
		return r, fmt.Errorf("%s, %s: %w", r.Case, c.name, err)
	}
	r.Exchanges = s.Exchanges
	r.Rate = float64(s.Exchanges) / s.Seconds
	r.P50, r.P90, r.P99 = s.P50, s.P90, s.P99
	r.Client = costOf(s.Before, s.After, s.Exchanges)
	r.Server = costOf(before, after, s.Exchanges)
	return r, nil
}

// serve starts a server. The task is for its clients, too.
func (l *lab) serve(ctx context.Context, c contender, b benchCase) (*process, task, error) {
	t := task{Role: "server", Peer: c.name, Path: l.socket(), Case: b, Time: l.time}
	if b.largest() >= huge {
		t.Time = max(t.Time, hugeTime)
	}
	t.Profile = l.profilePrefix(t)
	p, err := startProcess(ctx, t)
	return p, t, err
}

// ask lets a client measure the server, and returns what it and the server
// tell.
func (l *lab) ask(ctx context.Context, server *process, t task) (s sample, before, after usage, err error) {
	t.Role = "client"
	t.Profile = l.profilePrefix(t)
	client, err := startProcess(ctx, t)
	if err != nil {
		return s, before, after, err
	}
	err = server.ask("begin", &before)
	if err == nil {
		err = client.ask("measure", &s)
	}
	if err == nil {
		err = server.ask("end", &after)
	}
	return s, before, after, errors.Join(err, client.stop())
}

func (l *lab) profilePrefix(t task) string {
	if l.profile == "" {
		return ""
	}
	return filepath.Join(l.profile, strings.ReplaceAll(t.Case.name(), "/", "-")+"."+t.Peer+"."+t.Role)
}

// An idleResult is how a server does that has many idle connections.
type idleResult struct {
	Peer        string
	Connections int
	RSS         int64   // the server's, in bytes
	P50         float64 // latency in microseconds of another client's exchanges
	Error       string  `json:",omitempty"`
}

// idle measures a server with n connections that have been used once.
func (l *lab) idle(ctx context.Context, c contender, n int) (idleResult, error) {
	r := idleResult{Peer: c.name, Connections: n}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	b := benchCase{Callers: 1, exchange: exchange{Request: small, Response: small}}
	server, t, err := l.serve(ctx, c, b)
	if err != nil {
		return r, err
	}
	crowd := t
	crowd.Role = "crowd"
	crowd.Case.Connections = n
	clients, err := startProcess(ctx, crowd)
	if err == nil {
		var memory usage
		err = server.ask("memory", &memory)
		r.RSS = memory.RSS
		if err == nil {
			var s sample
			s, _, _, err = l.ask(ctx, server, t)
			r.P50 = s.P50
		}
		err = errors.Join(err, clients.stop())
	}
	if err := errors.Join(err, server.stop()); err != nil {
		return r, fmt.Errorf("%d idle connections, %s: %w", n, c.name, err)
	}
	return r, nil
}
