package simpleipc

import (
	"context"
	"testing"

	"example.com/simpleipc/internal/race"
)

// TestAllocations holds an exchange, of client and server together, to what it
// allocates now.
func TestAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector's pools forget at random")
	}
	path := quietly(t)
	c := dial(t, path)
	request := make([]byte, 16)
	var buf []byte
	kept := func() {
		var err error
		if buf, err = c.AppendCall(context.Background(), buf[:0], request); err != nil {
			t.Fatal(err)
		}
	}
	// The server's context for its handler.
	if n := testing.AllocsPerRun(1000, kept); n > 1 {
		t.Errorf("kept connection: %v allocations, want 1", n)
	}
	once := func() {
		if _, err := Call(context.Background(), path, request); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(1000, once); n > 14 {
		t.Errorf("new connections: %v allocations, want 14", n)
	}
}
