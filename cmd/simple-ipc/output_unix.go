//go:build unix

package main

import (
	"io/fs"
	"os"
)

// isStdout reports whether a file is standard output, by another name such as
// /dev/stdout.
func isStdout(file fs.FileInfo) bool {
	stdout, err := os.Stdout.Stat()
	return err == nil && os.SameFile(file, stdout)
}

// makeDraft makes a new file that is to have the place of path, and the
// permissions of what is there, if anything is.
func makeDraft(name, _ string, there fs.FileInfo) (*os.File, error) {
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if there == nil {
		return os.OpenFile(name, flags, 0o666)
	}
	f, err := os.OpenFile(name, flags, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(there.Mode().Perm()); err != nil {
		f.Close()
		_ = os.Remove(name)
		return nil, err
	}
	return f, nil
}

// replace gives a file the place of another.
func replace(name, path string) error { return os.Rename(name, path) }
