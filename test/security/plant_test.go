//go:build linux

package security

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/simpleipc"
	"golang.org/x/sys/unix"
)

// A session is what came of a daemon's day at a path.
type session struct {
	Call, Listen, Close   outcome // before; to take the path; with nothing in between
	Again, Served, Serve2 outcome // Listen; a call to the server; the server's end
	Took                  time.Duration
}

func init() {
	// session PATH...: does at each path what daemons and clients do.
	childFuncs["session"] = func(args []string) error {
		ctx := context.Background()
		lc := simpleipc.ListenConfig{LockTimeout: 20 * time.Millisecond}
		for _, path := range args {
			var s session
			begun := time.Now()
			s.Call = talk("same user", path, "secret")
			l, err := lc.Listen(ctx, path)
			s.Listen = outcomeOf(err)
			if err == nil {
				s.Close = outcomeOf(l.Close())
			}
			l, err = lc.Listen(ctx, path)
			s.Again = outcomeOf(err)
			if err == nil {
				srv := &simpleipc.Server{Handler: simpleipc.HandlerFunc(func(context.Context, *simpleipc.ResponseWriter, *simpleipc.Request) error {
					return simpleipc.Quit
				})}
				done := make(chan error, 1)
				go func() { done <- srv.Serve(ctx, l) }()
				s.Served = talk("same user", path, "quit")
				if s.Served.Err != "" {
					srv.Close()
				}
				s.Serve2 = outcomeOf(<-done)
			}
			s.Took = time.Since(begun)
			say(s)
		}
		return nil
	}

	// flock PATH...: flocks files and holds on.
	childFuncs["flock"] = func(args []string) error {
		for _, path := range args {
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer f.Close()
			if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
				return err
			}
		}
		say("locked")
		told()
		say("bye")
		return nil
	}
}

// A scene is a directory of a victim's, and one beside it in which another
// user may write, too.
type scene struct {
	t      testing.TB
	victim user
	home   string // the victim's, private
	shared string // where path is
	inside string // the victim's, in shared
	path   string
	spies  []string // sockets for an impostor to listen at
	locks  []string // files for mallory to flock
}

func newScene(t testing.TB, victim user, sharedOwner user, shared os.FileMode) *scene {
	dir := directory(t, root, 0o755)
	s := &scene{t: t, victim: victim}
	s.home = makeDirectory(t, filepath.Join(dir, "home"), victim, 0o700)
	s.shared = makeDirectory(t, filepath.Join(dir, "shared"), sharedOwner, shared)
	s.inside = makeDirectory(t, filepath.Join(s.shared, "inside"), victim, 0o755)
	s.path = filepath.Join(s.shared, "sock")
	precious(t, s.home, victim)
	precious(t, s.inside, victim)
	return s
}

// What mallory plants, with root's help where the system would refuse.

func (s *scene) symlink(target, path string) {
	must(s.t, os.Symlink(target, path))
	must(s.t, os.Lchown(path, int(mallory.id), int(mallory.id)))
}

func (s *scene) link(target, path string) { must(s.t, os.Link(target, path)) }

func (s *scene) fifo(path string) {
	must(s.t, unix.Mkfifo(path, 0o600))
	give(s.t, path, mallory, 0o666)
}

func (s *scene) file(path, content string, mode os.FileMode, age time.Duration) {
	makeFile(s.t, path, content, mallory, mode)
	when := time.Now().Add(-age)
	must(s.t, os.Chtimes(path, when, when))
}

// deadSocket leaves a socket behind, as a server does that was killed.
func (s *scene) deadSocket(path string) { unix.Close(s.socket(path, unix.SOCK_STREAM)) }

func (s *scene) datagramSocket(path string) {
	fd := s.socket(path, unix.SOCK_DGRAM)
	s.t.Cleanup(func() { unix.Close(fd) })
}

