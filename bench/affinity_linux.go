package main

import (
	"math/bits"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// startOnOneCPU starts cmd with one CPU, the last that this process may use.
// A process inherits that from the thread that makes it.
func startOnOneCPU(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		runtime.UnlockOSThread()
		return os.NewSyscallError("sched_getaffinity", err)
	}
	for cpu := range len(all) * bits.UintSize {
		if all.IsSet(cpu) {
			one.Zero()
			one.Set(cpu)
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		runtime.UnlockOSThread()
		return os.NewSyscallError("sched_setaffinity", err)
	}
	err := cmd.Start()
	if rerr := unix.SchedSetaffinity(0, &all); rerr != nil {
		return os.NewSyscallError("sched_setaffinity", rerr) // nobody else gets this thread
	}
	runtime.UnlockOSThread()
	return err
}

const canPin = true
