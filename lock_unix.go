//go:build unix

package simpleipc

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// How a path's lock works.
//
// The lock is the file <path>.lock, created exclusively, which is how Git's C
// code locks a path, too. Ours is born with a content that tells it from
// Git's, and flocked: it is made in a private directory and then linked to its
// name. The kernel undoes the flock when the process ends, however it ends. So
// who finds a lock file that is not flocked knows that its maker is dead, and
// adopts it: flocks it and makes sure that it is still the one at the name. A
// file of Git's, which is empty and never flocked, is adopted when it is old.
// Only who holds the flock may unlink the name.

const (
	lockSuffix = ".lock"

	// The content of our lock files is this and the maker's process ID.
	lockContent = "simpleipc "

	// emptyLockLife is how long an empty lock file, as Git's C code makes it,
	// is taken to be in use. Git needs it for milliseconds.
	emptyLockLife = 10 * time.Second

	// These names are used in a workspace.
	candidateName = "lock"
	bindName      = "s"
)

// A workspace is a private directory beside a path, in which a lock file and a
// socket are made ready before they get their names. It is flocked as long as
// its process uses it, so that what a dead process left can be told.
type workspace struct {
	parent *os.Root
	up     *os.File // parent's descriptor
	name   string   // in parent
	root   *os.Root // the directory
	dir    *os.File // the directory, flocked
}

func newWorkspace(parent *os.Root, base string) (*workspace, error) {
	const tries = 100 // each with another name
	for range tries {
		var random [4]byte
		rand.Read(random[:])
		w := &workspace{parent: parent, name: workspacePrefix(base) + hex.EncodeToString(random[:])}
		err := parent.Mkdir(w.name, 0o700)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		ours, err := w.take()
		if ours {
			return w, nil
		}
		w.leave()
		if err != nil {
			_ = parent.Remove(w.name)
			return nil, err
		}
		// Between mkdir and flock, another process took it for debris.
	}
	return nil, errors.New("every directory that is made is taken away by others")
}

// take flocks a directory that was just made, and reports whether it is still
// there.
func (w *workspace) take() (ours bool, err error) {
	if found, err := w.find(); !found {
		return false, err
	}
	// Others may have put another directory of this user's there.
	if names, err := w.dir.Readdirnames(1); len(names) > 0 {
		return false, nil
	} else if err != io.EOF {
		return false, ignoreNotExist(err)
	}
	if w.up, err = w.parent.Open("."); err != nil {
		return false, err
	}
	if err := w.dir.Chmod(0o700); err != nil { // the umask may have taken some
		return false, err
	}
	if entered, err := w.enter(); !entered {
		return false, err
	}
	if locked, err := flock(w.dir); !locked {
		return false, err
	}
	return isAt(w.parent, w.name, w.dir), nil
}

// find opens the directory, and reports whether it is one of this user's and
// no link to one.
func (w *workspace) find() (found bool, err error) {
	// As a directory: a FIFO that others have put there would be waited for.
	if w.dir, err = w.parent.OpenFile(w.name, os.O_RDONLY|unix.O_DIRECTORY, 0); err != nil {
		return false, ignoreGone(err)
	}
	info, err := w.dir.Stat()
	return err == nil && ownedByUs(info) && isAt(w.parent, w.name, w.dir), err
}

// enter opens the directory that was found for the names in it, for which it
// must be searchable, and reports whether it is still there.
func (w *workspace) enter() (entered bool, err error) {
	if w.root, err = w.parent.OpenRoot(w.name + "/."); err != nil { // as a directory, too
		return false, ignoreGone(err)
	}
	return isAt(w.root, ".", w.dir), nil
}

// ignoreGone returns err unless it says that what was a directory is none now.
func ignoreGone(err error) error {
	if errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	return ignoreNotExist(err)
}

