package simpleipc

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/windows"
)

const (
	// pipePrefix is what the names of pipes begin with.
	pipePrefix = `\\.\pipe\`

	// maxPipeName is the length of the longest name, in UTF-16.
	maxPipeName = 256

	// defaultDialTimeout is long, because a pipe that is there has a server,
	// which is only busy.
	defaultDialTimeout = 30 * time.Second
)

var (
	errEmptyPath = errors.New("the path is empty")
	errNUL       = errors.New("the path has a NUL in it")
	errNoName    = errors.New("the path names a directory")
	errLongName  = fmt.Errorf("the name of the pipe has more than %d characters", maxPipeName)
)

// resolve returns the name of the pipe for a path: that of Git for Windows. A
// name of a pipe is returned as it is.
func resolve(path string) (string, error) {
	switch {
	case path == "":
		return "", errEmptyPath
	case strings.ContainsRune(path, 0):
		return "", errNUL
	case strings.HasSuffix(path, `\`), strings.HasSuffix(path, "/"):
		return "", errNoName
	}
	name := strings.ReplaceAll(path, "/", `\`)
	if len(name) < len(pipePrefix) || !strings.EqualFold(name[:len(pipePrefix)], pipePrefix) {
		abs, err := filepath.Abs(path)
		if err != nil {
			return "", err
		}
		dir, base := filepath.Split(abs)
		if base == "" {
			return "", errNoName
		}
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			dir = real
		}
		name = pipePrefix + pipeName(filepath.Join(dir, base))
	}
	utf16, err := windows.UTF16FromString(name)
	if err != nil {
		return "", err
	}
	if len(utf16)-1 > maxPipeName {
		return "", errLongName
	}
	return name, nil
}

// pipeName turns an absolute path into what follows pipePrefix: the colon of
// the drive becomes an underscore. What lets a path be long is no part of it.
func pipeName(path string) string {
	path = strings.TrimPrefix(strings.TrimPrefix(path, `\\?\`), `UNC\`)
	if len(path) > 1 && path[1] == ':' {
		path = path[:1] + "_" + path[2:]
	}
	return strings.TrimLeft(path, `\`) // of a network path
}

// stateOf tells the state of a path by the error of an attempt to connect.
func stateOf(err error) State {
	switch {
	case err == nil:
		return Listening
	case errors.Is(err, windows.ERROR_FILE_NOT_FOUND), errors.Is(err, windows.ERROR_PATH_NOT_FOUND):
		return PathNotFound
	case errors.Is(err, windows.ERROR_PIPE_BUSY), errors.Is(err, windows.ERROR_SEM_TIMEOUT), errors.Is(err, errHungUp):
		return NotListening
	case errors.Is(err, errEmptyPath), errors.Is(err, errNUL), errors.Is(err, errNoName), errors.Is(err, errLongName),
		errors.Is(err, windows.ERROR_INVALID_NAME), errors.Is(err, windows.ERROR_BAD_PATHNAME), errors.Is(err, windows.ERROR_BAD_NETPATH):
		return InvalidPath
	}
	return OtherError
}

// isBusy reports whether an attempt to connect failed because all instances of
// the pipe are taken: there is a server.
func isBusy(err error) bool { return errors.Is(err, windows.ERROR_PIPE_BUSY) }

// connect connects to the pipe, without waiting. The server cannot act in the
// name of this process.
func connect(name string) (socket, error) {
	p, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return socket{}, err
	}
	h, err := windows.CreateFile(p, windows.GENERIC_READ|windows.GENERIC_WRITE, 0, nil, windows.OPEN_EXISTING,
		windows.FILE_FLAG_OVERLAPPED|windows.SECURITY_SQOS_PRESENT|windows.SECURITY_ANONYMOUS, 0)
	if err != nil {
		return socket{}, err
	}
	return newSocket(h, name, false)
}
