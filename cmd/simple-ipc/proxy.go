package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"example.com/simpleipc"
	"example.com/simpleipc/trace2"
)

const (
	// checkPause is how often it is looked whether the socket is still there.
	checkPause = time.Second

	// acceptPause is how long to wait after a failure to accept a connection.
	acceptPause = 100 * time.Millisecond

	// printAhead is how many events may wait to be printed: a slow terminal
	// does not hold up what passes at once.
	printAhead = 4096
)

// runProxy shows what clients and a server send each other.
func runProxy(o *options, _ []string) error {
	switch o.listen {
	case "":
		return &usageError{"it is not said where to listen", "use --listen=PATH"}
	case o.name:
		return &usageError{"the proxy would be its own server", "use different paths for --listen and --name"}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)   // a second signal ends the process at once
	signal.Ignore(syscall.SIGPIPE) // a reader of the output that goes away is an error like others
	l, err := simpleipc.Listen(ctx, o.listen)
	if err != nil {
		return fmt.Errorf("cannot listen at '%s': %w", o.listen, reason(err))
	}
	p := &proxy{
		server: o.name, pid: os.Getpid(), keep: o.keep, authorize: simpleipc.SameUser,
		out: os.Stdout, format: formatJSON,
	}
	if !o.json {
		p.format = newTextFormat(os.Stdout, o.keep < 0)
	}
	if p.keep < 0 {
		p.keep = defaultKeep
	}
	return p.serve(ctx, l)
}

// A proxy passes on what clients and a server send, and tells of it.
type proxy struct {
	server    string // its path
	pid       int    // of the process that cannot be the server: this one
	keep      int    // how many bytes of a packet are told
	authorize func(simpleipc.Peer) error
	out       io.Writer
	format    func(event) []byte
	events    chan event
}

// serve passes on what comes through l until ctx ends or something goes wrong.
// Then it closes l and all connections.
func (p *proxy) serve(parent context.Context, l *simpleipc.Listener) error {
	ctx, end := context.WithCancelCause(parent)
	p.events = make(chan event, printAhead)
	var printing, watching, connections sync.WaitGroup
	printing.Go(func() { p.print(end) })
	var closeErr error
	watching.Go(func() {
		watchSocket(ctx, l, end)
		closeErr = l.Close()
	})
	for n := 1; ; n++ {
		client, err := l.Accept()
		for err != nil && !errors.Is(err, os.ErrClosed) { // there may be no descriptor left
			fmt.Fprintf(os.Stderr, "error: %v\n", err)
			time.Sleep(acceptPause)
			client, err = l.Accept()
		}
		if err != nil {
			break
		}
		connections.Go(func() { p.connect(ctx, n, client) })
	}
	connections.Wait()
	close(p.events)
	printing.Wait()
	watching.Wait()
	if parent.Err() == nil {
		return context.Cause(ctx)
	}
	return closeErr
}

// watchSocket returns when ctx ends or, which it reports, the path does not lead
// to l any more.
func watchSocket(ctx context.Context, l *simpleipc.Listener, report func(error)) {
	tick := time.NewTicker(checkPause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := l.Check(); err != nil {
				report(fmt.Errorf("the proxy at '%s' has ended: %w", l.Path(), reason(err)))
			}
		}
	}
}

// print prints events until there are no more. It reports when that is not
// possible.
func (p *proxy) print(report func(error)) {
	w := bufio.NewWriter(p.out)
	var err error
	for e := range p.events {
		if err != nil {
			continue // the proxy is about to end
		}
		_, err = w.Write(p.format(e))
		if err == nil && len(p.events) == 0 {
			err = w.Flush()
		}
		if err != nil {
			report(err)
		}
	}
}

// connect connects a client to the server, and returns when both have gone.
func (p *proxy) connect(ctx context.Context, n int, client *simpleipc.RawConn) {
	defer client.Close()
	ctx, exit := trace2.Thread(ctx, "connection")
	defer exit()
	c := &proxied{events: p.events, number: n, began: clock(), client: client}
	err := p.authorize(client.Peer())
	if err == nil {
		c.server, err = p.dial(ctx)
	}
	if err != nil {
		c.events <- &refusedEvent{c.stamp("refused"), peer(client.Peer()), err.Error()}
		return
	}
	defer c.server.Close()
	defer context.AfterFunc(ctx, c.cut)()
	c.pass(p.keep)
}

// dial connects to the server, as connect does.
func (p *proxy) dial(ctx context.Context) (*simpleipc.RawConn, error) {
	d := simpleipc.Dialer{NoWaitBusy: true}
	server, err := d.DialRaw(ctx, p.server)
	if errors.Is(err, simpleipc.ErrBusy) {
		d.NoWaitBusy = false
		server, err = d.DialRaw(ctx, p.server)
	}
	if err != nil {
		return nil, unreachable(p.server, err)
	}
	if server.Peer().PID == p.pid {
		server.Close()
		return nil, fmt.Errorf("the server at '%s' is this proxy", p.server)
	}
	return server, nil
}
