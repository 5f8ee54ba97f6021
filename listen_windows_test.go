package simpleipc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

func TestListen(t *testing.T) {
	path := tempPath(t)
	l, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if want := pipeAt(t, path); l.Path() != want {
		t.Errorf("Path: %q, want %q", l.Path(), want)
	}
	wantFiles(t, path, "a pipe")
	if err := l.Check(); err != nil {
		t.Error(err)
	}
	var e *Error
	for _, p := range []string{path, l.Path(), strings.ToUpper(path)} {
		if _, err := Listen(t.Context(), p); !errors.Is(err, ErrInUse) || !errors.As(err, &e) || e.Op != "listen" || e.State != Listening {
			t.Errorf("a second Listen: %v", err)
		}
	}
	if c := start(t, child(t, "claim", path)); c.wait() == nil || !strings.Contains(fmt.Sprint(c.Stderr), ErrInUse.Error()) {
		t.Errorf("Listen in another process: %s", c.Stderr)
	}
	for range 2 {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	wantFiles(t, path)
}

// TestListenRefuses has another program's pipe at the path, such as one of
// Git's, and lets none in besides it.
func TestListenRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		mode, instances uint32
		taken           bool
	}{
		"of messages": {windows.PIPE_TYPE_MESSAGE | windows.PIPE_READMODE_MESSAGE, windows.PIPE_UNLIMITED_INSTANCES, false},
		"of bytes":    {windows.PIPE_TYPE_BYTE, windows.PIPE_UNLIMITED_INSTANCES, false},
		"one":         {windows.PIPE_TYPE_MESSAGE, 1, false},
		"taken":       {windows.PIPE_TYPE_MESSAGE, windows.PIPE_UNLIMITED_INSTANCES, true},
		"one, taken":  {windows.PIPE_TYPE_MESSAGE, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			path := tempPath(t)
			pipe := createPipe(t, path, tt.mode, tt.instances)
			if tt.taken {
				c, err := connect(pipeAt(t, path))
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
			}
			for _, timeout := range []time.Duration{-1, 20 * time.Millisecond} {
				begun := time.Now()
				if _, err := (ListenConfig{LockTimeout: timeout}).Listen(t.Context(), path); !errors.Is(err, ErrInUse) {
					t.Errorf("Listen: %v", err)
				}
				if d := time.Since(begun); tt.taken && d < timeout {
					t.Errorf("gave up after %v, before %v", d, timeout)
				}
			}
			windows.CloseHandle(pipe)
		})
	}
	for name, lc := range map[string]ListenConfig{
		"nonsense":      {SecurityDescriptor: "nonsense"},
		"no such right": {SecurityDescriptor: "D:(A;;NOPE;;;WD)"},
	} {
		path := tempPath(t)
		_, err := lc.Listen(t.Context(), path)
		var e *Error
		if !errors.As(err, &e) || e.Op != "listen" || e.State != OtherError || !strings.Contains(err.Error(), "security descriptor "+fmt.Sprintf("%q", lc.SecurityDescriptor)) {
			t.Errorf("%s: %v", name, err)
		}
		wantFiles(t, path)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Listen(ctx, tempPath(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("after the context's end: %v", err)
	}
	var e *Error
	if _, err := FileListener(os.Stdin); !errors.Is(err, errors.ErrUnsupported) || !errors.As(err, &e) {
		t.Errorf("FileListener: %v", err)
	}
}

// TestListenWaits has the name of a server that is ending.
func TestListenWaits(t *testing.T) {
	path := tempPath(t)
	gone := notListening(t, path)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := (ListenConfig{LockTimeout: time.Hour}).Listen(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Listen until the context ends: %v", err)
	}
	listening := make(chan error, 1)
	go func() {
		l, err := ListenConfig{LockTimeout: patience}.Listen(t.Context(), path)
		if err == nil {
			l.Close()
		}
		listening <- err
	}()
	gone()
	if err := receive(t, listening); err != nil {
		t.Error(err)
	}
}

// TestOneFirstInstance checks what makes Listen exclusive.
func TestOneFirstInstance(t *testing.T) {
	path := tempPath(t)
	l, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	second := &Listener{path: l.path, sd: l.sd, wake: l.wake}
	err = second.newInstance(true)
	for _, in := range second.pending {
		second.settle(in)
		in.close()
	}
	if onWine() {
		t.Skip("Wine lets several processes make the first instance of a pipe")
	}
	if !errors.Is(err, windows.ERROR_ACCESS_DENIED) {
		t.Errorf("a second first instance: %v", err)
	}
}

// TestBacklog connects before anybody accepts: as often as was asked for, and
// as often as nobody does by default.
func TestBacklog(t *testing.T) {
	for backlog, want := range map[int]int{0: 64, 1: 1, 5: 5, 200: 200} {
		l, err := ListenConfig{Backlog: backlog}.Listen(t.Context(), tempPath(t))
		if err != nil {
			t.Fatal(err)
		}
		var conns []socket
		for {
			c, err := connect(l.Path())
			if err != nil {
				if !isBusy(err) {
					t.Error(err)
				}
				break
			}
			conns = append(conns, c)
		}
		if len(conns) != want {
			t.Errorf("a backlog of %d takes %d connections, want %d", backlog, len(conns), want)
		}
		// Each is accepted, once.
		for i, c := range conns {
			fmt.Fprintf(c, "%04d", i)
		}
		seen := make(map[string]bool)
		for range conns {
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			c.SetDeadline(time.Now().Add(patience))
			b := make([]byte, 4)
			if _, err := c.Read(b); err != nil || seen[string(b)] {
				t.Errorf("accepted %q, %v", b, err)
			}
			seen[string(b)] = true
			c.Close()
		}
		for _, c := range conns {
			c.Close()
		}
		l.Close()
		wantFiles(t, l.Path())
	}
}

// TestBurstIsNotRefused has many clients at once which do not wait while the
// server is busy, more than it has workers.
func TestBurstIsNotRefused(t *testing.T) {
	s := serve(t, &Server{Workers: 8})
	const clients, rounds = 50, 10
	var refused atomic.Int32
	started := time.Now()
	for range rounds {
		var wg sync.WaitGroup
		begin := make(chan struct{})
		for i := range clients {
			wg.Go(func() {
				want := fmt.Sprint("client ", i)
				d := Dialer{NoWaitBusy: true}
				<-begin
				got, err := d.Call(t.Context(), s.path, []byte(want))
				switch {
				case errors.Is(err, ErrBusy):
					refused.Add(1)
				case err != nil || string(got) != want:
					t.Errorf("%q, %v", got, err)
				}
			})
		}
		close(begin)
		wg.Wait()
	}
	n := refused.Load()
	t.Logf("%d bursts of %d clients, %d workers: %d of %d clients were refused, %v", rounds, clients, s.Workers, n, clients*rounds, time.Since(started).Round(time.Millisecond))
	if n != 0 {
		t.Error("want none refused")
	}
}

// TestManyRoundTrips has many clients call often, on connections that they
// keep.
func TestManyRoundTrips(t *testing.T) {
	clients, calls := 50, 200
	if testing.Short() {
		calls = 20
	}
	s := serve(t, &Server{Workers: 8})
	var wg sync.WaitGroup
	begun := time.Now()
	for i := range clients {
		wg.Go(func() {
			c, err := new(Dialer).Dial(t.Context(), s.path)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			var got []byte
			for k := range calls {
				want := fmt.Append(nil, i, k)
				if got, err = c.AppendCall(t.Context(), got[:0], want); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%q, %v; want %q", got, err, want)
					return
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(begun)
	t.Logf("%d clients, %d round trips each: %v, %.0f per second", clients, calls, took.Round(time.Millisecond), float64(clients*calls)/took.Seconds())
	// A response is counted when it has been written, and may be read before.
	s.stats(t, "all responses", func(st Stats) bool { return st.Responses == int64(clients*calls) })
	if st := s.Stats(); st.Requests != int64(clients*calls) || st.Dropped != (Dropped{}) {
		t.Errorf("stats: %+v", st)
	}
}

// TestCloseAtAnyMoment closes listeners, servers and connections at any moment
// of what they do, 1000 times, and more often with -count. All ends, and no
// handle is left.
func TestCloseAtAnyMoment(t *testing.T) {
	rounds := 1000
	if testing.Short() {
		rounds = 100
	}
	path := tempPath(t)
	// dither lets a moment pass, of a length that varies.
	dither := func(i int) {
		for range i % 17 * i % 13 {
			runtime.Gosched()
		}
	}
	listen := func() *Listener {
		l, err := ListenConfig{Backlog: 3, LockTimeout: patience}.Listen(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	dialRaw := func() *RawConn {
		c, err := (&Dialer{Timeout: -1}).DialRaw(t.Context(), path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrNotListening) {
			t.Error(err)
		}
		return c
	}
	for name, round := range map[string]func(i int){
		"listener": func(i int) {
			l := listen()
			var wg sync.WaitGroup
			wg.Go(func() {
				for {
					c, err := l.Accept()
					if err != nil {
						if !errors.Is(err, os.ErrClosed) {
							t.Error(err)
						}
						return
					}
					c.Close()
				}
			})
			for range i % 4 {
				wg.Go(func() {
					if c := dialRaw(); c != nil {
						c.Close()
					}
				})
			}
			for range 2 {
				wg.Go(func() {
					dither(i)
					l.Close()
				})
			}
			wg.Wait()
		},
		"server": func(i int) {
			l := listen()
			srv := &Server{Handler: HandlerFunc(echo), Workers: 2}
			var wg sync.WaitGroup
			wg.Go(func() {
				if err := srv.Serve(t.Context(), l); err != ErrServerClosed {
					t.Error(err)
				}
			})
			for range i % 4 {
				wg.Go(func() {
					d := Dialer{Timeout: -1}
					if got, err := d.Call(t.Context(), path, []byte("x")); err == nil && string(got) != "x" {
						t.Errorf("the response is %q", got)
					}
				})
			}
			wg.Go(func() {
				dither(i)
				if i%2 == 0 {
					srv.Close()
				} else if err := srv.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			})
			wg.Wait()
		},
		"connection": func(i int) {
			l := listen()
			var wg sync.WaitGroup
			wg.Go(func() {
				c, err := l.Accept()
				if err != nil {
					t.Error(err)
					return
				}
				wg.Go(func() { c.Write(make([]byte, i*500)) })
				wg.Go(func() { c.Read(make([]byte, 1000)) })
				dither(i * 3)
				c.Close()
			})
			c := dialRaw()
			for range 2 {
				wg.Go(func() { c.Write(make([]byte, i*500)) })
				wg.Go(func() { c.Read(make([]byte, 1000)) })
			}
			wg.Go(func() { c.SetDeadline(time.Now()) })
			dither(i)
			c.Close()
			wg.Wait()
			l.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range rounds / 10 { // what the runtime takes, it takes once
				round(i)
			}
			pipes, _ := openFiles()
			before := openHandles()
			begun := time.Now()
			for i := range rounds {
				round(i)
			}
			t.Logf("closed %d times, in %v", rounds, time.Since(begun).Round(time.Millisecond))
			if now, _ := openFiles(); now > pipes {
				t.Errorf("%d pipes are left open", now-pipes)
			}
			// Threads may have come, but not with each round.
			if now := openHandles(); now > before+rounds/5 {
				t.Errorf("%d handles are left open", now-before)
			}
			wantFiles(t, path)
		})
	}
}

func init() {
	// No other goroutine is to run on the main thread, which does not end.
	runtime.LockOSThread()
}

// TestListenOnEndingThread begins to wait for clients on a thread that ends,
// which ends what it has begun.
func TestListenOnEndingThread(t *testing.T) {
	for name, connectFirst := range map[string]bool{"clients come later": false, "clients have come": true} {
		t.Run(name, func(t *testing.T) {
			var l *Listener
			var err error
			listening, end := make(chan struct{}), make(chan struct{})
			go func() {
				runtime.LockOSThread() // and never unlocked: the thread ends
				l, err = ListenConfig{Backlog: 3}.Listen(context.Background(), tempPath(t))
				close(listening)
				<-end
			}()
			receive(t, listening)
			if err != nil {
				t.Fatal(err)
			}
			var early socket
			if connectFirst {
				early = rawConn(t, l.Path())
				send(t, early, "0005x0000")
			}
			close(end)
			l.mu.Lock()
			pending := l.pending
			l.mu.Unlock()
			eventually(t, "the thread has ended", func() bool { return pending[2].status() != windows.STATUS_PENDING })
			s := serveListener(t, &Server{}, l)
			for range 10 {
				wantCall(t, s.path, "hello", "hello")
			}
			if connectFirst {
				answer := make([]byte, len("0005x0000"))
				if n, err := early.Read(answer); err != nil || string(answer[:n]) != "0005x0000" {
					t.Errorf("who came first got %q, %v", answer[:n], err)
				}
			}
			if st := s.Stats(); st.AcceptErrors != 0 {
				t.Errorf("stats: %+v", st)
			}
		})
	}
}

// TestForgottenListener forgets a Listener. The system still knows the memory
// with which it waits, so that must not be used for anything else.
func TestForgottenListener(t *testing.T) {
	path := tempPath(t)
	func() {
		if _, err := Listen(t.Context(), path); err != nil {
			t.Fatal(err)
		}
	}()
	for range 3 {
		runtime.GC()
	}
	wantFiles(t, path, "a pipe")
	name := pipeAt(t, path)
	openListeners.Range(func(l, _ any) bool {
		if l := l.(*Listener); l.path == name {
			l.Close()
		}
		return true
	})
	wantFiles(t, path)
}

// TestNameIsFreeAfterShutdown has a client keep its connection to a server that
// has ended. The next server can have the name.
func TestNameIsFreeAfterShutdown(t *testing.T) {
	s := serve(t, &Server{})
	c := dial(t, s.path)
	if _, err := c.Call(t.Context(), []byte("x")); err != nil {
		t.Fatal(err)
	}
	raw := rawConn(t, s.path)
	s.stats(t, "both accepted", func(st Stats) bool { return st.Open == 2 })
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	s.wait(t)
	wantFiles(t, s.path)
	l, err := ListenConfig{LockTimeout: -1}.Listen(t.Context(), s.path)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	wantHangUp(t, raw)
	if _, err := c.Call(t.Context(), []byte("x")); !errors.Is(err, ErrConnClosed) {
		t.Errorf("a call after all: %v", err)
	}
}

// TestSecurityDescriptor reads back who may connect.
func TestSecurityDescriptor(t *testing.T) {
	own, err := ownSID()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ config, want string }{
		{"", "O:" + own + "D:P(A;;FA;;;" + own + ")"},
		{"O:" + own + "D:P(A;;GA;;;" + own + ")(A;;0x12019b;;;WD)", "O:" + own + "D:P(A;;FA;;;" + own + ")(A;;0x12019b;;;WD)"},
	} {
		l, err := ListenConfig{SecurityDescriptor: tt.config, Backlog: 2}.Listen(t.Context(), tempPath(t))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		rawConn(t, l.Path())
		if _, err := l.Accept(); err != nil { // and make another instance
			t.Fatal(err)
		}
		for i, h := range []windows.Handle{l.pending[0].pipe, l.pending[1].pipe} {
			sd, err := windows.GetSecurityInfo(h, windows.SE_KERNEL_OBJECT, windows.OWNER_SECURITY_INFORMATION|windows.DACL_SECURITY_INFORMATION)
			if err != nil {
				t.Fatal(err)
			}
			// Windows grants what GENERIC_ALL means for a pipe; Wine says it as
			// it was said.
			got := strings.ReplaceAll(sd.String(), "(A;;GA;;;", "(A;;FA;;;")
			want, err := windows.SecurityDescriptorFromString(tt.want)
			if err != nil {
				t.Fatal(err)
			}
			if got != want.String() { // which may have names for SIDs
				t.Errorf("%q, instance %d: %s, want %s", tt.config, i, got, want)
			}
		}
	}
}

// TestDenied has a security descriptor keep this user out.
func TestDenied(t *testing.T) {
	own, err := ownSID()
	if err != nil {
		t.Fatal(err)
	}
	l, err := ListenConfig{SecurityDescriptor: "O:" + own + "D:P(D;;GA;;;" + own + ")", Backlog: 1}.Listen(t.Context(), tempPath(t))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	state, err := Probe(t.Context(), l.Path())
	if onWine() {
		t.Skip("Wine lets everybody connect to a pipe")
	}
	if state != OtherError || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%v, %v", state, err)
	}
}

// TestHandlesAreNotInherited: programs that this one starts get no pipe.
func TestHandlesAreNotInherited(t *testing.T) {
	l, err := Listen(t.Context(), tempPath(t))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client := rawConn(t, l.Path())
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	send(t, client, "x") // with an event
	send(t, server, "x")
	all := []windows.Handle{l.wake, l.pending[0].pipe, client.write.event, server.sock.write.event}
	for _, p := range []socket{client, server.sock} {
		p.control(func(h windows.Handle) error {
			all = append(all, h)
			return nil
		})
	}
	getHandleInformation := windows.NewLazySystemDLL("kernel32.dll").NewProc("GetHandleInformation")
	for i, h := range all {
		var flags uint32
		if ok, _, err := getHandleInformation.Call(uintptr(h), uintptr(unsafe.Pointer(&flags))); ok == 0 || flags&windows.HANDLE_FLAG_INHERIT != 0 {
			t.Errorf("handle %d of %d: flags %x, %v", i, len(all), flags, err)
		}
	}
}

// TestRemoteClientsAreRejected connects through the network's name for this
// machine.
func TestRemoteClientsAreRejected(t *testing.T) {
	remote := func(path string) error {
		name := `\\localhost\` + strings.TrimPrefix(pipeAt(t, path), `\\.\`)
		h, err := windows.CreateFile(utf16(t, name), windows.GENERIC_READ|windows.GENERIC_WRITE, 0, nil, windows.OPEN_EXISTING, 0, 0)
		if err == nil {
			windows.CloseHandle(h)
		}
		return err
	}
	other := tempPath(t)
	pipe := createPipe(t, other, windows.PIPE_TYPE_BYTE, 1)
	err := remote(other)
	windows.CloseHandle(pipe)
	if err != nil {
		t.Skipf("no pipe of this machine can be reached through the network: %v", err)
	}
	l, err := Listen(t.Context(), tempPath(t))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := remote(l.Path()); err == nil {
		t.Error("a remote client has connected")
	}
}