func (s *scene) socket(path string, kind int) int {
	fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	must(s.t, err)
	must(s.t, unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
	give(s.t, path, mallory, 0o666)
	return fd
}

// trap makes a directory that looks like the package's, with links in it.
func (s *scene) trap(path string) {
	makeDirectory(s.t, path, mallory, 0o777)
	s.symlink(filepath.Join(s.home, "secret"), filepath.Join(path, "lock"))
	s.link(filepath.Join(s.home, "secret"), filepath.Join(path, "s"))
}

const (
	young = 0
	old   = time.Hour
	ours  = "simpleipc 1\n"
)

// plants are what mallory puts where the package has its files, and what
// Listen returns then to an unprivileged user in a sticky directory, in a
// directory where everyone may do everything, and to root.
var plants = []struct {
	name               string
	plant              func(s *scene)
	sticky, open, root string
}{
	// At the path.
	{"path is a link to a file", func(s *scene) { s.symlink(s.home+"/secret", s.path) }, "invalid", "invalid", "invalid"},
	{"path is a link to a directory", func(s *scene) { s.symlink(s.home, s.path) }, "invalid", "invalid", "invalid"},
	{"path is a link to nothing", func(s *scene) { s.symlink(s.home+"/new", s.path) }, "invalid", "invalid", "invalid"},
	{"path is a hard link", func(s *scene) { s.link(s.home+"/secret", s.path) }, "invalid", "invalid", "invalid"},
	{"path is a FIFO", func(s *scene) { s.fifo(s.path) }, "invalid", "invalid", "invalid"},
	{"path is a directory", func(s *scene) { s.trap(s.path) }, "invalid", "invalid", "invalid"},
	{"path is a file", func(s *scene) { s.file(s.path, "x", 0o666, young) }, "invalid", "invalid", "invalid"},
	{"path is a datagram socket", func(s *scene) { s.datagramSocket(s.path) }, "invalid", "invalid", "invalid"},
	{"path is a dead socket", func(s *scene) { s.deadSocket(s.path) }, "permission", "", ""},
	{"path is a live socket", func(s *scene) { s.spies = append(s.spies, s.path) }, "in use", "in use", "in use"},

	// At the lock.
	{"lock is a link to a file", func(s *scene) { s.symlink(s.home+"/secret", s.path+".lock") }, "locked", "locked", "locked"},
	{"lock is a link to an empty file", func(s *scene) { s.symlink("inside/empty", s.path+".lock") }, "locked", "locked", "locked"},
	{"lock is a link to a lock", func(s *scene) { s.symlink("inside/like-a-lock", s.path+".lock") }, "locked", "locked", "locked"},
	{"lock is a link to a directory", func(s *scene) { s.symlink("inside", s.path+".lock") }, "locked", "locked", "locked"},
	{"lock is a link to nothing", func(s *scene) { s.symlink(s.home+"/new", s.path+".lock") }, "locked", "locked", "locked"},
	{"lock is a hard link", func(s *scene) { s.link(s.home+"/secret", s.path+".lock") }, "locked", "locked", "locked"},
	{"lock is a hard link to an empty file", func(s *scene) { s.link(s.home+"/empty", s.path+".lock") }, "", "", ""},
	{"lock is a hard link to a lock", func(s *scene) { s.link(s.home+"/like-a-lock", s.path+".lock") }, "", "", ""},
	{"lock is a FIFO", func(s *scene) { s.fifo(s.path + ".lock") }, "locked", "locked", "locked"},
	{"lock is a socket", func(s *scene) { s.deadSocket(s.path + ".lock") }, "locked", "locked", "locked"},
	{"lock is a directory", func(s *scene) { s.trap(s.path + ".lock") }, "locked", "locked", "locked"},
	{"lock is young and empty", func(s *scene) { s.file(s.path+".lock", "", 0o666, young) }, "locked", "locked", "locked"},
	{"lock is old and empty", func(s *scene) { s.file(s.path+".lock", "", 0o666, old) }, "", "", ""},
	{"lock is ours", func(s *scene) { s.file(s.path+".lock", ours, 0o666, young) }, "", "", ""},
	{"lock is ours and private", func(s *scene) { s.file(s.path+".lock", ours, 0o600, young) }, "permission", "permission", ""},
	{"lock is ours and held", func(s *scene) {
		s.file(s.path+".lock", ours, 0o666, young)
		s.locks = append(s.locks, s.path+".lock")
	}, "locked", "locked", "locked"},
	{"lock is old, empty and held", func(s *scene) {
		s.file(s.path+".lock", "", 0o666, old)
		s.locks = append(s.locks, s.path+".lock")
	}, "locked", "locked", "locked"},

	// At the name of a workspace.
	{"workspace is a link to a directory", func(s *scene) { s.symlink("inside", s.work()) }, "", "", ""},
	{"workspace is a link elsewhere", func(s *scene) { s.symlink(s.home, s.work()) }, "", "", ""},
	{"workspace is a link to nothing", func(s *scene) { s.symlink("nothing", s.work()) }, "", "", ""},
	{"workspace is a file", func(s *scene) { s.file(s.work(), "", 0o666, old) }, "", "", ""},
	{"workspace is a FIFO", func(s *scene) { s.fifo(s.work()) }, "", "", ""},
	{"workspace is a socket", func(s *scene) { s.deadSocket(s.work()) }, "", "", ""},
	{"workspace is a trap", func(s *scene) { s.trap(s.work()) }, "", "", ""},
}

// work is a name that a workspace for the path could have.
func (s *scene) work() string { return filepath.Join(s.shared, ".sock.0123abcd") }

// TestPlants has mallory's things where a daemon works, in directories where
// she may write. Whatever Listen returns, nothing of the victim's is touched.
func TestPlants(t *testing.T) {
	needRoot(t)
	for _, victim := range []user{alice, root} {
		for _, mode := range []os.FileMode{sticky, 0o777} {
			t.Run(fmt.Sprintf("%s in %v", victim.name, mode), func(t *testing.T) {
				testPlants(t, victim, mode)
			})
		}
	}
}

func testPlants(t *testing.T, victim user, mode os.FileMode) {
	var scenes []*scene
	var paths, spies, locks []string
	for _, p := range plants {
		owner := root // of the directory, where alice and mallory are guests
		s := newScene(t, victim, owner, mode)
		p.plant(s)
		scenes = append(scenes, s)
		paths = append(paths, s.path)
		spies = append(spies, s.spies...)
		locks = append(locks, s.locks...)
	}
	impostor := mallory.start(t, "impostor", append([]string{"666"}, spies...)...)
	impostor.expect(t, "listening")
	mallory.start(t, "flock", locks...).expect(t, "locked")

	homes := make([]map[string]string, len(scenes))
	insides := make([]map[string]string, len(scenes))
	names := make([][]string, len(scenes))
	for i, s := range scenes {
		homes[i], insides[i], names[i] = snapshot(t, s.home), snapshot(t, s.inside), list(t, s.shared)
	}
	daemon := victim.start(t, "session", paths...)
	for i, s := range scenes {
		p := plants[i]
		t.Run(p.name, func(t *testing.T) {
			want := p.sticky
			switch {
			case victim == root:
				want = p.root
			case mode == 0o777:
				want = p.open
			}
			var got session
			daemon.hear(t, &got)
			if !got.Listen.is(want) || !got.Again.is(want) {
				t.Errorf("Listen: %+v, then %+v; want %q", got.Listen, got.Again, want)
			}
			if got.Listen.Err != "" && (got.Listen.Op != "listen" || !strings.Contains(got.Listen.Err, s.path)) {
				t.Errorf("Listen's error is not clear: %+v", got.Listen)
			}
			if got.Listen.Err == "" && (got.Close.Err != "" || got.Served.Err != "" || !got.Serve2.is("server closed")) {
				t.Errorf("after Listen: %+v", got)
			}
			if len(s.spies) > 0 && !got.Call.is("unauthorized") || got.Call.Err == "" {
				t.Errorf("call before Listen: %+v", got.Call)
			}
			if got.Took > 10*time.Second {
				t.Errorf("took %v", got.Took)
			}
			wantSame(t, s.home, homes[i])
			wantSame(t, s.inside, insides[i])
			for _, name := range list(t, s.shared) {
				if !slices.Contains(names[i], name) {
					t.Errorf("%s was left behind", name)
				}
			}
			if testing.Verbose() {
				t.Logf("%q", got.Listen.Err)
			}
		})
	}
	var got found
	impostor.stop(t, &got)
	if got.Bytes != 0 || got.Clients == 0 {
		t.Errorf("the impostor found %+v", got)
	}
}

func list(t testing.TB, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestDirectoryRenamedToWorkspace: where everyone may rename everything, a
// directory of the victim's can get the name of a workspace. No file in it is
// removed.
func TestDirectoryRenamedToWorkspace(t *testing.T) {
	needRoot(t)
	for _, victim := range []user{alice, root} {
		s := newScene(t, victim, root, 0o777)
		if err := mallory.rename(t, s.inside, s.work()); err.Err != "" {
			t.Fatal(err)
		}
		before := snapshot(t, s.work())
		p := victim.start(t, "session", s.path)
		var got session
		p.hear(t, &got)
		if got.Listen.Err != "" {
			t.Errorf("Listen: %+v", got.Listen)
		}
		wantSame(t, s.work(), before)
	}
}

func (u user) rename(t testing.TB, from, to string) outcome {
	t.Helper()
	return ask[outcome](t, u, "rename", from, to)
}

func init() {
	childFuncs["rename"] = func(args []string) error {
		say(outcomeOf(os.Rename(args[0], args[1])))
		return nil
	}

	// wait PATH: listens, waiting for the lock as long as it takes, and closes.
	childFuncs["wait"] = func(args []string) error {
		l, err := simpleipc.ListenConfig{LockTimeout: patience}.Listen(context.Background(), args[0])
		var s session
		s.Listen = outcomeOf(err)
		if err == nil {
			s.Close = outcomeOf(l.Close())
		}
		say(s)
		return nil
	}

	// swap PATH HOW: waits until somebody waits for the lock of the path,
	// puts something in the place of the workspace, and lets go of the lock.
	childFuncs["swap"] = func(args []string) error {
		path, how := args[0], args[1]
		lock := path + ".lock"
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
		if err != nil {
			return err
		}
		if err := os.WriteFile(lock, nil, 0o666); err != nil {
			return err
		}
		if err := os.Chmod(lock, 0o666); err != nil {
			return err
		}
		if _, err := unix.InotifyAddWatch(fd, lock, unix.IN_OPEN); err != nil {
			return err
		}
		say("ready")
		var events [4096]byte
		if _, err := unix.Read(fd, events[:]); err != nil {
			return err
		}
		spaces, err := filepath.Glob(filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".*"))
		if err != nil || len(spaces) != 1 {
			return fmt.Errorf("workspaces: %q, %v", spaces, err)
		}
		w := spaces[0]
		if _, err := os.ReadDir(w); !errors.Is(err, os.ErrPermission) {
			return fmt.Errorf("the workspace is not private: %v", err)
		}
		if err := os.Rename(w, filepath.Join(filepath.Dir(path), "gone")); err != nil {
			return err
		}
		switch how {
		case "inside":
			err = os.Symlink("inside", w)
		case "home":
			err = os.Symlink("../home", w)
		case "directory":
			syscall.Umask(0)
			if err = os.Mkdir(w, 0o777); err == nil {
				err = os.WriteFile(filepath.Join(w, "lock"), []byte("mallory's\n"), 0o666)
			}
		case "FIFO":
			err = unix.Mkfifo(w, 0o666)
		}
		if err != nil {
			return err
		}
		if err := os.Remove(lock); err != nil {
			return err
		}
		say("swapped")
		return nil
	}
}

// TestWorkspaceReplaced has mallory replace the workspace in which a daemon
// waits for the lock. The daemon may fail; it does not go to work in what she
// has put there.
func TestWorkspaceReplaced(t *testing.T) {
	needRoot(t)
	for _, victim := range []user{alice, root} {
		for _, how := range []string{"inside", "home", "directory", "FIFO"} {
			for _, free := range []bool{true, false} { // the name of the socket
				t.Run(fmt.Sprintf("%s, %s, %v", victim.name, how, free), func(t *testing.T) {
					s := newScene(t, victim, root, 0o777)
					if free {
						must(t, os.Remove(filepath.Join(s.home, "s")))
						must(t, os.Remove(filepath.Join(s.inside, "s")))
					}
					links := func() uint64 {
						var n uint64
						for _, dir := range []string{s.home, s.inside} {
							info, err := os.Lstat(filepath.Join(dir, "lock"))
							must(t, err)
							n += uint64(info.Sys().(*syscall.Stat_t).Nlink)
						}
						return n
					}
					home, inside, linksBefore := snapshot(t, s.home), snapshot(t, s.inside), links()
					swap := mallory.start(t, "swap", s.path, how)
					swap.expect(t, "ready")
					daemon := victim.start(t, "wait", s.path)
					swap.expect(t, "swapped")
					var got session
					daemon.hear(t, &got)
					if got.Listen.Err != "" && got.Listen.Op != "listen" {
						t.Errorf("Listen: %+v", got.Listen)
					}
					if testing.Verbose() {
						t.Logf("%+v", got.Listen)
					}
					wantSame(t, s.home, home)
					wantSame(t, s.inside, inside)
					if now := links(); now != linksBefore {
						t.Errorf("the victim's files have got %d names more", now-linksBefore)
					}
				})
			}
		}
	}
}

func init() {
	// exchange DIR N: makes N directories named like workspaces, and has each
	// be a FIFO half of the time.
	childFuncs["exchange"] = func(args []string) error {
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		var dirs, fifos []string
		for i := range n {
			dirs = append(dirs, filepath.Join(args[0], fmt.Sprintf(".sock.%08x", i)))
			fifos = append(fifos, filepath.Join(args[0], fmt.Sprintf("fifo%d", i)))
			if err := os.Mkdir(dirs[i], 0o700); err != nil {
				return err
			}
			if err := unix.Mkfifo(fifos[i], 0o600); err != nil {
				return err
			}
			for _, path := range []string{dirs[i], fifos[i]} {
				if err := os.Chmod(path, 0o777); err != nil {
					return err
				}
			}
		}
		say("exchanging")
		stop := make(chan struct{})
		go func() {
			told()
			close(stop)
		}()
		for {
			for i := range n {
				if err := unix.Renameat2(unix.AT_FDCWD, dirs[i], unix.AT_FDCWD, fifos[i], unix.RENAME_EXCHANGE); err != nil {
					return err
				}
			}
			select {
			case <-stop:
				say("bye")
				return nil
			default:
			}
		}
	}
}

// TestDirectoryBecomesFIFO: what looks like a dead process's workspace may be
// a FIFO when it is opened, and must not be waited for. A sticky directory
// does not prevent this.
func TestDirectoryBecomesFIFO(t *testing.T) {
	needRoot(t)
	s := newScene(t, alice, root, sticky)
	mallory.start(t, "exchange", s.shared, "20").expect(t, "exchanging")
	daemon := alice.start(t, "session", slices.Repeat([]string{s.path}, 10)...)
	for range 10 {
		var got session
		daemon.hear(t, &got)
		if got.Listen.Err != "" || got.Again.Err != "" || got.Served.Err != "" {
			t.Errorf("%+v", got)
		}
	}
}

// TestReadyMadeDirectory: a directory that is there is used whoever has made
// it. That is a limit, not a promise; the socket in it is private, though.
func TestReadyMadeDirectory(t *testing.T) {
	needRoot(t)
	s := newScene(t, alice, root, sticky)
	run := makeDirectory(t, filepath.Join(s.shared, "run"), mallory, 0o777)
	path := filepath.Join(run, "sock")
	server := alice.start(t, "serve", "600", "same user", path)
	server.expect(t, "serving")
	if o := ask[outcome](t, mallory, "talk", "anybody", path, "hello"); !o.is("permission") {
		t.Errorf("mallory's call: %+v", o)
	}
	// She may remove it, and so end the server.
	if o := mallory.rename(t, path, path+".gone"); o.Err != "" {
		t.Errorf("mallory may not rename in her directory: %+v", o)
	}
	server.expectEnd(t, "stolen")
}

// TestDirectoryIsLinkToNothing: what is missing is not made behind a link.
func TestDirectoryIsLinkToNothing(t *testing.T) {
	needRoot(t)
	s := newScene(t, alice, root, sticky)
	s.symlink(filepath.Join(s.home, "new"), filepath.Join(s.shared, "run"))
	before := snapshot(t, s.home)
	daemon := alice.start(t, "session", filepath.Join(s.shared, "run", "sock"))
	var got session
	daemon.hear(t, &got)
	if !got.Listen.is("not found") {
		t.Errorf("Listen: %+v", got.Listen)
	}
	wantSame(t, s.home, before)
}

// TestLockOfGitHeld: a lock file that others may read can be flocked by them,
// even if they may not write in the directory. Git's are such; this package's
// are not (see TestSocketIsPrivate). That is a limit, not a promise.
func TestLockOfGitHeld(t *testing.T) {
	needRoot(t)
	dir := directory(t, alice, 0o755)
	path := filepath.Join(dir, "sock")
	makeFile(t, path+".lock", "", alice, 0o644)
	when := time.Now().Add(-old)
	must(t, os.Chtimes(path+".lock", when, when))
	mallory.start(t, "flock", path+".lock").expect(t, "locked")
	daemon := alice.start(t, "session", path)
	var got session
	daemon.hear(t, &got)
	if !got.Listen.is("locked") || !strings.Contains(got.Listen.Err, "sock.lock is held by a live process") {
		t.Errorf("Listen: %+v", got.Listen)
	}
}

// TestStolenByStranger: mallory puts her server in the place of a live one,
// in a directory where she may. The server notices, and clients refuse hers.
func TestStolenByStranger(t *testing.T) {
	needRoot(t)
	path := filepath.Join(directory(t, root, 0o777), "sock")
	server := alice.start(t, "serve", "600", "same user", path)
	server.expect(t, "serving")
	hers := path + "2"
	impostor := mallory.start(t, "impostor", "666", hers)
	impostor.expect(t, "listening")
	must(t, os.Link(hers, path+"3"))
	if o := mallory.rename(t, path+"3", path); o.Err != "" {
		t.Fatalf("%+v", o)
	}
	if o := ask[outcome](t, alice, "talk", "same user", path, "secret"); !o.is("unauthorized") {
		t.Errorf("alice's call: %+v", o)
	}
	server.expectEnd(t, "stolen")
	var got found
	impostor.stop(t, &got)
	if got != (found{Clients: 1}) {
		t.Errorf("the impostor found %+v", got)
	}
	if info, err := os.Lstat(path); err != nil || info.Sys().(*syscall.Stat_t).Uid != mallory.id {
		t.Errorf("the server has removed what is not its own: %v", err)
	}
}
