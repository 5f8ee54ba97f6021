//go:build unix && !linux

package simpleipc

// watch lets a server look every second whether its path still leads to it.
func (l *Listener) watch() *watch { return &watch{interval: checkInterval} }
