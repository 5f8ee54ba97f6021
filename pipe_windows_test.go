package simpleipc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/windows"
)

// TestPipeNames checks which pipe a path stands for.
func TestPipeNames(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	if err := os.Mkdir("sub", 0o700); err != nil {
		t.Fatal(err)
	}
	// as is what stands for a path below dir.
	as := func(path string) string { return `\\.\pipe\` + dir[:1] + "_" + dir[2:] + `\` + path }
	fill := strings.Repeat("x", 256-len(as("")))
	for path, want := range map[string]string{
		`C:\r\.git\x.ipc`:                        `\\.\pipe\C_\r\.git\x.ipc`,
		`C:/r/.git/x.ipc`:                        `\\.\pipe\C_\r\.git\x.ipc`,
		`C:\r\no\..\.git\.\x.ipc`:                `\\.\pipe\C_\r\.git\x.ipc`,
		`C:\r\space bar\ü€😀.ipc`:                 `\\.\pipe\C_\r\space bar\ü€😀.ipc`,
		`\\host\share\r\.git\x.ipc`:              `\\.\pipe\host\share\r\.git\x.ipc`,
		`\\?\C:\r\.git\x.ipc`:                    `\\.\pipe\C_\r\.git\x.ipc`,
		`\\?\UNC\host\share\r\.git\x.ipc`:        `\\.\pipe\host\share\r\.git\x.ipc`,
		`\\?\` + dir + `\sub\x.ipc`:              as(`sub\x.ipc`),
		`x.ipc`:                                  as("x.ipc"),
		`.\x.ipc`:                                as("x.ipc"),
		`sub/x.ipc`:                              as(`sub\x.ipc`),
		`sub\..\x.ipc`:                           as("x.ipc"),
		dir + `\sub\x.ipc`:                       as(`sub\x.ipc`),
		fill:                                     as(fill), // the longest name
		`\\.\pipe\name`:                          `\\.\pipe\name`,
		`\\.\PiPe\Some\Name`:                     `\\.\PiPe\Some\Name`,
		`//./pipe/some/name`:                     `\\.\pipe\some\name`,
		`\\.\pipe\` + strings.Repeat("x", 256-9): `\\.\pipe\` + strings.Repeat("x", 256-9),
	} {
		if got, err := resolve(path); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", path, got, err, want)
		}
	}
	for _, path := range []string{
		"", "a\x00b", `dir\`, "dir/", `C:\`, `\\.\pipe\`, `\\.\pipe\dir\`,
		fill + "x", `\\.\pipe\` + strings.Repeat("x", 256-8), `\\.\pipe\` + strings.Repeat("😀", 124),
	} {
		for op, f := range map[string]func() error{
			"Listen": func() error { _, err := Listen(t.Context(), path); return err },
			"Probe":  func() error { _, err := Probe(t.Context(), path); return err },
			"Dial":   func() error { _, err := new(Dialer).Dial(t.Context(), path); return err },
		} {
			var e *Error
			if err := f(); !errors.Is(err, ErrInvalidPath) || !errors.As(err, &e) || e.State != InvalidPath {
				t.Errorf("%s at %.40q: %v", op, path, err)
			}
		}
	}
}

// TestLinkedDirectory uses a path through a link to a directory, as it does the
// one through the directory itself.
func TestLinkedDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "real"), 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	err := os.Symlink(filepath.Join(dir, "real"), link)
	if _, lerr := os.Lstat(link); err != nil || lerr != nil {
		t.Skipf("no symbolic links, by this user or on this system: %v, %v", err, lerr)
	}
	l, err := Listen(t.Context(), filepath.Join(link, "x.ipc"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if want := pipeAt(t, filepath.Join(dir, "real", "x.ipc")); l.Path() != want {
		t.Errorf("listening at %s, want %s", l.Path(), want)
	}
}

// TestStates checks what Probe and Dial find, and what errors.Is finds in
// their errors.
func TestStates(t *testing.T) {
	path := tempPath(t)
	at := func(name string) string { return filepath.Join(filepath.Dir(path), name) }
	l, err := Listen(t.Context(), at("live"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	busy, err := ListenConfig{Backlog: 3}.Listen(t.Context(), at("busy"))
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	fillBacklog(t, busy.Path())
	if err := os.WriteFile(at("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path  string
		state State
		is    error
	}{
		{at("live"), Listening, nil},
		{strings.ToUpper(at("live")), Listening, nil},
		{l.Path(), Listening, nil},
		{at("busy"), NotListening, ErrNotListening},
		{at("busy"), NotListening, ErrBusy},
		{at("nothing"), PathNotFound, fs.ErrNotExist},
		{at("no/directory"), PathNotFound, fs.ErrNotExist},
		{at("file"), PathNotFound, fs.ErrNotExist}, // it is in no pipe's way
	} {
		wantState(t, tt.path, tt.state, tt.is)
	}
	if e := newError("dial", "x", windows.ERROR_ACCESS_DENIED); e.State != OtherError || !errors.Is(e, fs.ErrPermission) || errors.Is(e, fs.ErrNotExist) {
		t.Errorf("access denied: %v", e)
	}
}

// TestDialWaitsForInstance waits, by default, for a server whose instances are
// all taken, until one is free or the context ends.
func TestDialWaitsForInstance(t *testing.T) {
	l, err := ListenConfig{Backlog: 1}.Listen(t.Context(), tempPath(t))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	fillBacklog(t, l.Path())
	if _, err := (&Dialer{NoWaitBusy: true}).Dial(t.Context(), l.Path()); !errors.Is(err, ErrBusy) {
		t.Errorf("Dial without waiting: %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	dialed := make(chan error, 1)
	go func() {
		_, err := new(Dialer).Dial(ctx, l.Path())
		dialed <- err
	}()
	// As long as a socket is waited for: a pipe is waited for longer.
	select {
	case err := <-dialed:
		t.Fatalf("Dial does not wait: %v", err)
	case <-time.After(1100 * time.Millisecond):
	}
	cancel()
	cancelled := time.Now()
	if err := receive(t, dialed); !errors.Is(err, context.Canceled) || !errors.Is(err, ErrBusy) {
		t.Errorf("Dial until the context ends: %v", err)
	}
	if d := time.Since(cancelled); d > defaultDialTimeout/3 {
		t.Errorf("Dial returned %v after the end of its context", d)
	}

	accepted := make(chan struct{})
	go func() {
		c, err := new(Dialer).Dial(t.Context(), l.Path())
		if err == nil {
			<-accepted // one that leaves before is not accepted at all
			c.Close()
		}
		dialed <- err
	}()
	for range 2 { // the one in the backlog, and this
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	close(accepted)
	if err := receive(t, dialed); err != nil {
		t.Errorf("Dial of a server that has accepted meanwhile: %v", err)
	}
}

func init() {
	// call PATH REQUEST: calls the server, and prints the response.
	childFuncs["call"] = func(args []string) error {
		response, err := Call(context.Background(), args[0], []byte(args[1]))
		fmt.Println(string(response))
		return err
	}
	// leave PATH BYTES: connects, sends these, and ends without closing.
	childFuncs["leave"] = func(args []string) error {
		c, err := new(Dialer).DialRaw(context.Background(), args[0])
		if err == nil && args[1] != "" {
			_, err = c.Write([]byte(args[1]))
		}
		return err
	}
	// never-answer PATH: serves the path until killed, and never answers.
	childFuncs["never-answer"] = func(args []string) error {
		l, err := Listen(context.Background(), args[0])
		if err != nil {
			return err
		}
		fmt.Println("listening")
		return (&Server{Handler: HandlerFunc(func(ctx context.Context, _ *ResponseWriter, _ *Request) error {
			fmt.Println("asked")
			<-ctx.Done()
			return nil
		})}).Serve(context.Background(), l)
	}
}

// TestPeersInOtherProcesses has each side know who the other is.
func TestPeersInOtherProcesses(t *testing.T) {
	s := serve(t, &Server{Handler: HandlerFunc(func(_ context.Context, w *ResponseWriter, r *Request) error {
		_, err := fmt.Fprint(w, r.Peer)
		return err
	})})
	client := start(t, child(t, "call", s.path, "who am I?"))
	want := thisProcess()
	want.PID = client.Process.Pid
	client.expect(t, want.String())

	path := tempPath(t)
	server := start(t, child(t, "never-answer", path))
	server.expect(t, "listening")
	want.PID = server.Process.Pid
	d := Dialer{Authorize: func(p Peer) error {
		if p != want {
			t.Errorf("the server is %v, want %v", p, want)
		}
		return errors.New("no")
	}}
	if _, err := d.Dial(t.Context(), path); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("Dial: %v", err)
	}
}

func TestSameUser(t *testing.T) {
	own, err := ownSID()
	if err != nil {
		t.Fatal(err)
	}
	for sid, ok := range map[string]bool{own: true, "S-1-5-18": true, "": false, "S-1-5-19": false, own + "1": false, "S-1-1-0": false} {
		if err := SameUser(Peer{PID: 1, UID: unknown, GID: unknown, SID: sid}); (err == nil) != ok || !ok && !errors.Is(err, ErrUnauthorized) {
			t.Errorf("SID %q: %v", sid, err)
		}
	}
	if err := AnyUser(Peer{SID: ""}); err != nil {
		t.Error(err)
	}
}

// TestPeerOf looks for a process that there is not, and one that may be
// somebody else's, whose user may not be known.
func TestPeerOf(t *testing.T) {
	if p, err := peerOf(1<<31 + 1); !errors.Is(err, errNoProcess) { // all IDs are multiples of 4
		t.Errorf("no process: %v, %v", p, err)
	}
	const system = 4
	if p, err := peerOf(system); err != nil || p.PID != system || p.SID != "" && p.SID != systemSID {
		if !(onWine() && errors.Is(err, errNoProcess)) { // Wine has no such process
			t.Errorf("the system: %v, %v", p, err)
		}
	}
}

// TestClientsThatLeave has clients that end at once, before they are accepted
// and after. No word is lost about them, and nobody has to wait for them.
func TestClientsThatLeave(t *testing.T) {
	l, err := Listen(t.Context(), tempPath(t))
	if err != nil {
		t.Fatal(err)
	}
	leave := func(sent string) {
		t.Helper()
		if err := start(t, child(t, "leave", l.Path(), sent)).wait(); err != nil {
			t.Error(err)
		}
	}
	for _, sent := range []string{"", "0000", "0008pi"} {
		leave(sent)
	}
	s := serveListener(t, &Server{}, l)
	wantCall(t, s.path, "hello", "hello")
	leave("")
	wantCall(t, s.path, "hello", "hello")
	s.stats(t, "all closed", func(st Stats) bool { return st.Open == 0 })
	if st := s.Stats(); st.Dropped.Refused != 0 || st.AcceptErrors != 0 {
		t.Errorf("stats: %+v", st)
	}
	for line := range strings.Lines(s.log.String()) {
		if strings.Contains(line, "level=WARN") || strings.Contains(line, "level=ERROR") {
			t.Errorf("logged: %s", line)
		}
	}
}

// TestServerDies kills a server that is about to answer.
func TestServerDies(t *testing.T) {
	path := tempPath(t)
	server := start(t, child(t, "never-answer", path))
	server.expect(t, "listening")
	called := make(chan error, 1)
	go func() {
		_, err := Call(t.Context(), path, []byte("x"))
		called <- err
	}()
	server.expect(t, "asked")
	server.kill()
	err := receive(t, called)
	var e *Error
	if !errors.Is(err, ErrConnClosed) || !errors.As(err, &e) || !e.MaybeSeen {
		t.Errorf("the call: %v", err)
	}
	wantFiles(t, path)
	l, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

// TestClientDies kills clients that are being answered, or within a request.
func TestClientDies(t *testing.T) {
	cause := make(chan error, 1)
	entered := make(chan struct{}, 1)
	s := serve(t, &Server{Handler: HandlerFunc(func(ctx context.Context, w *ResponseWriter, r *Request) error {
		entered <- struct{}{}
		<-ctx.Done()
		cause <- context.Cause(ctx)
		return ctx.Err()
	})})
	client := start(t, child(t, "call", s.path, "x"))
	receive(t, entered)
	client.kill()
	if err := receive(t, cause); err != ErrConnClosed {
		t.Errorf("cause: %v", err)
	}
	s.stats(t, "hung up", func(st Stats) bool { return st.Dropped == Dropped{HungUp: 1} && st.Open == 0 })
}
