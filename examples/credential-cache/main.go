package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

const usage = `usage: credential-cache [--timeout=SECONDS] [--socket=PATH] get|store|erase
       credential-cache [--socket=PATH] exit

Git runs it for you, if you tell it to:

  git config credential.helper '/path/to/credential-cache --timeout=900'

  --timeout=SECONDS  forget a credential after so many seconds (default 900)
  --socket=PATH      absolute path of the daemon's socket
`

const (
	defaultTimeout = 900                // seconds
	maxTimeout     = 365 * 24 * 60 * 60 // so that nothing overflows
)

// patience is how long a client waits for the daemon, at most. Git waits for
// the client.
const patience = 10 * time.Second

func main() {
	harden()
	err := run(os.Args[1:], os.Stdin, os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		_, err = os.Stdout.WriteString(usage)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "credential-cache: %v\n", err)
		os.Exit(1)
	}
}

// run executes a command line.
func run(args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("credential-cache", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // main prints the errors
	timeout := flags.Int("timeout", defaultTimeout, "")
	socket := flags.String("socket", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case flags.NArg() != 1:
		return errors.New("one action is needed, see --help")
	case *timeout < 1 || *timeout > maxTimeout:
		return fmt.Errorf("--timeout=%d is not a number of seconds from 1 to %d", *timeout, maxTimeout)
	case *socket == "":
		path, err := defaultSocket()
		if err != nil {
			return err
		}
		*socket = path
	case !filepath.IsAbs(*socket):
		return fmt.Errorf("--socket=%s is not an absolute path: Git runs helpers in many directories", *socket)
	}
	action := flags.Arg(0)
	if action == "serve" {
		return serve(context.Background(), *socket)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := client{socket: *socket, timeout: time.Duration(*timeout) * time.Second}
	switch action {
	case "get":
		return c.get(ctx, in, out)
	case "store":
		return c.store(ctx, in)
	case "erase":
		return c.erase(ctx, in)
	case "exit":
		return c.exit(ctx)
	case "capability":
		_, err := io.WriteString(out, "version 0\ncapability authtype\n")
		return err
	}
	return nil // one that Git may have in the future
}

// defaultSocket is where the daemon listens if nothing else is said.
func defaultSocket() (string, error) {
	for _, name := range []string{"XDG_RUNTIME_DIR", "XDG_CACHE_HOME"} {
		if dir := os.Getenv(name); filepath.IsAbs(dir) { // others are to be ignored
			return filepath.Join(dir, "credential-cache", "socket"), nil
		}
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no place for the socket, use --socket=PATH: %w", err)
	}
	return filepath.Join(home, ".cache", "credential-cache", "socket"), nil
}
