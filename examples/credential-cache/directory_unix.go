//go:build unix

package main

import (
	"fmt"
	"os"
	"syscall"
)

// checkPrivate returns an error unless the directory is this user's alone.
func checkPrivate(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t).Uid
	switch {
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	case int(owner) != os.Geteuid():
		return fmt.Errorf("%s belongs to user %d: use --socket=PATH with a directory of your own", dir, owner)
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("%s is open to others: close it with 'chmod go= %[1]s', or use another --socket=PATH", dir)
	}
	return nil
}
