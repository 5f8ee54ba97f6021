package main

import (
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/windows"
)

var ntResumeProcess = windows.NewLazySystemDLL("ntdll.dll").NewProc("NtResumeProcess")

// startGroup starts a command whose group, which is all that it starts in turn,
// can be killed. Windows calls that a job. The command is in it before it runs,
// so that nothing of it is outside.
func startGroup(cmd *exec.Cmd) (kill func(), err error) {
	handle, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return nil, err
	}
	job := &handle // closed when nobody can kill it any more
	runtime.AddCleanup(job, func(h windows.Handle) { _ = windows.CloseHandle(h) }, handle)
	cmd.SysProcAttr = ownGroup()
	cmd.SysProcAttr.CreationFlags |= windows.CREATE_SUSPENDED
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	herr := cmd.Process.WithHandle(func(process uintptr) {
		if err = windows.AssignProcessToJobObject(*job, windows.Handle(process)); err != nil {
			return
		}
		if status, _, _ := ntResumeProcess.Call(process); status != 0 {
			err = windows.NTStatus(status)
		}
	})
	if err == nil {
		err = herr
	}
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, err
	}
	return func() {
		_ = windows.TerminateJobObject(*job, 1)
		runtime.KeepAlive(job)
	}, nil
}

// ownGroup lets a command not notice the user's Ctrl-C. If this process has no
// console, a command gets one, which has no window.
func ownGroup() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP}
	if _, err := windows.GetConsoleCP(); err != nil {
		attr.CreationFlags |= windows.CREATE_NO_WINDOW
	}
	return attr
}
