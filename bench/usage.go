package main

import (
	"bytes"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A usage is what a process has used so far.
type usage struct {
	CPU     time.Duration // of user and system
	Mallocs uint64
	RSS     int64 // resident memory in bytes; 0 if the system does not tell
	PeakRSS int64
}

// usageBefore and usageAfter are for what is done between them: what they need
// themselves is not in the difference.
func usageBefore() (u usage) {
	u.readMemory()
	u.readMallocs()
	u.readCPU()
	return u
}

func usageAfter() (u usage) {
	u.readCPU()
	u.readMallocs()
	u.readMemory()
	return u
}

func (u *usage) readMemory() { u.RSS, u.PeakRSS = procStatus("VmRSS:"), procStatus("VmHWM:") }

func (u *usage) readMallocs() {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u.Mallocs = m.Mallocs
}

func (u *usage) readCPU() {
	var r unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &r) == nil {
		u.CPU = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
}

// settledUsage is for memory: it returns what garbage there is to the system
// first.
func settledUsage() usage {
	debug.FreeOSMemory()
	return usageAfter()
}

// procStatus returns a number of bytes from Linux's /proc/self/status.
func procStatus(field string) int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(status) {
		if f := bytes.Fields(line); len(f) == 3 && string(f[0]) == field {
			kib, _ := strconv.ParseInt(string(f[1]), 10, 64)
			return kib << 10
		}
	}
	return 0
}
