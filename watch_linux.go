package simpleipc

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// watch lets a server know when to look whether its path still leads to it:
// when something has happened to the socket or a directory above it, and once
// a minute for what the kernel does not report, such as a mount that hides
// the path. So an idle server sleeps, where a timer each second would keep the
// runtime's threads awake. If the kernel cannot watch, for lack of inotify
// instances perhaps, the timer must do.
func (l *Listener) watch() *watch {
	w := &watch{look: make(chan struct{}, 1), interval: rareCheckInterval}
	if l.inherited {
		return w
	}
	w.look <- struct{}{} // for what happened before
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		w.interval = checkInterval
		return w
	}
	w.file = os.NewFile(uintptr(fd), "inotify")
	// Whatever the path leads through: the names in it, and, where these are
	// symbolic links, the directories behind them.
	err = watchNames(fd, l.path)
	if dir, rerr := filepath.EvalSymlinks(filepath.Dir(l.path)); err == nil && rerr == nil {
		err = watchNames(fd, dir)
	}
	if err != nil {
		w.close()
		w.file = nil
		w.interval = checkInterval
		return w
	}
	w.done = make(chan struct{})
	go w.read()
	return w
}

// watchNames watches what has the names in an absolute path for being removed,
// replaced or renamed.
func watchNames(fd int, path string) error {
	// The removal of a name shows as a change of the inode's link count.
	const mask = unix.IN_ATTRIB | unix.IN_MOVE_SELF | unix.IN_DELETE_SELF | unix.IN_DONT_FOLLOW
	for ; path != "/"; path = filepath.Dir(path) {
		if _, err := unix.InotifyAddWatch(fd, path, mask); err != nil {
			return err
		}
	}
	return nil
}

// read passes events on. What they say does not matter.
func (w *watch) read() {
	defer close(w.done)
	var events [4096]byte
	for {
		if _, err := w.file.Read(events[:]); err != nil {
			return
		}
		select {
		case w.look <- struct{}{}:
		default:
		}
	}
}
