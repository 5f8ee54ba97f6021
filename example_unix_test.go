//go:build unix

package simpleipc_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"example.com/simpleipc"
)

// A server for a group: its members may connect, and are let in.
func ExampleListenConfig() {
	path := filepath.Join(os.TempDir(), fmt.Sprintf("group-%d.ipc", os.Getpid()))
	l, err := simpleipc.ListenConfig{Mode: 0o660}.Listen(context.Background(), path)
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	info, err := os.Stat(l.Path())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(info.Mode())
	srv := &simpleipc.Server{
		Authorize: simpleipc.AnyUser, // whoever the socket's permissions let in
	}
	_ = srv // Serve(ctx, l)
	// Output: Srw-rw----
}
