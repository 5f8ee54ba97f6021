package main

import (
	"os"
	"path/filepath"
	"testing"
)

// On anything but a terminal, a bar is not to be seen.
func TestProgressBarElsewhere(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := progressBar{out: f, paint: newPainter(f)}
	b.draw(1, 2, "text")
	b.update(1, 2, "text")
	b.clear()
	if info, err := f.Stat(); err != nil || info.Size() != 0 {
		t.Errorf("%v bytes were written, %v", info.Size(), err)
	}
	if null, err := os.Open(os.DevNull); err == nil {
		defer null.Close()
		if _, ok := terminalWidth(null); ok {
			t.Errorf("%s is taken for a terminal", os.DevNull)
		}
	}
}
