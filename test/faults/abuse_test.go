//go:build linux

package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/simpleipc"
	"example.com/simpleipc/internal/race"
	"example.com/simpleipc/pktline"
)

const (
	workers    = 4
	maxRequest = 1 << 20
	// big is a response that fits no buffer.
	big = 100 << 20
)

// A status is what the echo server tells of itself.
type status struct {
	simpleipc.Stats
	Goroutines, Files int
	Resident          int64 // bytes
}

func init() {
	// echo PATH [FILES]: answers with the request; "status" with what it knows
	// of itself, and "big" with 100 MB. It may have no more than FILES open.
	roles["echo"] = func(args []string) error {
		if len(args) > 1 {
			n, err := strconv.ParseUint(args[1], 10, 64)
			if err != nil {
				return err
			}
			if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: n}); err != nil {
				return err
			}
		}
		l, err := simpleipc.Listen(context.Background(), args[0])
		if err != nil {
			return err
		}
		page := make([]byte, big)
		srv := &simpleipc.Server{
			Workers: workers, MaxRequest: maxRequest,
			ReadTimeout: 2 * time.Second, WriteTimeout: 2 * time.Second,
		}
		srv.Handler = simpleipc.HandlerFunc(func(ctx context.Context, w *simpleipc.ResponseWriter, r *simpleipc.Request) error {
			switch string(r.Body) {
			case "status":
				return json.NewEncoder(w).Encode(myself(srv))
			case "big":
				_, err := w.Write(page)
				return err
			}
			_, err := w.Write(r.Body)
			return err
		})
		fmt.Println("listening")
		return srv.Serve(context.Background(), l)
	}
}

func myself(srv *simpleipc.Server) status {
	runtime.GC()
	files, _ := os.ReadDir("/proc/self/fd")
	var size, resident int64
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		fmt.Sscan(string(b), &size, &resident)
	}
	return status{Stats: srv.Stats(), Goroutines: runtime.NumGoroutine(), Files: len(files), Resident: resident * int64(os.Getpagesize())}
}

func stateOfServer(t testing.TB, path string) status {
	t.Helper()
	c, err := new(simpleipc.Dialer).Dial(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return stateOver(t, c)
}

// stateOver asks the server on a connection that there is.
func stateOver(t testing.TB, c *simpleipc.Conn) (s status) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	b, err := c.Call(ctx, []byte("status"))
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// raw connects a socket that keeps to no rules.
func raw(t testing.TB, path string) *os.File {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	// A blocking connect waits for a place in the backlog.
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "abuse")
	f.SetDeadline(time.Now().Add(patience))
	return f
}

// hungUp checks that the server closes the connection and sends nothing.
func hungUp(t testing.TB, what string, f *os.File) {
	t.Helper()
	b, err := io.ReadAll(f)
	if len(b) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s: the server sent %.40q, %v", what, b, err)
	}
	f.Close()
}

