//go:build linux

package security

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/simpleipc"
	"golang.org/x/sys/unix"
)

// What came of many Listens.
type cycles struct {
	Listened int
	Failed   map[string]int // by the kind of error
	Bare     string         // an error that is no *Error
	Reached  int            // calls that found a server of one's own
	Foreign  string         // one that found another, and was content
	Worst    time.Duration
}

func init() {
	// cycles N PATH: listens, looks who is there, and closes, N times.
	childFuncs["cycles"] = func(args []string) error {
		n, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		c := cycles{Failed: map[string]int{}}
		count := func(err error) {
			var e *simpleipc.Error
			switch {
			case err == nil:
				return
			case !errors.As(err, &e) || e.Path != args[1]:
				c.Bare = err.Error()
			}
			kind := "other"
			if k := outcomeOf(err).Kinds; len(k) > 0 {
				kind = k[len(k)-1]
			}
			c.Failed[kind]++
		}
		d := &simpleipc.Dialer{NoWaitBusy: true}
		for range n {
			begun := time.Now()
			l, err := simpleipc.ListenConfig{LockTimeout: 5 * time.Millisecond}.Listen(context.Background(), args[1])
			count(err)
			conn, err := d.Dial(context.Background(), args[1])
			count(err)
			if err == nil {
				if p := conn.Peer(); p.PID != os.Getpid() {
					c.Foreign = p.String()
				}
				c.Reached++
				conn.Close()
			}
			if l != nil {
				c.Listened++
				count(l.Close())
			}
			c.Worst = max(c.Worst, time.Since(begun))
		}
		say(c)
		return nil
	}

	// harass DIR: puts something else in the place of whatever a daemon makes
	// in this directory, all the time.
	childFuncs["harass"] = func(args []string) error {
		syscall.Umask(0)
		h := &harasser{dir: args[0], rnd: rand.New(rand.NewPCG(1, 2))}
		l, err := net.Listen("unix", h.at("hers"))
		if err != nil {
			return err
		}
		defer l.Close()
		s := newSpy(l)
		stop := make(chan struct{})
		go func() {
			told()
			close(stop)
		}()
		say("ready")
		for {
			select {
			case <-stop:
				h.tidy()
				say(findings([]*spy{s}))
				return nil
			default:
			}
			h.round()
		}
	}
}

// A harasser is what mallory does in a directory where everyone may rename and
// remove everything. Most of it fails, or comes too late.
type harasser struct {
	dir string
	rnd *rand.Rand
	n   int // of names that were made up
}

func (h *harasser) at(name string) string { return filepath.Join(h.dir, name) }

// away takes what has this name out of the way.
func (h *harasser) away(path string) {
	h.n++
	os.Rename(path, h.at(fmt.Sprint("gone", h.n)))
}

func (h *harasser) round() {
	entries, err := os.ReadDir(h.dir)
	if err != nil {
		return
	}
	// What stands in the daemon's way for long would keep it from going on to
	// where more can be done.
	os.Remove(h.at("sock"))
	os.Remove(h.at("sock.lock"))
	for _, e := range entries {
		path := h.at(e.Name())
		switch name := e.Name(); {
		case strings.HasPrefix(name, ".sock."):
			h.workspace(path)
		}
	}
	if h.rnd.IntN(4) == 0 {
		h.lock(h.at("sock.lock"))
	}
	if h.rnd.IntN(4) == 0 {
		h.socket(h.at("sock"))
	}
	if h.rnd.IntN(4) == 0 {
		h.workspace(h.at(fmt.Sprintf(".sock.%08x", h.rnd.IntN(4))))
	}
	if h.rnd.IntN(50) == 0 {
		h.tidy()
	}
}

func (h *harasser) workspace(path string) {
	switch h.rnd.IntN(8) {
	case 0:
		h.away(path)
		os.Symlink("inside", path)
	case 1:
		h.away(path)
		os.Symlink("../home", path)
	case 2:
		h.away(path)
		os.Mkdir(path, 0o777)
		os.Symlink("../inside/secret", filepath.Join(path, "lock"))
		os.Symlink("../inside/secret", filepath.Join(path, "s"))
	case 3:
		h.away(path)
		unix.Mkfifo(path, 0o666)
	case 4: // the victim's own directory, for a moment
		h.away(path)
		if os.Rename(h.at("inside"), path) == nil {
			for range h.rnd.IntN(20) {
				os.Lstat(path)
			}
			os.Rename(path, h.at("inside"))
		}
	case 5:
		os.Remove(path)
	case 6:
		h.away(path)
		os.Link(h.at("hers"), path)
	case 7: // somebody else's workspace comes back
		unix.Renameat2(unix.AT_FDCWD, path, unix.AT_FDCWD, h.at("gone1"), unix.RENAME_EXCHANGE)
	}
}

func (h *harasser) lock(path string) {
	switch h.rnd.IntN(8) {
	case 0:
		os.Remove(path)
	case 1:
		h.away(path)
	case 2:
		h.away(path)
		os.Symlink("inside/empty", path)
	case 3:
		h.away(path)
		os.Symlink("../home/like-a-lock", path)
	case 4:
		create(path, "")
	case 5:
		h.away(path)
		create(path, ours)
	case 6:
		h.away(path)
		unix.Mkfifo(path, 0o666)
	case 7:
		os.Link(h.at("inside/like-a-lock"), path)
	}
}

// create makes a file, if there is nothing: it does not wait at a FIFO.
func create(path, content string) {
	if f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666); err == nil {
		f.WriteString(content)
		f.Close()
	}
}

