package simpleipc

import (
	"errors"
	"testing"
)

func TestStateString(t *testing.T) {
	for i, want := range []string{"listening", "not listening", "invalid path", "path not found", "other error", "State(5)"} {
		if got := State(i).String(); got != want {
			t.Errorf("State %d: %q, want %q", i, got, want)
		}
	}
}

// wantState checks what Probe and Dial find at a path, and that errors.Is finds
// is in their errors.
func wantState(t testing.TB, path string, want State, is error) {
	t.Helper()
	state, err := Probe(t.Context(), path)
	if state != want || !errors.Is(err, is) || (err == nil) != (state == Listening) {
		t.Errorf("Probe %.80q: %v, %v; want %v", path, state, err, want)
	}
	c, err := (&Dialer{Timeout: -1}).Dial(t.Context(), path)
	if err == nil {
		c.Close()
	}
	var e *Error
	if !errors.Is(err, is) || err != nil && (!errors.As(err, &e) || e.State != want || e.Op != "dial") {
		t.Errorf("Dial %.80q: %v; want %v", path, err, want)
	}
}
