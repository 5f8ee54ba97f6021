//go:build unix

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"example.com/simpleipc"
)

func isWine() bool { return false }

// containProcesses does nothing: quitAll finds what is left.
func containProcesses() error { return nil }

// thisProcess is what its peers see of this process.
func thisProcess() simpleipc.Peer {
	return simpleipc.Peer{PID: os.Getpid(), UID: os.Geteuid(), GID: os.Getegid()}
}

// hasEnded reports whether the process has ended, even if nobody has waited for
// it.
func hasEnded(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil && syscall.Kill(pid, 0) != nil || bytes.Contains(stat, []byte(") Z "))
}

// interruptible FILE CMD ARG ... is a program that becomes the command, which
// interrupt interrupts then.
func interruptible() {
	exe, err := exec.LookPath(os.Args[2])
	if err == nil {
		err = os.WriteFile(os.Args[1], []byte(strconv.Itoa(os.Getpid())), 0o600)
	}
	if err == nil {
		err = syscall.Exec(exe, os.Args[2:], os.Environ())
	}
	fmt.Fprintln(os.Stderr, "error:", err)
	os.Exit(1)
}

// interrupt does to a command what Ctrl-C does.
func interrupt(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(string(data))
	if err != nil {
		return err
	}
	return syscall.Kill(pid, syscall.SIGINT)
}

// makeSpecial makes things that are no regular files, and one whose name is
// special.
func makeSpecial(dir string) error {
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "control\x1b[31m\n"), nil, 0o600)
}
