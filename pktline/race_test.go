//go:build race

package pktline

const raceEnabled = true
