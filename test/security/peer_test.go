//go:build linux

package security

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/simpleipc"
)

// What a test says of a server that has ended.
type served struct {
	simpleipc.Stats
	Serve outcome
	Log   string
}

func init() {
	// serve MODE WHO PATH: serves the path for anybody, or for the same user,
	// and tells how it is doing when it is asked. The answer to a request is
	// who has sent it.
	childFuncs["serve"] = func(args []string) error {
		mode, err := strconv.ParseUint(args[0], 8, 32)
		if err != nil {
			return err
		}
		syscall.Umask(0)
		l, err := simpleipc.ListenConfig{Mode: fs.FileMode(mode)}.Listen(context.Background(), args[2])
		if err != nil {
			return err
		}
		var log bytes.Buffer
		srv := &simpleipc.Server{
			Handler: simpleipc.HandlerFunc(func(_ context.Context, w *simpleipc.ResponseWriter, r *simpleipc.Request) error {
				return json.NewEncoder(w).Encode(r.Peer)
			}),
			Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		}
		if args[1] == "anybody" {
			srv.Authorize = simpleipc.AnyUser
		}
		ctx, stop := context.WithCancel(context.Background())
		say("serving")
		go func() {
			defer stop()
			for {
				if _, err := stdin.ReadString('\n'); err != nil {
					return
				}
				say(srv.Stats())
			}
		}()
		err = srv.Serve(ctx, l)
		say(served{srv.Stats(), outcomeOf(err), log.String()})
		return nil
	}

	// talk WHO PATH REQUEST: calls a server that is anybody's, or the same
	// user's.
	childFuncs["talk"] = func(args []string) error {
		say(talk(args[0], args[1], args[2]))
		return nil
	}

	// changed REAL EFFECTIVE AFTER PATH: connects with these users, becomes
	// another one altogether, and then sends a request.
	childFuncs["changed"] = func(args []string) error {
		var id [3]int
		for i := range id {
			var err error
			if id[i], err = strconv.Atoi(args[i]); err != nil {
				return err
			}
		}
		if err := syscall.Setresgid(id[0], id[1], 0); err != nil {
			return err
		}
		if err := syscall.Setresuid(id[0], id[1], 0); err != nil {
			return err
		}
		c, err := (&simpleipc.Dialer{Authorize: simpleipc.AnyUser, NoWaitBusy: true}).Dial(context.Background(), args[3])
		if err != nil {
			say(outcomeOf(err))
			return nil
		}
		defer c.Close()
		if err := syscall.Setresuid(0, 0, 0); err != nil {
			return err
		}
		if err := syscall.Setresgid(id[2], id[2], id[2]); err != nil {
			return err
		}
		if err := syscall.Setresuid(id[2], id[2], id[2]); err != nil {
			return err
		}
		answer, err := c.Call(context.Background(), []byte("after"))
		o := outcomeOf(err)
		o.Answer, o.Peer = string(answer), c.Peer()
		say(o)
		return nil
	}

	// silent N PATH: connects N times and holds on.
	childFuncs["silent"] = func(args []string) error {
		n, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		for range n {
			c, err := net.Dial("unix", args[1])
			if err != nil {
				return err
			}
			defer c.Close()
		}
		say("connected")
		told()
		say("bye")
		return nil
	}

	// impostor MODE PATH...: listens by hand, reads all that clients send and
	// answers "0000".
	childFuncs["impostor"] = func(args []string) error {
		mode, err := strconv.ParseUint(args[0], 8, 32)
		if err != nil {
			return err
		}
		var spies []*spy
		for _, path := range args[1:] {
			l, err := net.Listen("unix", path)
			if err != nil {
				return err
			}
			defer l.Close()
			if err := os.Chmod(path, fs.FileMode(mode)); err != nil {
				return err
			}
			spies = append(spies, newSpy(l))
		}
		say("listening")
		told()
		say(findings(spies))
		return nil
	}

	// heir PATH: is an impostor with a listening socket that it inherited.
	childFuncs["heir"] = func(args []string) error {
		l, err := net.FileListener(os.NewFile(3, "inherited"))
		if err != nil {
			return err
		}
		s := &spy{l: l, path: args[0], done: make(chan struct{})}
		go s.run()
		say("listening")
		told()
		say(findings([]*spy{s}))
		return nil
	}
}

