//go:build unix

package main

import (
	"errors"
	"os"
	"testing"

	"example.com/simpleipc"
)

// A proxy whose socket is taken away ends.
func TestProxyStolen(t *testing.T) {
	t.Parallel()
	stolen := startProxy(t, "none")
	if err := os.Remove(stolen.path); err != nil {
		t.Fatal(err)
	}
	if err := <-stolen.err; !errors.Is(err, simpleipc.ErrStolen) {
		t.Errorf("without its socket: %v", err)
	}
}
