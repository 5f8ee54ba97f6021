package simpleipc

import (
	"os"
	"time"
)

// How often a server looks whether its path still leads to it: without help
// from the kernel, and with it.
const (
	checkInterval     = 1 * time.Second
	rareCheckInterval = 1 * time.Minute
)

// A watch says when a server should look whether its path still leads to it.
type watch struct {
	look     chan struct{} // now
	interval time.Duration // and this often

	file *os.File      // where events come from, or nil
	done chan struct{} // closed when they have ended
}

func (w *watch) close() {
	if w.file != nil {
		w.file.Close()
	}
	if w.done != nil {
		<-w.done
	}
}
