//go:build linux

package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/simpleipc"
)

// TestDiskFull claims paths on a file system that has room for so many files
// and no more.
func TestDiskFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("to mount a file system takes root")
	}
	listened, refused := 0, 0
	for inodes := 2; inodes <= 6; inodes++ {
		dir := tempDir(t)
		if err := unix.Mount("none", dir, "tmpfs", 0, fmt.Sprintf("size=64k,nr_inodes=%d", inodes)); err != nil {
			t.Skipf("mount: %v", err)
		}
		defer unix.Unmount(dir, 0)
		path := filepath.Join(dir, "sock")
		l, err := simpleipc.Listen(context.Background(), path)
		if err == nil {
			listened++
			wantOnly(t, path, "sock")
			// To close takes room for the lock, beside the socket.
			if err := l.Close(); err != nil {
				if !errors.Is(err, syscall.ENOSPC) {
					t.Errorf("%d inodes: %v", inodes, err)
				}
				wantOnly(t, path, "sock")
				continue
			}
		} else {
			refused++
			if !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("%d inodes: %v", inodes, err)
			}
		}
		wantOnly(t, path)
	}
	if listened == 0 || refused == 0 {
		t.Errorf("%d listened, %d were refused", listened, refused)
	}

	// No room when the server ends: its socket stays, for the next one.
	dir := tempDir(t)
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=64k,nr_inodes=6"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, 0)
	path := filepath.Join(dir, "sock")
	l, err := simpleipc.Listen(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	var fill []string
	for i := 0; ; i++ {
		name := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			break
		}
		fill = append(fill, name)
	}
	if err := l.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Close on a full disk: %v", err)
	}
	for _, name := range fill {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	wantOnly(t, path, "sock")
	wantHealed(t, path)
	t.Logf("%d times there was room, %d times ENOSPC, nothing left", listened, refused)
}

// TestDirectoryTakenAway removes the directory of a server that is at work.
func TestDirectoryTakenAway(t *testing.T) {
	dir := filepath.Join(tempDir(t), "run")
	path := filepath.Join(dir, "sock")
	p := spawn(t, "echo", path)
	p.line(t)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := p.wait(); err == nil || p.ProcessState.ExitCode() != 1 {
		t.Errorf("the server ended: %v: %s", err, p.stderr.String())
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	wantHealed(t, path)
}

func init() {
	// few PATH: uses its descriptors up, calls the server, and says how.
	roles["few"] = func(args []string) error {
		limit := unix.Rlimit{Cur: 20, Max: 20}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			return err
		}
		var conns []*simpleipc.Conn
		for {
			c, err := new(simpleipc.Dialer).Dial(context.Background(), args[0])
			if err != nil {
				var e *simpleipc.Error
				if !errors.Is(err, syscall.EMFILE) || !errors.As(err, &e) || e.State != simpleipc.OtherError {
					return fmt.Errorf("without descriptors: %w", err)
				}
				break
			}
			conns = append(conns, c)
		}
		for _, c := range conns {
			if _, err := c.Call(context.Background(), []byte("x")); err != nil {
				return err
			}
			c.Close()
		}
		_, err := simpleipc.Call(context.Background(), args[0], []byte("y"))
		fmt.Println(len(conns))
		return err
	}
}

// TestClientDescriptors uses a client's descriptors up. It says so, keeps what
// it has, and goes on when there are some again.
func TestClientDescriptors(t *testing.T) {
	path := filepath.Join(tempDir(t), "sock")
	spawn(t, "echo", path).line(t)
	p := spawn(t, "few", path)
	n := p.line(t)
	if err := p.wait(); err != nil {
		t.Errorf("%v: %s", err, p.stderr.String())
	}
	t.Logf("%s connections, then EMFILE; all of them answered, and a new one afterwards", n)
}

// TestServerDescriptors uses a server's descriptors up, by connections that
// say nothing. It answers those it has, and goes on when there are some again.
func TestServerDescriptors(t *testing.T) {
	path := filepath.Join(tempDir(t), "sock")
	p := spawn(t, "echo", path, "40")
	p.line(t)
	first, err := new(simpleipc.Dialer).Dial(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	echo(t, first, "first")
	var silent []*simpleipc.Conn
	for range 60 { // more than it can accept; the rest waits
		c, err := new(simpleipc.Dialer).Dial(context.Background(), path)
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, c)
	}
	await(t, "descriptors used up", func() bool { return stateOver(t, first).AcceptErrors > 0 })
	echo(t, first, "still there")
	for _, c := range silent {
		c.Close()
	}
	if got, err := simpleipc.Call(context.Background(), path, []byte("again")); err != nil || string(got) != "again" {
		t.Errorf("%q, %v", got, err)
	}
	state := stateOfServer(t, path)
	t.Logf("%d failures to accept, %d clients accepted in the end", state.AcceptErrors, state.Accepted)
}

func echo(t *testing.T, c *simpleipc.Conn, request string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if got, err := c.Call(ctx, []byte(request)); err != nil || string(got) != request {
		t.Errorf("%q, %v; want %q", got, err, request)
	}
}