// close removes the directory and all that is in it. What cannot be removed
// is for the next server.
func (w *workspace) close() {
	_ = w.root.Remove(candidateName)
	_ = w.root.Remove(bindName)
	if isAt(w.parent, w.name, w.dir) {
		_ = w.parent.Remove(w.name)
	}
	w.leave()
}

// leave lets go of the directory as it is.
func (w *workspace) leave() {
	if w.root != nil {
		w.root.Close()
	}
	if w.dir != nil {
		w.dir.Close()
	}
	if w.up != nil {
		w.up.Close()
	}
}

// workspacePrefix is what the names of a path's workspaces begin with. Eight
// hexadecimal digits follow.
func workspacePrefix(base string) string {
	n := min(len(base), 200)
	for n < len(base) && n > 0 && !utf8.RuneStart(base[n]) {
		n-- // some systems want names in UTF-8
	}
	return "." + base[:n] + "."
}

// removeDebris removes the workspaces of dead processes. The lock is held.
func removeDebris(parent *os.Root, base string) {
	d, err := parent.Open(".")
	if err != nil {
		return
	}
	defer d.Close()
	prefix := workspacePrefix(base)
	for {
		entries, err := d.ReadDir(256)
		for _, e := range entries {
			rest, ok := strings.CutPrefix(e.Name(), prefix)
			if !ok || !e.IsDir() {
				continue
			}
			if b, err := hex.DecodeString(rest); err != nil || len(b) != 4 {
				continue
			}
			w := &workspace{parent: parent, name: e.Name()}
			if w.isDebris() {
				w.close()
			} else {
				w.leave()
			}
		}
		if err != nil {
			return
		}
	}
}

// isDebris reports whether a directory that was found is the workspace of a
// dead process, and flocks it if so. It must look like one in every way: where
// others may rename things, they could put something else there.
func (w *workspace) isDebris() bool {
	if found, _ := w.find(); !found {
		return false
	}
	if info, err := w.dir.Stat(); err != nil || info.Mode().Perm()&0o077 != 0 {
		return false
	}
	if entered, _ := w.enter(); !entered {
		return false
	}
	if locked, _ := flock(w.dir); !locked {
		return false
	}
	entries, err := w.dir.ReadDir(-1)
	if err != nil {
		return false
	}
	for _, e := range entries {
		switch {
		case e.Name() == bindName && e.Type() == fs.ModeSocket:
		case e.Name() == candidateName && e.Type().IsRegular() && w.isCandidate():
		default:
			return false
		}
	}
	return true
}

// isCandidate reports whether the lock file in the workspace is one of ours.
// One whose maker was killed at once is empty.
func (w *workspace) isCandidate() bool {
	content, err := w.root.ReadFile(candidateName)
	return err == nil && (len(content) == 0 || bytes.HasPrefix(content, []byte(lockContent)))
}

// A pathLock is the lock of a path, held.
type pathLock struct {
	parent *os.Root
	name   string
	file   *os.File
}

// lockPath takes the lock of the path base in w's parent, and tries until
// timeout has passed. Before each try it calls check; an error of check ends
// the attempt.
func lockPath(ctx context.Context, w *workspace, base string, timeout time.Duration, check func() error) (*pathLock, error) {
	candidate, err := newCandidate(w)
	if err != nil {
		return nil, fmt.Errorf("preparing the lock: %w", err)
	}
	l := &pathLock{parent: w.parent, name: base + lockSuffix}
	wait := newBackoff(ctx, timeout)
	for {
		if err := check(); err != nil {
			candidate.Close()
			return nil, err
		}
		// By descriptor: others may have put something else at w's name.
		err := unix.Linkat(int(w.dir.Fd()), candidateName, int(w.up.Fd()), l.name, 0)
		if err == nil {
			_ = w.root.Remove(candidateName) // or close does it
			l.file = candidate
			return l, nil
		}
		var reason error
		if errors.Is(err, fs.ErrExist) {
			var adopted *os.File
			if adopted, reason, err = adoptLock(l.parent, l.name); adopted != nil {
				candidate.Close()
				l.file = adopted
				return l, nil
			}
		}
		if err == nil {
			if err = wait.next(); err == nil {
				continue
			}
			if errors.Is(err, errWaitedLong) {
				err = fmt.Errorf("%w: %s %w; waited %v", ErrLocked, l.name, reason, timeout)
			}
		}
		candidate.Close()
		return nil, err
	}
}

