//go:build race && linux

package faults

const raceEnabled = true
