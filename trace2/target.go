package trace2

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// A format is one of the three in which events are written.
type format int

const (
	normalFormat format = iota
	perfFormat
	eventFormat
)

// variables are the names of the environment variables that choose the
// targets. With "_BRIEF" behind them, they are those that shorten the lines.
var variables = [...]string{
	normalFormat: "GIT_TRACE2",
	perfFormat:   "GIT_TRACE2_PERF",
	eventFormat:  "GIT_TRACE2_EVENT",
}

const (
	// defaultNesting is how deep regions may be to be written in the event
	// format.
	defaultNesting = 2

	// discardName is the name of the file that says that its directory is full.
	discardName = "git-trace2-discard"

	// maxSameName is how many files of a directory may have the name of one
	// session, which takes more than one if more than one target leads there.
	maxSameName = 100
)

var (
	errUnknownValue = errors.New("it is none of 0, 1, the number of a descriptor from 2 to 9, an absolute path, and af_unix:[stream:|dgram:] before one")
	errTooManyFiles = errors.New("there are too many files in the directory")
	errNoName       = errors.New("all names are taken")
)

// A target is where the lines of one format go.
type target struct {
	format   format
	value    string // of the variable that chose it
	brief    bool
	complain bool // about failure
	discard  bool // it is the file that says that its directory is full

	dead atomic.Bool // lines need not be formatted any more

	mu     sync.Mutex
	output *output // nil if dead
}

// openTarget opens the target that the environment chooses for a format, and
// returns nil if it chooses none, or one that cannot be opened.
func openTarget(f format, getenv func(string) string, sid string) *target {
	t := &target{
		format:   f,
		value:    getenv(variables[f]),
		brief:    isTrue(getenv(variables[f] + "_BRIEF")),
		complain: isTrue(getenv("GIT_TRACE2_DST_DEBUG")),
	}
	maxFiles, _ := strconv.Atoi(getenv("GIT_TRACE2_MAX_FILES")) // 0 is no limit
	if err := t.open(sid, maxFiles); err != nil {
		t.fail(err)
	}
	if t.output == nil {
		return nil
	}
	return t
}

func (t *target) open(sid string, maxFiles int) (err error) {
	value := strings.ToLower(t.value)
	socket, isSocket := strings.CutPrefix(t.value, "af_unix:")
	switch {
	case value == "", value == "0", value == "false":
	case value == "1", value == "true", value == "2":
		t.output = openStderr()
	case len(value) == 1 && '3' <= value[0] && value[0] <= '9':
		t.output, err = openDescriptor(int(value[0] - '0'))
	case isSocket:
		kind, path, ok := strings.Cut(socket, ":")
		if !ok || kind != "stream" && kind != "dgram" {
			kind, path = "", socket
		}
		if !filepath.IsAbs(path) {
			return errUnknownValue
		}
		t.output, err = openSocket(kind, path)
	case !filepath.IsAbs(t.value):
		return errUnknownValue
	case isDirectory(t.value):
		err = t.openIn(t.value, sid, maxFiles)
	default:
		t.output, err = openFile(t.value, 0)
	}
	return err
}

// openIn makes a file for the session in a directory. In place of the file
// that would be one too many it makes the one that says so, which keeps all
// sessions from writing there until somebody removes it.
func (t *target) openIn(dir, sid string, maxFiles int) (err error) {
	path := filepath.Join(dir, ownSID(sid))
	if maxFiles > 0 {
		switch full, err := isFull(dir, maxFiles); {
		case err != nil:
			return err
		case full:
			t.output, err = openFile(filepath.Join(dir, discardName), os.O_EXCL)
			if errors.Is(err, os.ErrExist) {
				return errTooManyFiles
			}
			t.discard = err == nil
			return err
		}
	}
	t.output, err = openFile(path, os.O_EXCL)
	for i := 1; errors.Is(err, os.ErrExist) && i < maxSameName; i++ {
		t.output, err = openFile(fmt.Sprintf("%s.%d", path, i), os.O_EXCL)
	}
	if errors.Is(err, os.ErrExist) {
		return errNoName
	}
	return err
}

// isFull reports whether a directory has as many files as it may have, or is
// marked as full.
func isFull(dir string, maxFiles int) (bool, error) {
	if _, err := os.Lstat(filepath.Join(dir, discardName)); err == nil {
		return true, nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return false, err
	}
	defer d.Close()
	names, err := d.Readdirnames(maxFiles)
	if err == io.EOF {
		err = nil
	}
	return len(names) >= maxFiles, err
}

func isDirectory(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// write writes a line, the last one if it is so, and reports whether the target
// takes more.
func (t *target) write(l line, last bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.output == nil {
		return false
	}
	err := t.output.write(l)
	if err != nil || last {
		t.end()
	}
	if err != nil {
		t.fail(err)
	}
	return t.output != nil
}

func (t *target) end() {
	t.dead.Store(true)
	t.output.close()
	t.output = nil
}

// fail tells the user why there is no trace, if that was asked for.
func (t *target) fail(err error) {
	if t.complain {
		message := fmt.Appendf(nil, "warning: trace2: cannot write to %s=%s: %v\n", variables[t.format], t.value, err)
		_ = openStderr().write(message) // nobody is left to be told
	}
}

// isTrue reads a boolean as Git does: what is no boolean is false.
func isTrue(s string) bool {
	switch strings.ToLower(s) {
	case "true", "yes", "on":
		return true
	}
	n, err := strconv.Atoi(s)
	return err == nil && n != 0
}
