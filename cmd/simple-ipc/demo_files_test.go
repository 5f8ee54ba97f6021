package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestCollect(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"a": "1", "sub/b": "22", "sub/deep/c": ""} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots := []string{dir}
	link := filepath.Join(t.TempDir(), "link")
	switch ok, err := makeLink(dir, link); {
	case err != nil:
		t.Fatal(err)
	case ok:
		roots = append(roots, link)
	}
	for _, root := range roots {
		files, problems := collect(root)
		var got []string
		for _, f := range files {
			rel, _ := filepath.Rel(dir, f.path)
			got = append(got, filepath.ToSlash(rel))
		}
		if want := []string{"a", "sub/b", "sub/deep/c"}; !slices.Equal(got, want) || len(problems) > 0 {
			t.Errorf("%s: %q, %v; want %q", root, got, problems, want)
		}
	}
	if files, problems := collect(os.DevNull); len(files) > 0 || len(problems) != 1 {
		t.Errorf("%s: %v, %v", os.DevNull, files, problems)
	}
	if files, problems := collect(filepath.Join(dir, "none")); len(files) > 0 || len(problems) != 1 || !errors.Is(problems[0], os.ErrNotExist) {
		t.Errorf("a missing file: %v, %v", files, problems)
	}
	if os.Geteuid() > 0 { // root may read anything, and Windows knows no modes
		if err := os.Chmod(filepath.Join(dir, "sub"), 0); err != nil {
			t.Fatal(err)
		}
		defer os.Chmod(filepath.Join(dir, "sub"), 0o700)
		if files, problems := collect(dir); len(files) != 1 || len(problems) != 1 {
			t.Errorf("a locked folder: %v, %v", files, problems)
		}
	}
}

func TestAbridge(t *testing.T) {
	if err := abridge(nil); err != nil {
		t.Errorf("nothing becomes %v", err)
	}
	problems := slices.Repeat([]error{errors.New("x")}, 13)
	if got, want := abridge(problems).Error(), strings.Repeat("x\n", 10)+"and 3 more"; got != want {
		t.Errorf("13 errors become %q, want %q", got, want)
	}
}
