package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeOutput writes a file as send does.
func writeOutput(t *testing.T, path, text string, commit bool) {
	t.Helper()
	out, err := createOutput(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = out.WriteString(text); err == nil && commit {
		err = out.commit()
	}
	out.discard()
	if err != nil {
		t.Error(err)
	}
}

// A file has its old contents or the new ones, and nothing else is beside it.
func TestOutput(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	holds := func(want string, names ...string) {
		t.Helper()
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("the file holds %q, %v; want %q", got, err, want)
		}
		wantNames(t, dir, names...)
	}
	writeOutput(t, path, "one", true)
	holds("one", "file")
	writeOutput(t, path, "two", false)
	holds("one", "file")
	writeOutput(t, path, "three", true)
	holds("three", "file")
	link := filepath.Join(dir, "link")
	switch ok, err := makeLink("file", link); {
	case err != nil:
		t.Fatal(err)
	case !ok:
		return
	}
	writeOutput(t, link, "four", true)
	holds("four", "file", "link")
	if info, err := os.Lstat(link); err != nil || info.Mode().Type() != fs.ModeSymlink {
		t.Errorf("the link: %v, %v", info.Mode(), err)
	}
}

// wantNames checks which files a folder has.
func wantNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	if err := hasNames(dir, want); err != nil {
		t.Error(err)
	}
}

func TestOutputErrors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o400); err != nil {
		t.Fatal(err)
	}
	none := filepath.Join(dir, "none", "file")
	for _, tt := range []struct{ path, want string }{
		{dir, "is a directory"},
		{none, ""},
		{filepath.Join(file, "file"), ""},
	} {
		_, err := createOutput(tt.path)
		if err == nil || !strings.HasPrefix(err.Error(), "cannot write '"+tt.path+"': ") || !strings.HasSuffix(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.path, err, tt.want)
		}
	}
	if out, err := createOutput("-"); err != nil || out.File != os.Stdout {
		t.Errorf("-: %v, %v", out, err)
	}
	if os.Geteuid() != 0 && !isWine() { // whose users may write anything
		if _, err := createOutput(file); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("a file that may not be written: %v", err)
		}
	}
	wantNames(t, dir, "file")
}
