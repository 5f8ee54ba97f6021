package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"
)

// foreign returns a gzip file that the filter did not make.
func foreign(t testing.TB, content string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Name = "a name"
	io.WriteString(z, content)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// fileOf returns the file that a blob stands for.
func fileOf(blob string) (string, error) {
	s := new(spool)
	defer s.close()
	if _, err := io.WriteString(s, blob); err != nil {
		return "", err
	}
	r, err := original(s)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(r)
	return string(b), err
}

// Whatever a file is, it comes out as it went in, and its blob is always the
// same and smaller if that is possible.
func FuzzRoundTrip(f *testing.F) {
	f.Add("")
	f.Add("hello")
	f.Add(strings.Repeat("hello\x00", 1000))
	f.Add(stored)
	f.Add(storedHead)
	f.Add(blobOf(f, stored))
	f.Add(foreign(f, "hello"))
	f.Add(random(6, 70_000))
	f.Fuzz(func(t *testing.T, file string) {
		blob := blobOf(t, file)
		if again := blobOf(t, file); again != blob {
			t.Errorf("%q gives %q and %q", file, blob, again)
		}
		if most := len(storedHead) + len(file) + len(file)/1000 + 50; len(blob) > most {
			t.Errorf("%d bytes give a blob of %d", len(file), len(blob))
		}
		if got, err := fileOf(blob); got != file || err != nil {
			t.Errorf("%q comes out as %q: %v", file, got, err)
		}
	})
}

func TestCompressed(t *testing.T) {
	file := strings.Repeat("All work and no play makes Jack a dull boy.\n", 1000)
	blob := blobOf(t, file)
	if len(blob) > len(file)/20 {
		t.Errorf("%d bytes give a blob of %d", len(file), len(blob))
	}
	z, err := gzip.NewReader(strings.NewReader(blob))
	if err != nil {
		t.Fatal(err)
	}
	if z.Comment != comment || z.Name != "" || !z.ModTime.IsZero() || z.Extra != nil {
		t.Errorf("its header is %+v", z.Header)
	}
	if got, err := io.ReadAll(z); string(got) != file || err != nil {
		t.Errorf("gzip reads %d bytes from it: %v", len(got), err)
	}
}

func TestForeign(t *testing.T) {
	for _, blob := range []string{"", "x", "hello, world", "\x1f\x8b", foreign(t, "hello"), random(7, 2*spoolMemory), foreign(t, random(7, 2*spoolMemory))} {
		if got, err := fileOf(blob); got != blob || err != nil {
			t.Errorf("%.30q of %d bytes comes out as %.30q: %v", blob, len(blob), got, err)
		}
	}
}

// Whichever byte of a blob is wrong or missing, there is an error, or it is not
// known for ours any more and comes out as it is.
func TestCorrupt(t *testing.T) {
	file := strings.Repeat("hello", 20)
	blob := blobOf(t, file)
	for i := range blob {
		b := []byte(blob)
		b[i] ^= 0x55
		for _, damaged := range []string{string(b), blob[:i]} {
			got, err := fileOf(damaged)
			if err == nil && got != damaged && !(i < len(storedHead) && got == file) {
				t.Errorf("byte %d: %q comes out as %q", i, damaged, got)
			}
			if err != nil && !strings.HasPrefix(err.Error(), "the stored blob is corrupt: ") {
				t.Errorf("byte %d: %v", i, err)
			}
		}
	}
}
