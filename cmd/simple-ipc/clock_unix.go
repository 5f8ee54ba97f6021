//go:build unix

package main

import "time"

var processStart = time.Now()

// clock returns the time since some moment in the past.
func clock() time.Duration { return time.Since(processStart) }
