package main

import (
	"bytes"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A machine is where and with what was measured.
type machine struct {
	CPU       string
	CPUs      int
	System    string
	Go        string
	Libraries []string
}

func thisMachine() machine {
	m := machine{CPU: runtime.GOARCH, CPUs: runtime.NumCPU(), System: runtime.GOOS, Go: runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH}
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.System = unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if measured[d.Path] {
				m.Libraries = append(m.Libraries, d.Path+" "+d.Version)
			}
		}
	}
	return m
}

// measured are the modules whose versions are reported.
var measured = map[string]bool{
	"github.com/containerd/ttrpc": true,
	"github.com/git-lfs/pktline":  true,
	"google.golang.org/grpc":      true,
	"google.golang.org/protobuf":  true,
}

// A watch looks how busy the machine is with other things.
type watch struct {
	start     time.Time
	all, ours time.Duration
}

func newWatch() watch { return watch{time.Now(), busyTime(), ourTime()} }

// others returns the part of all CPUs' time that other processes have used, or
// a negative value if the system does not tell.
func (w watch) others() float64 {
	all := busyTime()
	if all == 0 {
		return -1
	}
	used := (all - w.all) - (ourTime() - w.ours)
	return max(0, used.Seconds()/(time.Since(w.start).Seconds()*float64(runtime.NumCPU())))
}

// busyTime is how long Linux's CPUs have been busy; 0 elsewhere.
func busyTime() time.Duration {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	var ticks int64
	for i, f := range strings.Fields(string(line)) {
		switch i {
		case 1, 2, 3, 6, 7, 8: // user, nice, system, irq, softirq, steal
			n, _ := strconv.ParseInt(f, 10, 64)
			ticks += n
		}
	}
	return time.Duration(ticks) * time.Second / 100 // USER_HZ
}

// ourTime is what this process and those that it has started and seen end have
// used.
func ourTime() time.Duration {
	var d time.Duration
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var r unix.Rusage
		if unix.Getrusage(who, &r) == nil {
			d += time.Duration(r.Utime.Nano() + r.Stime.Nano())
		}
	}
	return d
}
