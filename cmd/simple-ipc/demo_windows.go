package main

import (
	"context"
	"os"

	"example.com/simpleipc"
)

// howToEnd is how the demo ends a server.
const howToEnd = "a request"

// askToEnd asks a server to end. Only a user at its console could send it a
// signal.
func askToEnd(ctx context.Context, path string, _ *os.Process) error {
	_, err := simpleipc.Call(ctx, path, []byte("quit"))
	return err
}
