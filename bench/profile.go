package main

import (
	"errors"
	"os"
	"runtime"
	"runtime/pprof"
)

// A profiler writes profiles of what is measured, if that is wanted.
type profiler struct {
	prefix string
	cpu    *os.File
}

func newProfiler(prefix string) *profiler {
	if prefix != "" {
		runtime.MemProfileRate = 64 << 10 // of small things, too, and hardly seen in the CPU profile
	}
	return &profiler{prefix: prefix}
}

func (p *profiler) begin() (err error) {
	if p.prefix == "" {
		return nil
	}
	if p.cpu, err = os.Create(p.prefix + ".cpu.pprof"); err != nil {
		return err
	}
	return pprof.StartCPUProfile(p.cpu)
}

func (p *profiler) end() error {
	if p.prefix == "" {
		return nil
	}
	pprof.StopCPUProfile()
	allocs, err := os.Create(p.prefix + ".allocs.pprof")
	if err != nil {
		return errors.Join(err, p.cpu.Close())
	}
	return errors.Join(pprof.Lookup("allocs").WriteTo(allocs, 0), allocs.Close(), p.cpu.Close())
}
