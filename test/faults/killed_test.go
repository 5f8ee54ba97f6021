//go:build linux

package faults

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/simpleipc"
)

// answer is what a right response to a request is: the request's number, its
// size and its checksum, and all of it again.
func answer(request []byte) []byte {
	sum := sha256.Sum256(request)
	b := append([]byte(nil), request[:8]...)
	b = binary.BigEndian.AppendUint64(b, uint64(len(request)))
	b = append(b, sum[:]...)
	return append(b, request...)
}

func init() {
	// server PATH DIR: waits for its turn to be the server at PATH, and serves
	// until SIGTERM. In DIR it notes the numbers of the requests that it
	// handles, in a file with its process ID for a name, and holds a witness
	// that there is no other server.
	roles["server"] = func(args []string) error {
		path, dir := args[0], args[1]
		terminated := make(chan os.Signal, 1)
		signal.Notify(terminated, syscall.SIGTERM)
		l, err := queue(path, terminated)
		if err != nil {
			return err
		}
		witness, err := onlyServer(dir)
		if err != nil {
			return os.WriteFile(filepath.Join(dir, twoServers), []byte(err.Error()), 0o600)
		}
		log, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(os.Getpid())), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		srv := &simpleipc.Server{Workers: 4, Handler: simpleipc.HandlerFunc(
			func(ctx context.Context, w *simpleipc.ResponseWriter, r *simpleipc.Request) error {
				if _, err := log.Write(r.Body[:8]); err != nil {
					return err
				}
				_, err := w.Write(answer(r.Body))
				return err
			})}
		go func() {
			<-terminated
			// From now on, another one may have the path.
			witness.Close()
			srv.Shutdown(context.Background())
		}()
		if err := srv.Serve(context.Background(), l); !errors.Is(err, simpleipc.ErrServerClosed) {
			return err
		}
		return nil
	}
}

// twoServers is the file that tells that there was a server too many.
const twoServers = "two servers"