func talk(who, path, request string) outcome {
	d := &simpleipc.Dialer{NoWaitBusy: true}
	if who == "anybody" {
		d.Authorize = simpleipc.AnyUser
	}
	c, err := d.Dial(context.Background(), path)
	if err != nil {
		return outcomeOf(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	answer, err := c.Call(ctx, []byte(request))
	o := outcomeOf(err)
	o.Answer, o.Peer = string(answer), c.Peer()
	return o
}

// A spy takes connections and counts what it is sent.
type spy struct {
	l       net.Listener
	path    string
	done    chan struct{}
	clients int
	bytes   int
}

// What a spy has found.
type found struct{ Clients, Bytes int }

func newSpy(l net.Listener) *spy {
	s := &spy{l: l, path: l.Addr().String(), done: make(chan struct{})}
	go s.run()
	return s
}

// lastWord is what findings sends, behind all others.
const lastWord = "enough"

// run reads one connection after the other until the last word comes.
func (s *spy) run() {
	defer close(s.done)
	for {
		c, err := s.l.Accept()
		if err != nil {
			return
		}
		c.SetDeadline(time.Now().Add(patience))
		var all []byte
		buf := make([]byte, 4096)
		for {
			n, err := c.Read(buf)
			all = append(all, buf[:n]...)
			if bytes.HasSuffix(all, []byte("0000")) {
				io.WriteString(c, "0000")
			}
			if err != nil {
				break
			}
		}
		c.Close()
		if string(all) == lastWord {
			return
		}
		s.clients++
		s.bytes += len(all)
	}
}

// findings lets spies take all that have connected and returns the sum.
func findings(spies []*spy) (sum found) {
	for _, s := range spies {
		if c, err := net.Dial("unix", s.path); err == nil {
			io.WriteString(c, lastWord)
			c.Close()
		} else {
			s.l.Close()
		}
		<-s.done
		sum.Clients += s.clients
		sum.Bytes += s.bytes
	}
	return sum
}

// serve starts a server as u in a directory that all may enter.
func (u user) serve(t testing.TB, mode, who string) (server *process, path string) {
	t.Helper()
	path = filepath.Join(directory(t, u, 0o755), "sock")
	server = u.start(t, "serve", mode, who, path)
	server.expect(t, "serving")
	return server, path
}

// wantPeer checks whom a server has seen.
func wantPeer(t testing.TB, o outcome, want simpleipc.Peer) {
	t.Helper()
	var got simpleipc.Peer
	if err := json.Unmarshal([]byte(o.Answer), &got); err != nil || o.Err != "" || got != want {
		t.Errorf("the server saw %q, %v; want %+v; error: %s", o.Answer, err, want, o.Err)
	}
}

// expectEnd waits for a server to end by itself.
func (p *process) expectEnd(t testing.TB, kind string) {
	t.Helper()
	var end served
	p.hear(t, &end)
	if !end.Serve.is(kind) {
		t.Errorf("the server ended with %+v", end)
	}
}

// TestPrivateSocket: the permissions keep another user out, and not root.
func TestPrivateSocket(t *testing.T) {
	needRoot(t)
	server, path := alice.serve(t, "600", "same user")
	for _, who := range []string{"same user", "anybody"} {
		o := ask[outcome](t, mallory, "talk", who, path, "secret")
		if !o.is("permission") || o.is("unauthorized") || o.State != simpleipc.OtherError.String() {
			t.Errorf("another user's call: %+v", o)
		}
	}
	for _, u := range []user{alice, root} {
		p := u.start(t, "talk", "anybody", path, "hello")
		var o outcome
		p.stop(t, &o)
		wantPeer(t, o, simpleipc.Peer{PID: p.Process.Pid, UID: int(u.id), GID: int(u.id)})
	}
	var end served
	server.stop(t, &end)
	if end.Accepted != 2 || end.Responses != 2 || end.Dropped != (simpleipc.Dropped{}) {
		t.Errorf("stats: %+v", end.Stats)
	}
}

// TestStrangerRefused: another user who may connect is refused before a byte
// of what it sends is read, and its bytes are not logged.
func TestStrangerRefused(t *testing.T) {
	needRoot(t)
	server, path := alice.serve(t, "666", "same user")
	o := ask[outcome](t, mallory, "talk", "anybody", path, "the-request")
	if !o.is("closed") {
		t.Errorf("another user's call: %+v", o)
	}
	var end served
	server.stop(t, &end)
	if want := (simpleipc.Dropped{Refused: 1}); end.Accepted != 1 || end.BytesIn != 0 || end.BytesOut != 0 || end.Dropped != want {
		t.Errorf("stats: %+v", end.Stats)
	}
	if !strings.Contains(end.Log, "refused") || !strings.Contains(end.Log, fmt.Sprint("peer.uid=", mallory.id)) || strings.Contains(end.Log, "the-request") {
		t.Errorf("log: %s", end.Log)
	}
}

// TestStrangerServed: with AnyUser another user is served, and the handler is
// told who it is.
func TestStrangerServed(t *testing.T) {
	needRoot(t)
	server, path := alice.serve(t, "666", "anybody")
	p := mallory.start(t, "talk", "anybody", path, "the-request")
	var o outcome
	p.stop(t, &o)
	wantPeer(t, o, simpleipc.Peer{PID: p.Process.Pid, UID: int(mallory.id), GID: int(mallory.id)})
	if want := (simpleipc.Peer{PID: server.Process.Pid, UID: int(alice.id), GID: int(alice.id)}); o.Peer != want {
		t.Errorf("the client saw %+v, want %+v", o.Peer, want)
	}
	var end served
	server.stop(t, &end)
	if strings.Contains(end.Log, "the-request") {
		t.Errorf("log: %s", end.Log)
	}
}

// TestHighUserNumber: a user's number that is negative as an int32 is no
// unknown user.
func TestHighUserNumber(t *testing.T) {
	needRoot(t)
	server, path := alice.serve(t, "666", "same user")
	high := user{"high", 4000000000}
	if o := ask[outcome](t, high, "talk", "anybody", path, "hello"); !o.is("closed") {
		t.Errorf("call by user %d: %+v", high.id, o)
	}
	var end served
	server.stop(t, &end)
	if end.Dropped.Refused != 1 || end.BytesIn != 0 {
		t.Errorf("stats: %+v", end.Stats)
	}
}

// TestImpostor: a client sends no byte to another user's server, and root
// sends none to an unprivileged one.
func TestImpostor(t *testing.T) {
	needRoot(t)
	for _, client := range []user{alice, root} {
		path := filepath.Join(directory(t, root, sticky), "sock")
		impostor := mallory.start(t, "impostor", "666", path)
		impostor.expect(t, "listening")
		o := ask[outcome](t, client, "talk", "same user", path, "secret")
		if !o.is("unauthorized") || !o.is("permission") || o.State != simpleipc.Listening.String() {
			t.Errorf("%s's call: %+v", client.name, o)
		}
		// A probe only tells that somebody listens.
		if state, err := simpleipc.Probe(t.Context(), path); state != simpleipc.Listening {
			t.Errorf("Probe: %v, %v", state, err)
		}
		var got found
		impostor.stop(t, &got)
		if want := (found{Clients: 2}); got != want {
			t.Errorf("the impostor found %+v, want %+v", got, want)
		}
	}
}

// TestRootsServer: everyone talks to root's server, if that lets them.
func TestRootsServer(t *testing.T) {
	needRoot(t)
	server, path := root.serve(t, "666", "anybody")
	for _, u := range []user{alice, mallory, root} {
		o := ask[outcome](t, u, "talk", "same user", path, "hello")
		if o.Err != "" || o.Peer.UID != 0 || o.Peer.PID != server.Process.Pid {
			t.Errorf("%s's call: %+v", u.name, o)
		}
	}
	server, path = root.serve(t, "666", "same user")
	if o := ask[outcome](t, alice, "talk", "same user", path, "hello"); !o.is("closed") {
		t.Errorf("alice's call: %+v", o)
	}
	var end served
	server.stop(t, &end)
	if end.Dropped.Refused != 1 || end.BytesIn != 0 {
		t.Errorf("stats: %+v", end.Stats)
	}
}

// TestEffectiveUser: a peer is its effective user when it connects, as with a
// setuid program, and whatever it becomes after that.
func TestEffectiveUser(t *testing.T) {
	needRoot(t)
	number := func(u user) string { return strconv.Itoa(int(u.id)) }
	for _, tt := range []struct {
		real, effective, after user
		served                 bool
	}{
		{mallory, alice, mallory, true},
		{alice, mallory, alice, false},
		{alice, alice, mallory, true},
		{mallory, mallory, alice, false},
		{mallory, root, mallory, true},
	} {
		t.Run(fmt.Sprintf("%s as %s, then %s", tt.real.name, tt.effective.name, tt.after.name), func(t *testing.T) {
			server, path := alice.serve(t, "666", "same user")
			p := root.start(t, "changed", number(tt.real), number(tt.effective), number(tt.after), path)
			var o outcome
			p.stop(t, &o)
			if tt.served {
				wantPeer(t, o, simpleipc.Peer{PID: p.Process.Pid, UID: int(tt.effective.id), GID: int(tt.effective.id)})
			} else if !o.is("closed") {
				t.Errorf("call: %+v", o)
			}
			var end served
			server.stop(t, &end)
			if refused := end.Dropped.Refused == 1 && end.BytesIn == 0; refused == tt.served {
				t.Errorf("stats: %+v", end.Stats)
			}
		})
	}
}

// TestListenerPassedOn: who inherits a listening socket gets its clients, and
// they see who began to listen.
func TestListenerPassedOn(t *testing.T) {
	needRoot(t)
	path := filepath.Join(directory(t, root, 0o755), "sock")
	l, err := net.Listen("unix", path)
	must(t, err)
	defer l.Close()
	must(t, os.Chmod(path, 0o666))
	f, err := l.(*net.UnixListener).File()
	must(t, err)
	defer f.Close()
	cmd := mallory.command("heir", path)
	cmd.ExtraFiles = []*os.File{f}
	heir := start(t, cmd)
	heir.expect(t, "listening")
	o := ask[outcome](t, alice, "talk", "same user", path, "secret")
	if want := (simpleipc.Peer{PID: os.Getpid()}); o.Err != "" || o.Peer != want {
		t.Errorf("alice's call: %+v, want the peer %+v", o, want)
	}
	var got found
	heir.stop(t, &got)
	if want := (found{1, len("000asecret0000")}); got != want {
		t.Errorf("the heir found %+v, want %+v", got, want)
	}
}

// TestLedElsewhere: a client whose path leads through another user's symbolic
// link talks to any server of its own user's. That is a limit, not a promise.
func TestLedElsewhere(t *testing.T) {
	needRoot(t)
	server, path := alice.serve(t, "600", "same user")
	shared := directory(t, mallory, 0o755)
	link := filepath.Join(shared, "run")
	must(t, os.Symlink(filepath.Dir(path), link))
	must(t, os.Lchown(link, int(mallory.id), int(mallory.id)))
	if o := ask[outcome](t, alice, "talk", "same user", filepath.Join(link, "sock"), "hello"); o.Err != "" || o.Peer.PID != server.Process.Pid {
		t.Errorf("through a link in the way: %+v", o)
	}
	// At the path itself, no link is followed.
	last := filepath.Join(shared, "sock")
	must(t, os.Symlink(path, last))
	if o := ask[outcome](t, alice, "talk", "same user", last, "hello"); !o.is("invalid") {
		t.Errorf("through a link at the path: %+v", o)
	}
}

// TestStrangersHoldNothing: those who are refused occupy no descriptor, and
// the owner is served.
func TestStrangersHoldNothing(t *testing.T) {
	needRoot(t)
	const n = 200
	server, path := alice.serve(t, "666", "same user")
	strangers := mallory.start(t, "silent", strconv.Itoa(n), path)
	strangers.expect(t, "connected")
	eventually(t, "all refused", func() bool {
		var st simpleipc.Stats
		server.tell(t, "stats")
		server.hear(t, &st)
		return st.Dropped.Refused == n && st.Open == 0
	})
	if o := ask[outcome](t, alice, "talk", "same user", path, "hello"); o.Err != "" {
		t.Errorf("alice's call: %+v", o)
	}
}

func init() {
	// narrow N MODE WHO PATH: serves with N descriptors.
	childFuncs["narrow"] = func(args []string) error {
		n, err := strconv.ParseUint(args[0], 10, 64)
		if err != nil {
			return err
		}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
			return err
		}
		return childFuncs["serve"](args[1:])
	}
}

// TestDescriptorsUsedUp: clients who are served can use up the server's
// descriptors. It goes on when they have gone.
func TestDescriptorsUsedUp(t *testing.T) {
	needRoot(t)
	path := filepath.Join(directory(t, alice, 0o755), "sock")
	server := alice.start(t, "narrow", "40", "600", "same user", path)
	server.expect(t, "serving")
	silent := alice.start(t, "silent", "60", path)
	silent.expect(t, "connected")
	var st simpleipc.Stats
	eventually(t, "no descriptor left", func() bool {
		server.tell(t, "stats")
		server.hear(t, &st)
		return st.AcceptErrors > 0
	})
	if st.Open >= 40 {
		t.Errorf("stats: %+v", st)
	}
	silent.kill()
	if o := ask[outcome](t, alice, "talk", "same user", path, "hello"); o.Err != "" {
		t.Errorf("call: %+v", o)
	}
	var end served
	server.stop(t, &end)
	if end.Responses != 1 || !end.Serve.is("server closed") {
		t.Errorf("the server ended with %+v", end)
	}
}
