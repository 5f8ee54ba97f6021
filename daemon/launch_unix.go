//go:build unix

package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// lockDirectory locks a directory for who starts a server in it, until unlock
// is called or the process ends, and reports whether it could. Where it cannot
// be known whether somebody else has, it goes without.
func lockDirectory(name string) (unlock func(), locked bool) {
	nothing := func() {}
	dir, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		_ = os.Mkdir(name, 0o700) // as Listen would; another process may be faster
		dir, err = os.Open(name)
	}
	if err != nil {
		return nothing, true
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == unix.EWOULDBLOCK {
		dir.Close()
		return nothing, false
	}
	return func() { dir.Close() }, true
}

// unnamedFile makes a file that vanishes when nobody has it open any more. A
// pipe would break when this process ends.
func unnamedFile() (*os.File, error) {
	f, err := os.CreateTemp("", "daemon")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// fileID returns a text by which another process can tell that it has the same
// file.
func fileID(f *os.File) string {
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	st := info.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

// discardStderr lets standard error go to the null device from now on.
func discardStderr() error {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	return dup2(int(null.Fd()), unix.Stderr)
}

// askToEnd asks a process to end in order.
func askToEnd(p *os.Process) { _ = p.Signal(syscall.SIGTERM) } // unless it has ended

// isOf reports whether a process is one that was started, or is one of those
// that it has started. If the system does not tell the ID, it is taken for one.
func isOf(pid, started int) bool {
	if pid <= 0 || pid == started {
		return true
	}
	session, err := unix.Getsid(pid)
	return err == nil && session == started
}

// starting is held while descriptors are kept from being inherited.
var starting sync.Mutex

// startDetached starts a program in a session of its own. The files which this
// process has inherited are not passed on; those which it has opened itself
// are not anyway. In this moment, they are not passed on to a process that
// another goroutine starts, either.
func startDetached(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	starting.Lock()
	defer starting.Unlock()
	for _, fd := range inheritable() {
		id, err := fileOf(fd)
		if err != nil {
			continue
		}
		unix.CloseOnExec(fd)
		defer func() {
			// It may be another file by now.
			if now, err := fileOf(fd); err == nil && now == id {
				_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0) // it was so before
			}
		}()
	}
	return cmd.Start()
}

// inheritable returns the descriptors beyond standard error that a new process
// would get.
func inheritable() (list []int) {
	entries, _ := os.ReadDir("/dev/fd") // where it is not complete, they are few
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= unix.Stderr {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			list = append(list, fd)
		}
	}
	return list
}

// fileOf identifies the file behind a descriptor.
func fileOf(fd int) (id [2]uint64, err error) {
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	return [2]uint64{uint64(st.Dev), st.Ino}, err
}
