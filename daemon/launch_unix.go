//go:build unix

package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// lockStart locks a path for who starts a server there, until unlock is called
// or the process ends, and reports whether it could. Where it cannot be known
// whether somebody else has, since no file can be made beside the path or one
// is there that another user may have locked, it goes without.
func lockStart(path string) (unlock func(), locked bool) {
	nothing := func() {}
	dir, base := filepath.Split(path)
	name := dir + "." + base + ".start"
	open := func() (*os.File, error) {
		return os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	}
	for {
		f, err := open()
		if errors.Is(err, fs.ErrNotExist) {
			_ = os.Mkdir(dir, 0o700) // as Listen would; another process may be faster
			f, err = open()
		}
		if err != nil {
			return nothing, true
		}
		var st unix.Stat_t
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		serr := unix.Fstat(int(f.Fd()), &st)
		switch {
		case serr != nil || int(st.Uid) != os.Geteuid():
			f.Close()
			return nothing, true
		case err == unix.EWOULDBLOCK:
			f.Close()
			return nothing, false
		case err != nil: // nobody can lock files here
			_ = os.Remove(name)
			f.Close()
			return nothing, true
		case st.Nlink == 0: // whoever held it has just removed it
			f.Close()
			continue
		}
		return func() {
			_ = os.Remove(name) // if it stays, it is used again
			f.Close()
		}, true
	}
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

// askToEnd asks a process and those of its group to end in order.
func askToEnd(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGTERM) } // unless they have ended

// forceEnd ends a process and those of its group as they stand.
func forceEnd(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGKILL) } // unless they have ended

// isOf reports whether a process is one that was started, or is one of those
// that it has started. If the system does not tell the ID, it is taken for one.
func isOf(pid, started int) bool {
	if pid <= 0 || pid == started {
		return true
	}
	session, err := unix.Getsid(pid)
	return err == nil && session == started
}

// startDetached starts a program in a session of its own. The files which this
// process has inherited are not passed on; those which it has opened itself
// are not anyway.
func startDetached(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if list := inheritable(); len(list) > 0 {
		cmd.ExtraFiles = make([]*os.File, slices.Max(list)-unix.Stderr) // nil is closed there
	}
	return cmd.Start()
}

// inheritable returns the descriptors beyond standard error that a new process
// would get.
func inheritable() (list []int) {
	var open []int
	entries, _ := os.ReadDir("/dev/fd") // which it has opened itself
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > unix.Stderr {
			open = append(open, fd)
		}
	}
	if open == nil { // it shows the standard ones at most
		for fd := unix.Stderr + 1; fd < 256; fd++ {
			open = append(open, fd)
		}
	}
	for _, fd := range open {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			list = append(list, fd)
		}
	}
	return list
}
