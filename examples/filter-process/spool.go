package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// spoolMemory is how much of its content a spool keeps in memory.
const spoolMemory = 128 << 10

// errTemporary is what errors.Is finds in an error that is due to temporary
// files, and neither to Git nor to a blob.
var errTemporary = errors.New("cannot use a temporary file in the folder that TMPDIR names")

// A spool keeps content of any size that is first written, then read, with
// little memory. The zero spool is empty.
type spool struct {
	file *os.File // nil if the content is small
	size int64    // of the file
	tail []byte   // what comes behind it
}

// Write adds p to the content.
func (s *spool) Write(p []byte) (int, error) {
	if len(s.tail)+len(p) > spoolMemory {
		if err := s.spill(); err != nil {
			return 0, fmt.Errorf("%w: %w", errTemporary, err)
		}
	}
	s.tail = append(s.tail, p...)
	return len(p), nil
}

// spill moves the tail to the file.
func (s *spool) spill() error {
	if s.file == nil {
		f, err := openTemporary()
		if err != nil {
			return err
		}
		s.file = f
	}
	n, err := s.file.Write(s.tail)
	s.size += int64(n)
	s.tail = s.tail[:0]
	return err
}

func (s *spool) empty() bool { return s.length() == 0 }

func (s *spool) length() int64 { return s.size + int64(len(s.tail)) }

// reader returns a reader of the content, from its beginning.
func (s *spool) reader() io.Reader {
	tail := bytes.NewReader(s.tail)
	if s.file == nil {
		return tail
	}
	return io.MultiReader(spoolFile{io.NewSectionReader(s.file, 0, s.size)}, tail)
}

// close gives up the content.
func (s *spool) close() {
	if s.file != nil {
		s.file.Close()
	}
	*s = spool{}
}

// createTemporary creates a file and removes its name at once, so that it ends
// with the process.
func createTemporary() (*os.File, error) {
	f, err := os.CreateTemp("", "filter-process-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// spoolFile marks the errors of reading a spool's file.
type spoolFile struct{ r io.Reader }

func (f spoolFile) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w: %w", errTemporary, err)
	}
	return n, err
}
