package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

func TestSpool(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	for _, tt := range []struct {
		size, piece int
		inFile      bool
	}{
		{0, 1, false},
		{1, 1, false},
		{spoolMemory, spoolMemory, false},
		{spoolMemory, 1000, false},
		{spoolMemory + 1, 1000, true},
		{spoolMemory + 1, spoolMemory + 1, true},
		{3*spoolMemory + 7, 65516, true},
	} {
		content := random(3, tt.size)
		s := new(spool)
		for rest := content; rest != ""; {
			n := min(len(rest), tt.piece)
			if got, err := s.Write([]byte(rest[:n])); got != n || err != nil {
				t.Fatal(got, err)
			}
			rest = rest[n:]
		}
		if (s.file != nil) != tt.inFile || s.length() != int64(tt.size) || cap(s.tail) > 4*spoolMemory {
			t.Errorf("%d bytes: file %v, length %d, room for %d bytes", tt.size, s.file, s.length(), cap(s.tail))
		}
		for range 2 {
			if err := iotest.TestReader(s.reader(), []byte(content)); err != nil {
				t.Errorf("%d bytes: %v", tt.size, err)
			}
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
			t.Errorf("there are %q", left)
		}
		file := s.file
		s.close()
		if s.length() != 0 || s.file != nil {
			t.Errorf("there are %d bytes behind close", s.length())
		}
		if err := file.Close(); file != nil && !errors.Is(err, os.ErrClosed) {
			t.Errorf("the file was open behind close: %v", err)
		}
		s.close()
	}
}

func TestSpoolFailures(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "nowhere"))
	content := []byte(random(4, spoolMemory))
	var s spool
	if _, err := s.Write(content); err != nil {
		t.Fatal(err) // it fits
	}
	if _, err := s.Write(content); !errors.Is(err, errTemporary) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("write without a folder: %v", err)
	}

	t.Setenv("TMPDIR", t.TempDir())
	s.close()
	for range 2 {
		if _, err := s.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	r := s.reader()
	s.file.Close() // behind its back
	if _, err := io.ReadAll(r); !errors.Is(err, errTemporary) {
		t.Errorf("read: %v", err)
	}
	if _, err := original(&s); !errors.Is(err, errTemporary) {
		t.Errorf("original: %v", err) // and not taken for a blob of another's
	}
	if _, err := s.Write(content); !errors.Is(err, errTemporary) {
		t.Errorf("write: %v", err)
	}
	s.close()
}

// When there is no room, the filter says so and gives up, but stays in step.
func TestNoRoom(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "nowhere"))
	const abort = "0011status=abort\n" + "0000"
	large := random(5, spoolMemory+1)
	const reason = ": cannot use a temporary file in the folder that TMPDIR names: "
	for _, tt := range []struct{ name, input, output, logged string }{
		{"clean", "0012command=clean\n" + "000fpathname=x\n" + "0000" + content(large), abort, `clean "x"` + reason},
		{"smudge", ask("x", large, true), abort, `smudge "x"` + reason},
		// It is small itself, but what comes out is not.
		{"delayed", ask("x", blobOf(t, random(5, delayFrom)+strings.Repeat("0", spoolMemory)), true) + list, delayedAnswer + listNone, `smudge "x"` + reason},
	} {
		t.Run(tt.name, func(t *testing.T) {
			output, logged, err := serve(hello + tt.input + smudgeX + content(stored))
			if err != nil {
				t.Error(err)
			}
			if want := helloAnswer + tt.output + success + "0007hi\n" + "0000" + "0000"; output != want {
				t.Errorf("output %q\nwant   %q", output, want)
			}
			if !strings.HasPrefix(logged, tt.logged) {
				t.Errorf("log %q\nwant %q", logged, tt.logged)
			}
		})
	}
}

// A real full disk.
func TestFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("%s has no /dev/full: %v", runtime.GOOS, err)
	}
	s := spool{file: full}
	defer s.close()
	if _, err := s.Write(make([]byte, spoolMemory)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write([]byte("x")); !errors.Is(err, errTemporary) {
		t.Errorf("write: %v", err)
	}
}
