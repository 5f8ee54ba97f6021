package main

import (
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

var (
	kernel32                  = windows.NewLazySystemDLL("kernel32.dll")
	queryPerformanceCounter   = kernel32.NewProc("QueryPerformanceCounter")
	queryPerformanceFrequency = kernel32.NewProc("QueryPerformanceFrequency")
)

// clock returns the time since some moment in the past. That of package time
// may stand still for milliseconds on Windows, in which there are many exchanges.
func clock() time.Duration {
	ticks, perSecond := queryCounter(queryPerformanceCounter), ticksPerSecond()
	whole, rest := ticks/perSecond, ticks%perSecond
	return time.Duration(whole)*time.Second + time.Duration(rest)*time.Second/time.Duration(perSecond)
}

var ticksPerSecond = sync.OnceValue(func() int64 { return queryCounter(queryPerformanceFrequency) })

// queryCounter calls a function that never fails.
func queryCounter(proc *windows.LazyProc) (n int64) {
	_, _, _ = proc.Call(uintptr(unsafe.Pointer(&n)))
	return n
}
