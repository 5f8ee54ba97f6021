//go:build !race

package pktline

const raceEnabled = false