// newCandidate makes a flocked lock file that only lacks its name.
func newCandidate(w *workspace) (*os.File, error) {
	f, err := w.root.OpenFile(candidateName, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err = f.Chmod(0o600); err == nil { // whatever the umask is
		if _, err = flock(f); err == nil {
			err = writeLockContent(f)
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func writeLockContent(f *os.File) error {
	_, err := fmt.Fprintf(f, "%s%d\n", lockContent, os.Getpid())
	return err
}

// Why a lock file cannot be taken now. The file's name stands before it.
var (
	errLockAlive = errors.New("is held by a live process")
	errLockYoung = errors.New("may be held by a program that does not flock it")
	errLockGone  = errors.New("comes and goes")
)

// adoptLock takes over the lock file at name if its maker is dead. If it must
// be left alone for now, adoptLock returns the reason; an error is final.
func adoptLock(parent *os.Root, name string) (f *os.File, reason, err error) {
	info, err := parent.Lstat(name)
	if err == nil && !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%w: %s is not a regular file; remove it if it is not needed", ErrLocked, name)
	}
	if err == nil {
		// O_NONBLOCK: it may have become a FIFO, and must not be waited for.
		f, err = parent.OpenFile(name, os.O_RDWR|unix.O_NONBLOCK, 0)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errLockGone, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %s: %w", ErrLocked, name, cause(err))
	}
	defer func() {
		if reason != nil || err != nil {
			f.Close()
			f = nil
		}
	}()
	locked, err := flock(f)
	if err != nil {
		return f, nil, err
	}
	if !locked {
		return f, errLockAlive, nil
	}
	// The file at the name may be another one by now.
	if !isAt(parent, name, f) {
		return f, errLockGone, nil
	}
	if info, err = f.Stat(); err != nil {
		return f, nil, err
	}
	if info.Size() == 0 {
		if age := time.Since(info.ModTime()); age.Abs() < emptyLockLife {
			return f, errLockYoung, nil
		}
		return f, nil, nil // ours, and as it is: it may be a link to another file
	}
	content := make([]byte, len(lockContent))
	if _, err := io.ReadFull(f, content); err != nil || !bytes.Equal(content, []byte(lockContent)) {
		return f, nil, fmt.Errorf("%w: %s is not a lock file; remove it if it is not needed", ErrLocked, name)
	}
	return f, nil, nil
}

// unlock gives the lock up. If the name cannot be removed, the next server
// adopts the file.
func (l *pathLock) unlock() {
	if isAt(l.parent, l.name, l.file) {
		_ = l.parent.Remove(l.name)
	}
	l.file.Close()
}

// flock locks f exclusively, without waiting, and reports whether it could.
func flock(f *os.File) (bool, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return false, err
	}
	cerr := raw.Control(func(fd uintptr) {
		err = ignoreEINTR(func() error { return unix.Flock(int(fd), unix.LOCK_EX|unix.LOCK_NB) })
	})
	if cerr != nil {
		return false, cerr
	}
	if err == unix.EWOULDBLOCK {
		return false, nil
	}
	return err == nil, err
}

// isAt reports whether f is what has this name in dir.
func isAt(dir *os.Root, name string, f *os.File) bool {
	there, err := dir.Lstat(name)
	if err != nil {
		return false
	}
	here, err := f.Stat()
	return err == nil && os.SameFile(there, here)
}

func ownedByUs(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}

func ignoreNotExist(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
