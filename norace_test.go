//go:build !race

package simpleipc

const raceEnabled = false