// TestAbusiveClients lets clients of every bad kind loose on a server, and
// measures how others are served meanwhile.
func TestAbusiveClients(t *testing.T) {
	path := filepath.Join(tempDir(t), "sock")
	p := spawn(t, "echo", path)
	p.line(t)
	simpleipc.Call(context.Background(), path, make([]byte, maxRequest)) // warm
	var before status
	for range 50 { // until all that it starts has started
		before = stateOfServer(t, path)
	}

	// Those who behave.
	var done sync.WaitGroup
	stop := make(chan struct{})
	var mu sync.Mutex
	var latencies []time.Duration
	for range 2 {
		done.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				want := fmt.Sprint("request ", i)
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				began := time.Now()
				got, err := simpleipc.Call(ctx, path, []byte(want))
				cancel()
				if err != nil || string(got) != want {
					t.Errorf("a good client got %q, %v", got, err)
				}
				mu.Lock()
				latencies = append(latencies, time.Since(began))
				mu.Unlock()
			}
		})
	}
	figures := func(what string, n int) {
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(latencies)
		if k := len(latencies); k > 0 {
			t.Logf("%s: %d; meanwhile %d others were served: median %v, 99%% %v, slowest %v",
				what, n, k, latencies[k/2].Round(time.Microsecond), latencies[k*99/100].Round(time.Microsecond), latencies[k-1].Round(time.Microsecond))
		}
		latencies = latencies[:0]
	}

	// What is no packet.
	var headers []string
	for n := range 1 << 16 {
		if h := fmt.Sprintf("%04x", n); (n == 1 || n == 2 || n == 3 || n > 0xfff0) && (*long || n%3 == 0 || n < 4) {
			headers = append(headers, h)
		}
	}
	headers = append(headers, "GET ", "\x00\x00\x00\x00", "\xff\xff\xff\xff", "-001", "+0008", " 008", "0x08", "000g", "00 8")
	for _, h := range headers {
		for _, prefix := range []string{"", "0009hello"} {
			f := raw(t, path)
			io.WriteString(f, prefix+h)
			hungUp(t, prefix+h, f)
		}
	}
	figures("malformed and illegal packets", 2*len(headers))

	// What ends too early.
	request := "0009hello" + "0006hi" + "0000"
	for cut := range len(request) {
		f := raw(t, path)
		io.WriteString(f, request[:cut])
		unix.Shutdown(int(f.Fd()), unix.SHUT_WR)
		f.SetDeadline(time.Now().Add(patience))
		hungUp(t, request[:cut], f)
	}
	for range 200 {
		raw(t, path).Close()
	}
	figures("half-closed and closed at every byte", len(request)+200)

	// What is too large. A busy machine may send one so slowly that it is dropped
	// for that, and then sends another.
	packet := "fff0" + strings.Repeat("x", 65516)
	for dropped := stateOfServer(t, path).Dropped; dropped.TooLarge < 20; {
		f := raw(t, path)
		for range maxRequest/65516 + 2 {
			if _, err := io.WriteString(f, packet); err != nil {
				break
			}
		}
		f.Close()
		last := dropped
		await(t, "a request over the limit is dropped", func() bool {
			dropped = stateOfServer(t, path).Dropped
			return dropped.TooLarge+dropped.Slow > last.TooLarge+last.Slow
		})
	}
	figures("requests over the limit", 20)

	// Many at once who say nothing, or claim what they do not send.
	n := min(pick(1000, 5000), int(openFiles(t))-200)
	for what, bytes := range map[string]string{"silent connections": "", "headers that claim 65520 bytes": "fff0"} {
		var files []*os.File
		for range n {
			f := raw(t, path)
			io.WriteString(f, bytes)
			files = append(files, f)
		}
		state := stateOfServer(t, path)
		each := (state.Resident - before.Resident) / int64(n)
		t.Logf("%s: %d of them take %d bytes of the server's memory each", what, n, each)
		// With few descriptors, what the server takes anyway would count.
		if bound := int64(32 << 10); each > bound && n >= 500 && !race.Enabled {
			t.Errorf("%s take %d bytes each, more than %d", what, each, bound)
		}
		figures(what, n)
		for _, f := range files {
			f.Close()
		}
	}

	// One byte at a time, until the server loses its patience.
	slow := raw(t, path)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		<-tick.C
		if _, err := slow.Write([]byte("0ffehello, this takes a while"[i%28 : i%28+1])); err != nil {
			break
		}
		if i > 600 {
			t.Error("the server waits for ever for a slow request")
			break
		}
	}
	slow.Close()
	figures("one byte at a time", 1)

	// As many as there are workers, each of which does not read its response.
	var deaf []*os.File
	for range workers {
		f := raw(t, path)
		io.WriteString(f, "0007big0000")
		deaf = append(deaf, f)
	}
	await(t, "clients that do not read are dropped", func() bool {
		return stateOfServer(t, path).Dropped.Stalled >= workers
	})
	for _, f := range deaf {
		if n, _ := io.Copy(io.Discard, f); n >= big {
			t.Errorf("a client that did not read got all of %d bytes", n)
		}
		f.Close()
	}
	figures("clients that do not read 100 MB", workers)

	close(stop)
	done.Wait()
	var after status
	await(t, "connections closed", func() bool {
		after = stateOfServer(t, path)
		return after.Open == 1 && after.Files <= before.Files && after.Goroutines <= before.Goroutines
	})
	t.Logf("before: %d goroutines, %d files, %d KiB; after: %d, %d, %d KiB",
		before.Goroutines, before.Files, before.Resident>>10, after.Goroutines, after.Files, after.Resident>>10)
	if d := after.Dropped; d.Malformed == 0 || d.CutShort == 0 || d.TooLarge != 20 || d.Slow == 0 || d.Stalled != workers {
		t.Errorf("dropped: %+v", d)
	}
}

// openFiles is how many files this process may have open.
func openFiles(t testing.TB) uint64 {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return limit.Cur
}