func (h *harasser) socket(path string) {
	switch h.rnd.IntN(8) {
	case 0:
		os.Remove(path)
	case 1:
		h.away(path)
		os.Symlink("inside/secret", path)
	case 2, 3:
		h.away(path)
		os.Link(h.at("hers"), path)
	case 4:
		h.away(path)
		os.Symlink("hers", path)
	case 5:
		h.away(path)
		unix.Mkfifo(path, 0o666)
	}
}

// tidy removes what was in the way, as far as it can.
func (h *harasser) tidy() {
	entries, _ := os.ReadDir(h.dir)
	for _, e := range entries {
		switch e.Name() {
		case "inside", "hers":
		default:
			if e.IsDir() {
				os.Remove(h.at(e.Name() + "/lock"))
				os.Remove(h.at(e.Name() + "/s"))
			}
			os.Remove(h.at(e.Name()))
		}
	}
}

// TestHarassed has mallory replace all that a daemon makes, at any moment. The
// daemon may fail. It does not hang, nor touch its user's other files, nor
// take mallory's server for its own.
func TestHarassed(t *testing.T) {
	needRoot(t)
	for _, victim := range []user{alice, root} {
		t.Run(victim.name, func(t *testing.T) {
			s := newScene(t, victim, root, 0o777)
			outside := makeDirectory(t, filepath.Join(s.home, "more"), victim, 0o755)
			precious(t, outside, victim)
			home, inside := snapshot(t, s.home), snapshot(t, s.inside)
			harasser := mallory.start(t, "harass", s.shared)
			harasser.expect(t, "ready")
			daemon := victim.start(t, "cycles", "200", s.path)
			var got cycles
			daemon.hear(t, &got)
			var spied found
			harasser.stop(t, &spied)
			t.Logf("%+v; she found %+v", got, spied)
			if got.Bare != "" || got.Foreign != "" || spied.Bytes != 0 {
				t.Errorf("error %q, taken for one's own: %q, bytes sent to her: %d", got.Bare, got.Foreign, spied.Bytes)
			}
			wantSame(t, s.home, home)
			wantSame(t, s.inside, inside)
		})
	}
}

// What a watcher has seen.
type sightings struct {
	Sockets   int
	Modes     map[string]int // of sockets, in octal
	Connected int
	Opened    string // what could be opened that should not
}

func init() {
	// watch DIR: looks at all that appears in a directory and tries to get
	// in, until it is told to stop and has seen a socket after that.
	childFuncs["watch"] = func(args []string) error {
		seen := sightings{Modes: map[string]int{}}
		look := func(path string) {
			info, err := os.Lstat(path)
			if err != nil {
				return
			}
			if info.Mode().Type() == fs.ModeSocket {
				seen.Sockets++
				seen.Modes[fmt.Sprintf("%o", info.Mode().Perm())]++
				if c, err := net.Dial("unix", path); err == nil {
					seen.Connected++
					c.Close()
				}
				return
			}
			if f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0); err == nil {
				seen.Opened = path
				f.Close()
			}
		}
		say("ready")
		stop := make(chan struct{})
		go func() {
			told()
			close(stop)
		}()
		stopped, still := false, 0
		for {
			entries, err := os.ReadDir(args[0])
			if err != nil {
				return err
			}
			for _, e := range entries {
				look(filepath.Join(args[0], e.Name()))
				if e.IsDir() {
					look(filepath.Join(args[0], e.Name(), "s"))
					look(filepath.Join(args[0], e.Name(), "lock"))
				}
			}
			if stopped && seen.Sockets > still {
				say(seen)
				return nil
			}
			if !stopped {
				select {
				case <-stop:
					stopped, still = true, seen.Sockets
				default:
				}
			}
		}
	}

	// openly N MODE PATH: listens N times without a umask, and stays the last
	// time.
	childFuncs["openly"] = func(args []string) error {
		syscall.Umask(0)
		n, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		mode, err := strconv.ParseUint(args[1], 8, 32)
		if err != nil {
			return err
		}
		for {
			l, err := simpleipc.ListenConfig{Mode: fs.FileMode(mode)}.Listen(context.Background(), args[2])
			if err != nil {
				return err
			}
			if n--; n == 0 {
				say("listening")
				told()
			}
			if err := l.Close(); err != nil {
				return err
			}
			if n == 0 {
				say("bye")
				return nil
			}
		}
	}
}

// TestSocketIsPrivate has mallory watch a directory in which a socket comes
// and goes, and try to get in. The socket is never wider than asked for, and
// nothing that comes with it can be opened.
func TestSocketIsPrivate(t *testing.T) {
	needRoot(t)
	for _, tt := range []struct {
		n    string
		mode string
		in   bool
	}{
		{"300", "600", false},
		{"20", "666", true}, // the watcher does see something
	} {
		dir := directory(t, alice, 0o755)
		watch := mallory.start(t, "watch", dir)
		watch.expect(t, "ready")
		daemon := alice.start(t, "openly", tt.n, tt.mode, filepath.Join(dir, "sock"))
		daemon.expect(t, "listening")
		var got sightings
		watch.stop(t, &got)
		t.Logf("mode %s: %+v", tt.mode, got)
		if len(got.Modes) != 1 || got.Modes[tt.mode] == 0 || (got.Connected > 0) != tt.in || got.Opened != "" {
			t.Errorf("mode %s: mallory saw %+v", tt.mode, got)
		}
		var bye string
		daemon.stop(t, &bye)
		if names := list(t, dir); len(names) > 0 {
			t.Errorf("left behind: %q", names)
		}
	}
}
