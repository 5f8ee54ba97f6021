//go:build unix && !linux

package simpleipc

// watch lets a server look every second whether its path still leads to it.
func (l *Listener) watch() *watch {
	if l.inherited {
		return &watch{interval: rareCheckInterval}
	}
	return &watch{interval: checkInterval}
}