// TestAbusiveServers has servers of every bad kind answer our client. Each call
// ends with the right error, in time.
func TestAbusiveServers(t *testing.T) {
	path := filepath.Join(tempDir(t), "sock")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 100); err != nil {
		t.Fatal(err)
	}
	listener := os.NewFile(uintptr(fd), path)
	accepts, err := listener.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	answers := make(chan func(f *os.File))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for answer := range answers {
			var conn int
			accepts.Read(func(fd uintptr) bool {
				conn, _, err = unix.Accept4(int(fd), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
				return err != unix.EAGAIN
			})
			f := os.NewFile(uintptr(conn), "abusive server")
			f.SetDeadline(time.Now().Add(patience))
			answer(f)
			f.Close()
		}
	}()
	defer func() {
		close(answers)
		<-ended
		listener.Close()
	}()

	readAll := func(f *os.File) { io.ReadFull(f, make([]byte, len("0008ping0000"))) }
	say := func(text string) func(*os.File) {
		return func(f *os.File) {
			readAll(f)
			io.WriteString(f, text)
		}
	}
	calls := 0
	expect := func(what string, answer func(*os.File), timeout time.Duration, want ...error) {
		t.Helper()
		for _, stream := range []bool{false, true} {
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			answers <- answer
			began := time.Now()
			d := &simpleipc.Dialer{MaxResponse: 1 << 20}
			var err error
			if stream {
				var r *simpleipc.Response
				if r, err = d.CallStream(ctx, path, strings.NewReader("ping")); err == nil {
					_, err = io.Copy(io.Discard, io.LimitReader(r, 1<<22))
					r.Close()
				}
			} else {
				_, err = d.Call(ctx, path, []byte("ping"))
			}
			cancel()
			calls++
			if took := time.Since(began); took > timeout+5*time.Second {
				t.Errorf("%s: took %v", what, took)
			}
			if stream && errors.Is(want[0], simpleipc.ErrTooLarge) {
				continue // a stream has no limit
			}
			if !slices.ContainsFunc(want, func(w error) bool { return errors.Is(err, w) }) {
				t.Errorf("%s, stream: %v: %v, want %v", what, stream, err, want)
			}
			var e *simpleipc.Error
			if !errors.As(err, &e) || e.State != simpleipc.Listening {
				t.Errorf("%s: the error has no state: %v", what, err)
			}
		}
	}

	response := "0009hello" + "0004" + "0006hi" + "0000"
	for cut := range len(response) {
		want := io.ErrUnexpectedEOF
		if cut == 0 {
			want = simpleipc.ErrConnClosed
		}
		expect(fmt.Sprintf("response cut off behind %d bytes", cut), say(response[:cut]), patience, want)
	}
	protocol := pktline.ErrProtocol
	for _, h := range []string{"0001", "0002", "0003", "fff1", "ffff", "HTTP", "\x00\x00\x00\x00", "0x05"} {
		expect("header "+h, say(h), patience, protocol)
		expect("header behind data "+h, say("0009hello"+h), patience, protocol)
	}
	expect("a large header and no data", say("fff0"), patience, io.ErrUnexpectedEOF)
	expect("hangs up at once", func(*os.File) {}, patience, simpleipc.ErrConnClosed)
	expect("hangs up unread, with an answer begun", func(f *os.File) { io.WriteString(f, "0009hel") }, patience, io.ErrUnexpectedEOF, simpleipc.ErrConnClosed)
	expect("never answers", func(f *os.File) { io.Copy(io.Discard, f) }, 500*time.Millisecond, context.DeadlineExceeded)
	expect("one byte now and then", func(f *os.File) {
		readAll(f)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			<-tick.C
			if _, err := f.Write([]byte("0")); err != nil {
				return
			}
			if _, err := f.Write([]byte("005x")); err != nil {
				return
			}
		}
	}, 500*time.Millisecond, context.DeadlineExceeded)
	expect("an endless response", func(f *os.File) {
		readAll(f)
		packet := "fff0" + strings.Repeat("x", 65516)
		for {
			if _, err := io.WriteString(f, packet); err != nil {
				return
			}
		}
	}, patience, simpleipc.ErrTooLarge)

	// One that does not read the request either.
	for range 10 {
		answers <- func(f *os.File) { f.Read(make([]byte, 1)) }
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		_, err := simpleipc.Call(ctx, path, make([]byte, 10<<20))
		cancel()
		calls++
		var e *simpleipc.Error
		if !errors.Is(err, simpleipc.ErrConnClosed) || !errors.As(err, &e) || e.MaybeSeen {
			t.Errorf("a request that was not read: %v", err)
		}
	}
	t.Logf("%d calls, each of which failed with the right error in time", calls)
}
