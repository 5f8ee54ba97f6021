//go:build unix

package main

import (
	"os/exec"
	"syscall"
)

// startGroup starts a command whose group, which is all that it starts in turn,
// can be killed.
func startGroup(cmd *exec.Cmd) (kill func(), err error) {
	cmd.SysProcAttr = ownGroup()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }, nil // unless all have ended
}

// ownGroup lets a command be a process group of its own.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
