//go:build unix

package main

import (
	"context"
	"os"
	"syscall"
)

// howToEnd is how the demo ends a server.
const howToEnd = "SIGTERM"

// askToEnd asks a server to end.
func askToEnd(_ context.Context, _ string, p *os.Process) error { return p.Signal(syscall.SIGTERM) }
