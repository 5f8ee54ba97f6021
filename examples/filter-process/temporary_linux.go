package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// openTemporary opens a file that never has a name where the file system can do
// that: so nothing of it is left, even if the filter is killed.
func openTemporary() (*os.File, error) {
	f, err := os.OpenFile(os.TempDir(), os.O_RDWR|os.O_EXCL|unix.O_TMPFILE, 0o600)
	if err != nil {
		return createTemporary()
	}
	return f, nil
}
