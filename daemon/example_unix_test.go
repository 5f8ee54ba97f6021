//go:build unix

package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"example.com/simpleipc/daemon"
)

// The error of a server that does not start shows what it has said.
func ExampleStartError() {
	d := daemon.Daemon{
		Path:    filepath.Join(os.TempDir(), "no-such-server.ipc"),
		Program: "sh",
		Args:    []string{"-c", "echo 'cannot open the database' >&2; exit 3"},
	}
	err := d.Start(context.Background())
	var e *daemon.StartError
	if errors.As(err, &e) {
		fmt.Printf("%v: %s\n", e.Err, e.Stderr)
	}
	// Output: exit status 3: cannot open the database
}
