//go:build unix

package main

import "syscall"

// ownGroup lets a command, and all that it starts, be a process group.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// killGroup kills the process group that the process leads, if there is one.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }
