//go:build unix && !linux

package simpleipc

// bindIn binds the socket fd to bindName in the workspace for path.
func bindIn(w *workspace, fd int, path string) error { return bindByPath(w, fd, path) }

// shortAddress returns an address for a path that is too long to be one.
func shortAddress(path string) (address string, done func(), err error) { return linkAddress(path) }
