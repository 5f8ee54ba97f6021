package trace2

import (
	"errors"
	"os"
)

var errUnsupported = errors.New("not supported on Windows")

// An output is a file to which lines are written.
type output struct {
	file     *os.File
	borrowed bool // and not ours to close
}

func openStderr() *output {
	return &output{os.Stderr, true}
}

func openDescriptor(int) (*output, error) {
	return nil, errUnsupported
}

// openFile opens a file to append to it, with os.O_EXCL a new one.
func openFile(path string, flags int) (*output, error) {
	f, err := os.OpenFile(path, flags|os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	return &output{file: f}, nil
}

func openSocket(string, string) (*output, error) {
	return nil, errUnsupported
}

func (o *output) write(b []byte) error {
	_, err := o.file.Write(b)
	return err
}

func (o *output) close() {
	if !o.borrowed {
		_ = o.file.Close() // each line has been written, or has failed
	}
}
