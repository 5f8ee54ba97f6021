//go:build unix

package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A new file has the permissions that files have, and one that was there keeps
// its own.
func TestOutputPermissions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	defer syscall.Umask(syscall.Umask(0o027))
	writeOutput(t, path, "one", true)
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 {
		t.Errorf("the new file: %v, %v", info.Mode(), err)
	}
	if err := os.Chmod(path, 0o606); err != nil {
		t.Fatal(err)
	}
	writeOutput(t, path, "two", true)
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o606 {
		t.Errorf("the file that was there: %v, %v", info.Mode(), err)
	}
}

// What cannot be replaced is written as it is.
func TestOutputInPlace(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	read := make(chan string, 1)
	go func() {
		got, _ := os.ReadFile(fifo)
		read <- string(got)
	}()
	writeOutput(t, fifo, "through", true)
	if got := <-read; got != "through" {
		t.Errorf("the pipe's reader got %q", got)
	}
	wantNames(t, dir, "fifo")
}
