package simpleipc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestListenQueues checks that clients can connect before the path is served.
func TestListenQueues(t *testing.T) {
	l, err := Listen(t.Context(), tempPath(t))
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, l.Path())
	serveListener(t, &Server{}, l)
	if got, err := c.Call(t.Context(), []byte("early")); err != nil || string(got) != "early" {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestListenBusyServer finds a live server whose backlog is full.
func TestListenBusyServer(t *testing.T) {
	l, err := ListenConfig{Backlog: 1}.Listen(t.Context(), tempPath(t))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	fillBacklog(t, l.Path())
	if _, err := Listen(t.Context(), l.Path()); !errors.Is(err, ErrInUse) {
		t.Errorf("Listen: %v", err)
	}
	if err := l.Check(); err != nil {
		t.Error(err)
	}
}

// fillBacklog connects until the server does not take any more.
func fillBacklog(t testing.TB, path string) {
	t.Helper()
	for {
		s, err := connect(path)
		if err != nil {
			if stateOf(err) != NotListening {
				t.Fatal(err)
			}
			return
		}
		t.Cleanup(func() { s.Close() })
	}
}

func init() {
	// claim PATH: claims and serves the path until killed.
	childFuncs["claim"] = func(args []string) error {
		l, err := Listen(context.Background(), args[0])
		if err != nil {
			return err
		}
		return (&Server{Handler: HandlerFunc(echo)}).Serve(context.Background(), l)
	}
}

// TestKilledAnyTime kills a server at a random moment of its start, again and
// again. The next one starts without help.
func TestKilledAnyTime(t *testing.T) {
	path := tempPath(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	rounds := 30
	if testing.Short() {
		rounds = 5
	}
	for range rounds {
		c := start(t, child(t, "claim", path))
		timer := time.NewTimer(time.Duration(rnd.IntN(20)) * time.Millisecond)
		<-timer.C
		c.kill()
		begun := time.Now()
		l, err := Listen(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if d := time.Since(begun); d > 2*time.Second {
			t.Errorf("Listen took %v", d)
		}
		wantFiles(t, path, "sock")
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		wantFiles(t, path)
	}
}

// TestManyListen has many goroutines and processes claim one path at once.
func TestManyListen(t *testing.T) {
	if onWine() {
		t.Skip("Wine lets several processes make the first instance of a pipe")
	}
	path := tempPath(t)
	staleSocket(t, path)
	const n = 20
	children := make([]*running, n)
	for i := range children {
		children[i] = start(t, child(t, "claim", path))
	}
	listeners := make(chan *Listener, n)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			l, err := ListenConfig{LockTimeout: patience}.Listen(t.Context(), path)
			if err == nil {
				listeners <- l
			} else if !errors.Is(err, ErrInUse) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	close(listeners)
	won := 0
	var winner *Listener
	for winner = range listeners {
		won++
	}
	lost := make(chan *running, n)
	for _, c := range children {
		go func() {
			c.wait()
			lost <- c
		}()
	}
	// All children end but the winner, if it is one of them.
	for range n - 1 + won {
		c := receive(t, lost)
		if text := fmt.Sprint(c.Stderr); c.wait() == nil || !strings.Contains(text, ErrInUse.Error()) {
			t.Errorf("a process that did not win ended with: %s", text)
		}
	}
	if won > 1 {
		t.Errorf("%d listeners", won)
	}
	if won == 1 {
		defer winner.Close()
	}
	if state, err := Probe(t.Context(), path); state != Listening {
		t.Errorf("nobody won: %v", err)
	}
	wantFiles(t, path, "sock")
}
