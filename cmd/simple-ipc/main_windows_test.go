package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/windows"

	"example.com/simpleipc"
)

// isWine reports whether this is Wine, which does not do all that Windows does.
func isWine() bool {
	return windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil
}

// containProcesses lets whatever this process starts end with it.
func containProcesses() error {
	job, err := windows.CreateJobObject(nil, nil) // which is closed when this process ends
	if err != nil {
		return err
	}
	var limits windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	limits.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
	_, err = windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation, uintptr(unsafe.Pointer(&limits)), uint32(unsafe.Sizeof(limits)))
	if err != nil {
		return err
	}
	return windows.AssignProcessToJobObject(job, windows.CurrentProcess())
}

// thisProcess is what its peers see of this process.
func thisProcess() simpleipc.Peer {
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		panic(err)
	}
	return simpleipc.Peer{PID: os.Getpid(), UID: -1, GID: -1, SID: user.User.Sid.String()}
}

// hasEnded reports whether the process has ended.
func hasEnded(pid int) bool {
	p, err := windows.OpenProcess(windows.SYNCHRONIZE, false, uint32(pid))
	if err != nil {
		return true
	}
	defer windows.CloseHandle(p)
	s, _ := windows.WaitForSingleObject(p, 0)
	return s != uint32(windows.WAIT_TIMEOUT)
}

// interruptible PATH CMD ARG ... is a program that runs the command in a console
// of its own, where interrupt can press Ctrl-C for it.
func interruptible() {
	// What this process ignores, the command would ignore, too.
	_, _, _ = kernel32.NewProc("SetConsoleCtrlHandler").Call(0, 0)
	cmd := exec.Command(os.Args[2], os.Args[3:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &windows.SysProcAttr{CreationFlags: windows.CREATE_NO_WINDOW}
	pressed := make(chan os.Signal, 1)
	signal.Notify(pressed, os.Interrupt) // it is not for this process
	l, err := simpleipc.Listen(context.Background(), os.Args[1])
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	srv := simpleipc.Server{Handler: simpleipc.HandlerFunc(func(context.Context, *simpleipc.ResponseWriter, *simpleipc.Request) error {
		return pressCtrlC(cmd.Process.Pid)
	})}
	go srv.Serve(context.Background(), l)
	_ = cmd.Wait()                         // its exit status tells
	_ = srv.Shutdown(context.Background()) // answers who has pressed Ctrl-C
	os.Exit(cmd.ProcessState.ExitCode())
}

// pressCtrlC interrupts all processes at the console of the one with this ID.
func pressCtrlC(pid int) error {
	_, _, _ = kernel32.NewProc("FreeConsole").Call()
	if ok, _, err := kernel32.NewProc("AttachConsole").Call(uintptr(pid)); ok == 0 {
		return fmt.Errorf("attaching to the console: %w", err)
	}
	return windows.GenerateConsoleCtrlEvent(windows.CTRL_C_EVENT, 0)
}

// interrupt does to a command what Ctrl-C does.
func interrupt(path string) error {
	_, err := simpleipc.Call(context.Background(), path, nil)
	return err
}

// makeSpecial makes a file whose name is special.
func makeSpecial(dir string) error {
	return os.WriteFile(filepath.Join(dir, "größe 100 %"), nil, 0o600)
}
