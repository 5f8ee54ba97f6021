// Command simple-ipc is a Simple IPC server and its client: for trying the
// package out, for talking to another server by hand, and for scripts.
//
//	simple-ipc start-daemon --threads=8
//	simple-ipc send ping
//	simple-ipc stop-daemon
//
// The command "simple-ipc demo" shows all that it can do.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
)

// A command is one of the tool's commands.
type command struct {
	name     string
	args     string // its arguments, as its usage shows them
	maxArgs  int    // how many there may be; any number if it is negative
	summary  string // one line for the list of commands
	details  string // lines for its own help
	examples []string
	flags    func(*flag.FlagSet, *options) // nil if it has none
	run      func(*options, []string) error
}

var commands = []command{
	{
		name:    "SUPPORTS_SIMPLE_IPC",
		summary: "succeed: Simple IPC works on this platform",
		examples: []string{
			"simple-ipc SUPPORTS_SIMPLE_IPC && echo supported",
		},
		flags: nameFlag,
		run:   func(*options, []string) error { return nil },
	},
	{
		name:    "is-active",
		summary: "succeed if a server listens at the path",
		details: "An error message tells what else was found there.",
		examples: []string{
			"simple-ipc is-active --name=/run/user/1000/ipc",
			"simple-ipc is-active || simple-ipc start-daemon",
		},
		flags: nameFlag,
		run:   isActive,
	},
	{
		name:    "run-daemon",
		summary: "serve in the foreground",
		details: `The server ends when it is asked to quit, and on SIGTERM or SIGINT, once it has
answered what it has been asked. A second signal ends it at once. It answers
these requests:

  ping              with "pong"
  big               with 10000 lines in one write
  chunk             with the same lines, one by one
  slow              with 1000 lines, one every 10 ms
  sendbytes BYTES   with how many of which byte there are
  quit              with nothing, and shuts down

and any other with "unhandled command: " and the request.`,
		examples: []string{
			"simple-ipc run-daemon --verbose",
			"simple-ipc run-daemon --name=/tmp/my-ipc --threads=8",
		},
		flags: func(fs *flag.FlagSet, o *options) {
			serverFlags(fs, o)
			fs.BoolVar(&o.verbose, "verbose", false, "log to standard error")
			fs.BoolVar(&o.echo, "echo", false, "also answer \"echo BYTES\" with those bytes")
		},
		run: runDaemon,
	},
	{
		name:    "start-daemon",
		summary: "start a server in the background",
		details: `It is that of run-daemon, in a session of its own. The command returns when the
server listens, and shows the server's error message if that cannot be.`,
		examples: []string{
			"simple-ipc start-daemon",
			"simple-ipc start-daemon --name=/tmp/my-ipc --threads=8 --max-wait=5",
		},
		flags: func(fs *flag.FlagSet, o *options) {
			serverFlags(fs, o)
			maxWaitFlag(fs, o)
		},
		run: startDaemon,
	},
	{
		name:    "stop-daemon",
		summary: "ask the server to quit and wait until nothing listens",
		examples: []string{
			"simple-ipc stop-daemon",
			"simple-ipc stop-daemon --name=/tmp/my-ipc --max-wait=5",
		},
		flags: func(fs *flag.FlagSet, o *options) {
			nameFlag(fs, o)
			maxWaitFlag(fs, o)
		},
		run: stopDaemon,
	},
	{
		name:    "send",
		args:    "[TOKEN]",
		maxArgs: 1,
		summary: "send a request and print the response",
		details: "A newline is printed after the response unless that is empty.",
		examples: []string{
			"simple-ipc send ping",
			"simple-ipc send --name=/tmp/my-ipc --token=ping",
			"simple-ipc send -- --odd-request",
		},
		flags: func(fs *flag.FlagSet, o *options) {
			nameFlag(fs, o)
			fs.Func("token", "send `TOKEN` (default "+noCommand+")", func(s string) error {
				o.token = &s
				return nil
			})
		},
		run: send,
	},
	{
		name:    "sendbytes",
		summary: "send many bytes and print how many arrived",
		examples: []string{
			"simple-ipc sendbytes --bytecount=100000 --byte=z",
		},
		flags: func(fs *flag.FlagSet, o *options) {
			nameFlag(fs, o)
			byteCountFlag(fs, o, 1024, "send `N` bytes")
			o.letter = 'x'
			fs.Var((*letter)(&o.letter), "byte", "the `BYTE` to send")
		},
		run: sendBytes,
	},
	{
		name:    "multiple",
		summary: "let many callers send bytes at the same time",
		details: `Each caller has a letter, and sends its requests one after the other on new
connections, each with one byte more than the last. The last line tells how many
exchanges were good, how many callers came to their end, and how many exchanges
failed.`,
		examples: []string{
			"simple-ipc multiple --threads=50 --bytecount=100000 --batchsize=20",
		},
		flags: func(fs *flag.FlagSet, o *options) {
			nameFlag(fs, o)
			threadsFlag(fs, o, "let `N` callers send")
			byteCountFlag(fs, o, 1, "send `N` bytes at first")
			o.batchSize = 10
			fs.Var(&number{&o.batchSize, 0, maxNumber}, "batchsize", "let each caller send `N` requests")
		},
		run: multiple,
	},
	{
		name:    "demo",
		args:    "[FILE|DIR ...]",
		maxArgs: -1,
		summary: "show everything, with temporary servers and your files",
		details: `It starts servers in a temporary directory and runs every command against them.
Then the tool's own file, and the files and folders that are named, travel
to a server and back, and are compared. At the end nothing of it is left.`,
		examples: []string{
			"simple-ipc demo",
			"simple-ipc demo ~/Pictures README.md",
		},
		run: runDemo,
	},
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		var u *usageError
		if errors.As(err, &u) {
			fmt.Fprintf(os.Stderr, "hint: %s\n", u.hint)
		}
		os.Exit(1)
	}
}

// run executes a command line.
func run(args []string) error {
	if len(args) == 0 {
		return &usageError{"no command is given", rootHint}
	}
	switch args[0] {
	case "--help", "-help", "-h", "help":
		return printHelp(os.Stdout)
	case "--version", "-version":
		return printVersion(os.Stdout)
	}
	for i := range commands {
		if c := &commands[i]; c.name == args[0] {
			return c.execute(args[1:])
		}
	}
	if args[0] != "" && args[0][0] == '-' {
		return &usageError{fmt.Sprintf("unknown flag '%s' before the command", args[0]), rootHint}
	}
	return &usageError{fmt.Sprintf("unknown command '%s'", args[0]), rootHint}
}

// execute runs the command with what stands behind its name.
func (c *command) execute(args []string) error {
	o := new(options)
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	if c.flags != nil {
		c.flags(fs, o)
	}
	args, err := parse(fs, args)
	if err == nil && c.maxArgs >= 0 && len(args) > c.maxArgs {
		err = fmt.Errorf("unexpected argument '%s'", args[c.maxArgs])
	}
	switch {
	case err == flag.ErrHelp:
		return c.printHelp(os.Stdout, fs)
	case err != nil:
		return &usageError{err.Error(), fmt.Sprintf("see 'simple-ipc %s --help'", c.name)}
	}
	return c.run(o, args)
}

// A usageError is a mistake in the command line.
type usageError struct{ text, hint string }

func (e *usageError) Error() string { return e.text }

const rootHint = "'simple-ipc --help' lists the commands"
