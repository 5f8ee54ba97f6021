//go:build linux

package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/simpleipc"
)

func init() {
	// starter PATH: tries to be the server, and says what came of it.
	roles["starter"] = func(args []string) error {
		l, err := simpleipc.ListenConfig{LockTimeout: patience / 2}.Listen(context.Background(), args[0])
		if err != nil {
			return report(err)
		}
		fmt.Println("won")
		srv := &simpleipc.Server{Handler: simpleipc.HandlerFunc(
			func(ctx context.Context, w *simpleipc.ResponseWriter, r *simpleipc.Request) error {
				_, err := fmt.Fprint(w, os.Getpid())
				return err
			})}
		return srv.Serve(context.Background(), l)
	}

	// foreign PATH [die]: the same as Git's programs do it: with a lock file
	// that is created exclusively, empty and not flocked, and without a
	// temporary name. If it is to die, it does so while it holds the lock.
	roles["foreign"] = func(args []string) error {
		path := args[0]
		for try := 0; ; try++ {
			lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
			if err == nil {
				lock.Close()
				break
			}
			if try == 100 {
				return report(simpleipc.ErrLocked)
			}
			time.Sleep(time.Millisecond) // as these programs do
		}
		if len(args) > 1 {
			// As if it had happened a while ago.
			old := time.Now().Add(-time.Minute)
			if err := os.Chtimes(path+".lock", old, old); err != nil {
				return err
			}
			return syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		if state, _ := simpleipc.Probe(context.Background(), path); state == simpleipc.Listening {
			os.Remove(path + ".lock")
			return report(simpleipc.ErrInUse)
		}
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			if err = os.Remove(path); errors.Is(err, os.ErrNotExist) {
				err = nil
			}
		}
		if err == nil {
			err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
		}
		if err == nil {
			err = unix.Listen(fd, 50)
		}
		if err != nil {
			return err
		}
		if err := os.Remove(path + ".lock"); err != nil {
			return err
		}
		fmt.Println("won")
		for {
			conn, _, err := unix.Accept(fd)
			if err != nil {
				return err
			}
			unix.Write(conn, fmt.Appendf(nil, "%04x%d0000", 4+len(fmt.Sprint(os.Getpid())), os.Getpid()))
			defer unix.Close(conn) // at the end: the client is still writing
		}
	}
}

// report prints how an attempt to start has failed, if it may fail so.
func report(err error) error {
	switch {
	case errors.Is(err, simpleipc.ErrInUse):
		fmt.Println("in use")
	case errors.Is(err, simpleipc.ErrLocked):
		fmt.Println("locked")
	default:
		return err
	}
	return nil
}

// TestStarters has many processes race for a path, over what a dead server has
// left. Some of them are killed on the way, some do it as Git does.
func TestStarters(t *testing.T) {
	rounds, starters := pick(3, 50), pick(60, 200)
	rnd := random(t)
	path := filepath.Join(tempDir(t), "sock")
	var inUse, locked, killed, foreign, none int
	var slowest time.Duration
	for round := range rounds {
		// A stale socket, and a lock whose holder is dead.
		if round%2 == 1 {
			if err := os.WriteFile(path+".lock", []byte("simpleipc 1\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		said := make([]string, starters)
		all := make([]*process, starters)
		var readers sync.WaitGroup
		for i := range all {
			switch {
			case i%10 == 7:
				all[i] = spawn(t, "foreign", path, "die")
				foreign++
			case i%10 == 3:
				all[i] = spawn(t, "foreign", path)
				foreign++
			default:
				all[i] = spawn(t, "starter", path)
			}
			readers.Go(func() { said[i], _ = all[i].out.ReadString('\n') })
			if i%10 == 5 {
				pause(rnd, 5*time.Millisecond)
				all[rnd.IntN(i)].Process.Kill()
				killed++
			}
		}
		readers.Wait() // everyone has won or ended: nobody is stuck
		slowest = max(slowest, time.Since(began))
		won, alive := 0, 0
		for i, p := range all {
			switch said[i] {
			case "won\n":
				won++
				if !dying(p.Process.Pid) {
					alive++
				}
			case "in use\n":
				inUse++
			case "locked\n":
				locked++
			case "": // killed, or an error, which is seen below
			default:
				t.Errorf("a starter said %q", said[i])
			}
		}
		// One of those that have won is alive, or none if it was killed.
		pid := ownerOf(path)
		switch {
		case alive > 1:
			t.Errorf("round %d: %d servers are alive, %d have won", round, alive, won)
		case alive == 1 && pid == 0:
			t.Errorf("round %d: the server does not answer", round)
		case alive == 0:
			none++
		}
		for _, p := range all {
			p.Process.Kill()
			err := p.wait()
			if status, ok := p.ProcessState.Sys().(syscall.WaitStatus); err != nil && (!ok || !status.Signaled()) {
				t.Errorf("a starter: %v: %s", err, p.stderr.String())
			}
		}
		if pid != 0 {
			// What remains is its socket, and the lock if it was Git's.
			entries, err := os.ReadDir(filepath.Dir(path))
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				if n := e.Name(); n != "sock" && n != "sock.lock" && !strings.HasPrefix(n, ".sock.") {
					t.Errorf("%s is left", n)
				}
			}
		}
	}
	t.Logf("%d rounds of %d starters, %d of them like Git's, half of those killed with the lock, %d others killed anywhere: never more than one server; %d found the path in use, %d locked, in %d rounds the winner was among the killed; slowest round %v",
		rounds, starters, foreign, killed, inUse, locked, none, slowest.Round(time.Millisecond))
	wantHealed(t, path)
}
