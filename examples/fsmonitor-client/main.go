// Command fsmonitor-client asks git fsmonitor--daemon, Git's own daemon that
// watches a worktree, what has changed there.
//
//	$ git fsmonitor--daemon start
//	$ fsmonitor-client
//	TOKEN-1
//	/
//	$ touch README.md
//	$ fsmonitor-client TOKEN-1
//	TOKEN-2
//	README.md
//
// The first line is a token, which stands for this moment; what it looks like
// is up to the daemon. Given to the next question, it makes the answer all that
// has changed since. The other lines are the paths of files, and of directories
// with a slash at their end, relative to the worktree. A slash alone means that
// the daemon cannot tell: it was not given a token, or one that it does not know
// any more. Then everything has to be looked at.
//
// Names that would be hard to read are quoted as Go strings. With -z, the lines
// end in NULs and nothing is quoted; with --json, the answer is
//
//	{"token":"TOKEN-2","everything":false,"paths":["README.md"]}
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

const usage = `Usage: fsmonitor-client [FLAGS] [TOKEN]

Ask git fsmonitor--daemon what has changed since it gave out TOKEN.

Flags:
`

func main() {
	err := run(os.Args[1:], os.Stdout)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "fsmonitor-client: %v\n", err)
		os.Exit(1)
	}
}

// run executes a command line.
func run(args []string, out io.Writer) error {
	fs := flag.NewFlagSet("fsmonitor-client", flag.ContinueOnError)
	fs.Usage = func() {
		_, _ = fmt.Fprint(fs.Output(), usage)
		fs.PrintDefaults()
	}
	dir := fs.String("C", ".", "ask about the worktree that `DIR` is in")
	socket := fs.String("socket", "", "ask the daemon at `PATH`, which is elsewhere than in the Git directory")
	timeout := fs.Duration("timeout", 30*time.Second, "wait no longer than this `TIME`")
	nul := fs.Bool("z", false, "end lines with NULs, and quote nothing")
	asJSON := fs.Bool("json", false, "print JSON")
	if err := fs.Parse(args); err != nil {
		return err
	}
	token := fs.Arg(0)
	switch {
	case fs.NArg() > 1:
		return fmt.Errorf("unexpected argument '%s': there is only one token", fs.Arg(1))
	case *nul && *asJSON:
		return errors.New("-z and --json exclude each other")
	case token == "quit" || token == "flush":
		return fmt.Errorf("'%s' is no token, but would make the daemon do so", token)
	}
	write := changes.writeText
	switch {
	case *nul:
		write = changes.writeNUL
	case *asJSON:
		write = changes.writeJSON
	}

	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	d := daemon{dir: *dir, path: *socket}
	if d.path == "" {
		path, err := findSocket(ctx, d.dir)
		if err != nil {
			return err
		}
		d.path = path
	}
	c, err := d.changesSince(ctx, token)
	if err != nil {
		return err
	}
	return write(c, out)
}
