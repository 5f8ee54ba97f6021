package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
)

// An output is a file that takes the place of another once it is complete: there
// is never a part of it. What cannot be replaced is written as it is: standard
// output, pipes, devices.
type output struct {
	*os.File
	path    string         // the place, or "" if it is written as it is
	signals chan os.Signal // what may end the process before that
}

// createOutput begins the file at path; "-" is standard output.
func createOutput(path string) (*output, error) {
	out, err := openOutput(path)
	if err != nil {
		if cause := errors.Unwrap(err); cause != nil { // without the path, which may be the draft's
			err = cause
		}
		return nil, fmt.Errorf("cannot write '%s': %w", path, err)
	}
	return out, nil
}

func openOutput(path string) (*output, error) {
	if path == "-" {
		return &output{File: os.Stdout}, nil
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return createDraft(path, nil)
	}
	if err != nil {
		return nil, err
	}
	if isStdout(info) {
		return &output{File: os.Stdout}, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return &output{File: f}, nil
	}
	_ = f.Close() // nothing was written: this was to see whether it may be
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return nil, err
	}
	return createDraft(path, info)
}

// createDraft begins a file that is to have the place of path, and the
// permissions of what is there.
func createDraft(path string, there fs.FileInfo) (*output, error) {
	name := filepath.Join(filepath.Dir(path), ".simple-ipc-"+strconv.FormatUint(rand.Uint64(), 36))
	f, err := makeDraft(name, path, there)
	if err != nil {
		return nil, err
	}
	out := &output{File: f, path: path, signals: make(chan os.Signal, 1)}
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) { // by nohup, for instance
			signal.Notify(out.signals, s)
		}
	}
	go func() {
		if _, ok := <-out.signals; ok {
			_ = os.Remove(name)
			fmt.Fprintln(os.Stderr, "error: interrupted")
			os.Exit(1)
		}
	}()
	return out, nil
}

// commit gives the file its place.
func (o *output) commit() error {
	if o.File == os.Stdout {
		return nil
	}
	err := o.Close()
	if err == nil && o.path != "" {
		err = replace(o.Name(), o.path)
	}
	return err
}

// discard takes the file away if it has not got its place.
func (o *output) discard() {
	if o.File == os.Stdout {
		return
	}
	_ = o.Close() // commit has seen the error if it matters
	if o.path != "" {
		_ = os.Remove(o.Name())
		signal.Stop(o.signals)
		close(o.signals)
	}
}
