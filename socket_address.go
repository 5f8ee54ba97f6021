//go:build unix && !linux

package simpleipc

// shortAddress returns an address for a path that is too long to be one.
func shortAddress(path string) (address string, done func(), err error) { return linkAddress(path) }