// onlyServer takes the witness that there is one server only. A process that
// has been killed may keep its files for a moment longer than its socket.
func onlyServer(dir string) (*os.File, error) {
	witness, err := os.OpenFile(filepath.Join(dir, "witness"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		if unix.Flock(int(witness.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			if err := witness.Truncate(0); err != nil {
				return nil, err
			}
			_, err := witness.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
			return witness, err
		}
		b, err := os.ReadFile(witness.Name())
		if err != nil {
			return nil, err
		}
		if pid, err := strconv.Atoi(string(b)); err == nil && !dying(pid) {
			// It may have let go of the witness between the two looks.
			if unix.Flock(int(witness.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil && !dying(pid) {
				return nil, fmt.Errorf("%d claims the path of %d, which is alive", os.Getpid(), pid)
			}
		}
		runtime.Gosched()
	}
}

// dying reports whether a process has been killed, as far as one can see.
func dying(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return true
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch name {
		case "State":
			if strings.HasPrefix(value, "Z") || strings.HasPrefix(value, "X") {
				return true
			}
		case "ShdPnd", "SigPnd":
			pending, err := strconv.ParseUint(value, 16, 64)
			if err == nil && pending&(1<<(syscall.SIGKILL-1)) != 0 {
				return true
			}
		}
	}
	return false
}

// queue claims path as soon as no other server has it.
func queue(path string, terminated chan os.Signal) (*simpleipc.Listener, error) {
	rnd := rand.New(rand.NewPCG(uint64(os.Getpid()), 0))
	for {
		l, err := simpleipc.Listen(context.Background(), path)
		if err == nil || !errors.Is(err, simpleipc.ErrInUse) && !errors.Is(err, simpleipc.ErrLocked) {
			return l, err
		}
		select {
		case <-time.After(time.Duration(rnd.IntN(5000)) * time.Microsecond):
		case <-terminated:
			return nil, errNotNeeded
		}
	}
}

// A ledger is what clients know of their requests.
type ledger struct {
	mu       sync.Mutex
	next     uint64
	answered map[uint64]bool
	unseen   map[uint64]bool // those of which an error says that no handler saw them
	doubtful map[uint64]bool // the other errors
	slowest  time.Duration
}

// await waits until n requests are answered, or until it is late.
func (b *ledger) await(n int, late time.Time) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for time.Now().Before(late) {
		b.mu.Lock()
		answered := len(b.answered)
		b.mu.Unlock()
		if answered >= n {
			return
		}
		<-tick.C
	}
}

// TestKilledServers kills, stops and ends servers under load at random moments.
// Others take their place at once.
func TestKilledServers(t *testing.T) {
	const (
		clients  = 4
		standby  = 3
		deadline = 10 * time.Second
	)
	rounds := pick(60, 1000)
	rnd := random(t)
	path, dir := filepath.Join(tempDir(t), "sock"), tempDir(t)
	book := &ledger{answered: map[uint64]bool{}, unseen: map[uint64]bool{}, doubtful: map[uint64]bool{}}

	// Servers: as soon as one has ended, another waits for its turn.
	stop := make(chan struct{})
	var starters sync.WaitGroup
	var mu sync.Mutex
	servers := map[int]*process{}
	killed := map[int]bool{}
	for range standby {
		starters.Go(func() {
			for {
				p := spawn(t, "server", path, dir)
				mu.Lock()
				servers[p.Process.Pid] = p
				mu.Unlock()
				err := p.wait()
				mu.Lock()
				delete(servers, p.Process.Pid)
				ours := killed[p.Process.Pid]
				mu.Unlock()
				early := p.ProcessState.Sys().(syscall.WaitStatus).Signal() == syscall.SIGTERM // before it could listen for it
				if err != nil && !ours && !early && p.ProcessState.ExitCode() != statusNotNeeded {
					t.Errorf("a server ended: %v: %s", err, p.stderr.String())
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}

	// Clients.
	var load sync.WaitGroup
	var done atomic.Bool
	for k := range clients {
		load.Go(func() {
			c := &client{path: path, book: book, deadline: deadline, rnd: rand.New(rand.NewPCG(*seed, uint64(k+1)))}
			for !done.Load() {
				if err := c.call(); err != nil {
					t.Error(err)
				}
			}
			c.close()
		})
	}

	// What happens to them.
	var kills, stops, terms, starts int
	late := time.Now().Add(patience)
	for i := range rounds {
		pause(rnd, 30*time.Millisecond)
		book.await(i, late) // a slow machine would spend its time on starting servers
		pid := ownerOf(path)
		if rnd.IntN(4) == 0 || pid == 0 {
			// Anyone, who may be just claiming the path.
			mu.Lock()
			for pid = range servers {
				break
			}
			mu.Unlock()
			starts++
		}
		mu.Lock()
		p := servers[pid]
		mu.Unlock()
		if p == nil {
			continue
		}
		switch rnd.IntN(4) {
		case 0:
			terms++
			p.Process.Signal(syscall.SIGTERM)
		case 1:
			stops++
			p.Process.Signal(syscall.SIGSTOP)
			pause(rnd, 50*time.Millisecond)
			p.Process.Signal(syscall.SIGCONT)
		default:
			kills++
			mu.Lock()
			killed[pid] = true
			mu.Unlock()
			p.Process.Kill()
		}
	}
	book.await(rounds, late)
	done.Store(true)
	load.Wait()
	close(stop)
	mu.Lock()
	for _, p := range servers {
		p.Process.Signal(syscall.SIGTERM)
	}
	mu.Unlock()
	// One that was just being started has not heard it.
	ended := make(chan struct{})
	go func() {
		starters.Wait()
		close(ended)
	}()
	await(t, "all servers ended", func() bool {
		mu.Lock()
		defer mu.Unlock()
		for _, p := range servers {
			p.Process.Signal(syscall.SIGTERM)
		}
		select {
		case <-ended:
			return true
		default:
			return false
		}
	})

	if b, err := os.ReadFile(filepath.Join(dir, twoServers)); err == nil {
		t.Errorf("there were two servers at once: %s", b)
	}
	lost := book.compare(t, dir, killed)
	t.Logf("%d rounds: %d kills, %d stops, %d terminations, %d of them at somebody waiting or starting; %d requests answered, %d failed unseen, %d failed in doubt, of which %d had been handled by a server that was killed; slowest call %v",
		rounds, kills, stops, terms, starts, len(book.answered), len(book.unseen), len(book.doubtful), lost, book.slowest.Round(time.Millisecond))
	if len(book.answered) < rounds {
		t.Error("hardly a request was answered")
	}
	wantHealed(t, path)
}

// ownerOf returns the process ID of the server at path, or 0.
func ownerOf(path string) int {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	c, err := (&simpleipc.Dialer{Timeout: -1}).Dial(ctx, path)
	if err != nil {
		return 0
	}
	defer c.Close()
	return c.Peer().PID
}

// compare holds what clients know against what the servers have noted. It
// returns how many requests were handled, and their responses lost.
func (b *ledger) compare(t *testing.T, dir string, killed map[int]bool) (lost int) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	handled := map[uint64]bool{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		log, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for ; len(log) >= 8; log = log[8:] {
			id := binary.BigEndian.Uint64(log)
			if handled[id] {
				t.Errorf("request %d was handled twice", id)
			}
			handled[id] = true
			if b.answered[id] {
				continue
			}
			lost++
			if b.unseen[id] {
				t.Errorf("request %d was handled, and its error says that no handler saw it", id)
			}
			if !killed[pid] {
				t.Errorf("request %d was handled by server %d, which ended in order, and not answered", id, pid)
			}
		}
	}
	for id := range b.answered {
		if !handled[id] {
			t.Errorf("request %d was answered and not handled", id)
		}
	}
	return lost
}

// A client makes calls of all kinds.
type client struct {
	path     string
	book     *ledger
	deadline time.Duration
	rnd      *rand.Rand
	conn     *simpleipc.Conn // kept
}

func (c *client) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// call makes one call. Its error is a broken promise, not a broken call.
func (c *client) call() error {
	c.book.mu.Lock()
	c.book.next++
	id := c.book.next
	c.book.mu.Unlock()
	size := 1 << c.rnd.IntN(21)
	request := make([]byte, 8+c.rnd.IntN(size))
	binary.BigEndian.PutUint64(request, id)
	for i := 8; i < len(request); i += 61 {
		request[i] = byte(c.rnd.Uint32())
	}

	ctx, cancel := context.WithTimeout(context.Background(), c.deadline)
	defer cancel()
	began := time.Now()
	response, err := c.exchange(ctx, request)
	took := time.Since(began)
	c.book.mu.Lock()
	defer c.book.mu.Unlock()
	c.book.slowest = max(c.book.slowest, took)
	var e *simpleipc.Error
	switch {
	case err == nil:
		c.book.answered[id] = true
		if !bytes.Equal(response, answer(request)) {
			return fmt.Errorf("request %d of %d bytes: wrong response of %d bytes", id, len(request), len(response))
		}
	case !errors.As(err, &e):
		return fmt.Errorf("request %d: an error without a state: %w", id, err)
	case e.MaybeSeen:
		c.book.doubtful[id] = true
	default:
		c.book.unseen[id] = true
	}
	if took > c.deadline+time.Second {
		return fmt.Errorf("request %d took %v, with a deadline of %v", id, took, c.deadline)
	}
	return nil
}

// exchange makes a call of one kind or another.
func (c *client) exchange(ctx context.Context, request []byte) ([]byte, error) {
	d := &simpleipc.Dialer{WaitNotFound: true, Timeout: c.deadline}
	switch c.rnd.IntN(3) {
	case 0:
		return d.Call(ctx, c.path, request)
	case 1:
		r, err := d.CallStream(ctx, c.path, bytes.NewReader(request))
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return io.ReadAll(r)
	}
	if c.conn == nil {
		conn, err := d.Dial(ctx, c.path)
		if err != nil {
			return nil, err
		}
		c.conn = conn
	}
	response, err := c.conn.Call(ctx, request)
	if err != nil {
		c.close()
	}
	return response, err
}
