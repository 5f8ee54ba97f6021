package daemon

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/windows"
)

// lockStart locks a path for who starts a server there, until unlock is called
// or the process ends, and reports whether it could. The lock is that there is
// an object of this name.
func lockStart(path string) (unlock func(), locked bool) {
	nothing := func() {}
	// The names of objects have no backslashes.
	object, err := windows.UTF16PtrFromString(fmt.Sprintf(`Local\simpleipc-%x`, sha256.Sum256([]byte(strings.ToLower(absolute(path))))))
	if err != nil {
		return nothing, true
	}
	h, err := windows.CreateMutex(nil, false, object)
	switch {
	case errors.Is(err, windows.ERROR_ALREADY_EXISTS):
		windows.CloseHandle(h)
		return nothing, false
	case err != nil:
		return nothing, true // it cannot be known
	}
	return func() { windows.CloseHandle(h) }, true
}

// unnamedFile makes a file that vanishes when nobody has it open any more. A
// pipe would break when this process ends.
func unnamedFile() (*os.File, error) {
	f, err := os.CreateTemp("", "daemon")
	if err != nil {
		return nil, err
	}
	name := f.Name()
	f.Close()
	p, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return nil, err
	}
	h, err := windows.CreateFile(p, windows.GENERIC_READ|windows.GENERIC_WRITE,
		windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE, nil,
		windows.OPEN_EXISTING, windows.FILE_ATTRIBUTE_TEMPORARY|windows.FILE_FLAG_DELETE_ON_CLOSE, 0)
	if err != nil {
		_ = os.Remove(name) // the first error counts
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(h), name), nil
}

// fileID returns a text by which another process can tell that it has the same
// file.
func fileID(f *os.File) string {
	var info windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(windows.Handle(f.Fd()), &info); err != nil {
		return ""
	}
	return fmt.Sprintf("%d:%d:%d", info.VolumeSerialNumber, info.FileIndexHigh, info.FileIndexLow)
}

// discardStderr lets standard error go to the null device from now on.
func discardStderr() error {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if err := windows.SetStdHandle(windows.STD_ERROR_HANDLE, windows.Handle(null.Fd())); err != nil {
		null.Close()
		return err
	}
	old := os.Stderr
	os.Stderr = null
	return old.Close()
}

// isOf reports whether a process is the one that was started.
func isOf(pid, started int) bool { return pid <= 0 || pid == started }

// askToEnd ends a process, since one without a console cannot be asked.
func askToEnd(p *os.Process) { forceEnd(p) }

// forceEnd ends a process as it stands.
func forceEnd(p *os.Process) { _ = p.Kill() } // unless it has ended

// startDetached starts a program in a group of its own, without a console, and
// outside of this process's job, which may end what is in it when it is closed.
// A job that lets nobody out keeps the program, too. It inherits no handle but
// its standard ones.
func startDetached(cmd *exec.Cmd) error {
	attr := syscall.SysProcAttr{
		HideWindow:    true,
		CreationFlags: windows.DETACHED_PROCESS | windows.CREATE_NEW_PROCESS_GROUP,
	}
	inside, outside := *cmd, attr // a Cmd can be started once
	outside.CreationFlags |= windows.CREATE_BREAKAWAY_FROM_JOB
	cmd.SysProcAttr = &outside
	err := cmd.Start()
	if errors.Is(err, windows.ERROR_ACCESS_DENIED) { // or the program may not be started
		*cmd = inside
		cmd.SysProcAttr = &attr
		err = cmd.Start()
	}
	return err
}
