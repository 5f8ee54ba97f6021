//go:build unix

package simpleipc

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// wantFiles checks which files there are beside path.
func wantFiles(t testing.TB, path string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if fmt.Sprint(got) != fmt.Sprint(append([]string{}, want...)) {
		t.Errorf("files: %q, want %q", got, want)
	}
}

// openFiles returns the number of this process's open descriptors.
func openFiles() (int, error) {
	entries, err := os.ReadDir("/dev/fd")
	return len(entries), err
}

// halfClose ends what c sends.
func halfClose(c socket) {
	c.control(func(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) })
}

// onWine is for the tests on Windows.
func onWine() bool { return false }

// notListening lets a path be one that is not listening, until gone is called.
func notListening(t testing.TB, path string) (gone func()) {
	staleSocket(t, path)
	return func() {} // Listen replaces it
}

// thisProcess is what its peers see of this process.
func thisProcess() Peer {
	return Peer{PID: os.Getpid(), UID: os.Geteuid(), GID: os.Getegid()}
}

// idleConnections is how many connections TestIdleConnections holds.
const idleConnections = 10000
