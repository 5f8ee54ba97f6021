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
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"example.com/simpleipc/pktline"
	"example.com/simpleipc/trace2"
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
			"simple-ipc is-active --json | jq .server.pid",
		},
		flags: func(fs *flag.FlagSet, o *options) {
			nameFlag(fs, o)
			jsonFlag(fs, o, "print what is at the path, and whose, as JSON")
		},
		run: isActive,
	},
	{
		name:    "run-daemon",
		summary: "serve in the foreground",
		details: `On Windows no file is made: the path gives a pipe its name. It may also be the
name of a pipe, such as \\.\pipe\my-ipc.

The server ends when it is asked to quit, and on Ctrl-C or SIGTERM, once it has
answered what it has been asked. A second one ends it at once. It answers these
requests:

  ping              with "pong"
  big               with 10000 lines in one write
  chunk             with the same lines, one by one
  slow              with 1000 lines, one every 10 ms
  sendbytes BYTES   with how many of which byte there are
  quit              with nothing, and shuts down

and any other with "unhandled command: " and the request.

With --exec a command answers, whatever is asked but to quit. All that stands
behind --exec is the command. It is run for each request, not more often at the
same time than there are threads, and gets the request on its standard input.
The response is what it writes to its standard output, sent as it is written. If
its exit status is not 0, the client gets an error. The command and all that it
has started are killed when the client hangs up. Its environment tells the path
of the socket, in SIMPLE_IPC_NAME, and the client's process, user and group, in
SIMPLE_IPC_PEER_PID, SIMPLE_IPC_PEER_UID and SIMPLE_IPC_PEER_GID; on Windows the
user is in SIMPLE_IPC_PEER_SID.

The log tells when and why the server starts and stops, which clients it refuses
or drops and why, and with --verbose every one of them; never what is in a
message.`,
		examples: []string{
			"simple-ipc run-daemon -v",
			"simple-ipc run-daemon --name=/tmp/my-ipc --threads=8",
			"simple-ipc run-daemon --exec tr a-z A-Z",
			"simple-ipc run-daemon --exec sh -c 'echo \"hello, $SIMPLE_IPC_PEER_PID\"; cat'",
		},
		flags: serverFlags,
		run:   runDaemon,
	},
	{
		name:    "start-daemon",
		summary: "start a server in the background",
		details: `It is that of run-daemon, in a session of its own. The command returns when the
server listens, and shows the server's error message if that cannot be. What the
server and its commands write to standard error later is seen with --log only.`,
		examples: []string{
			"simple-ipc start-daemon",
			"simple-ipc start-daemon --name=/tmp/my-ipc --threads=8 --max-wait=5",
			"simple-ipc start-daemon --log=ipc.log --idle-exit=600 --exec wc -c",
			"simple-ipc start-daemon --log=ipc.log --log-format=json --log-slow=0.5",
		},
		flags: func(fs *flag.FlagSet, o *options) {
			serverFlags(fs, o)
			fs.Var((*filename)(&o.log), "log", "append what the server writes to standard error to `FILE`")
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
			quitFlag(fs, o)
		},
		run: stopDaemon,
	},
	{
		name:    "send",
		args:    "[TOKEN]",
		maxArgs: 1,
		summary: "send a request and print the response",
		details: `A newline is printed after the response unless that is empty. With --output
there is none, and the file is replaced when the whole response has come: it
stays as it was if that fails.

With --repeat the connection is kept from one exchange to the next, unless the
server closes it, as Git's do.`,
		examples: []string{
			"simple-ipc send ping",
			"simple-ipc send --name=/tmp/my-ipc --token=ping",
			"simple-ipc send -- --odd-request",
			"simple-ipc send --file=photo.jpg --output=small.jpg",
			"git diff | simple-ipc send --file=- --name=/tmp/my-ipc",
			"simple-ipc send ping --repeat=60 --interval=1",
		},
		flags: func(fs *flag.FlagSet, o *options) {
			nameFlag(fs, o)
			tokenFlag(fs, o, noCommand)
			fs.Var((*filename)(&o.file), "file", "send what is in `FILE`; - is standard input")
			fs.Var((*filename)(&o.output), "output", "write the response to `FILE`; - is standard output")
			fs.Func("repeat", "send it `N` times, one after the other", (&number{&o.repeat, 1, maxNumber}).Set)
			fs.Func("interval", "pause for this many `SECONDS` in between", (*seconds)(&o.interval).Set)
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
		name:    "bench",
		summary: "measure how fast a server answers",
		details: `Each caller sends its next request when it has the response to the last, on a
connection that it keeps or, with --new, on a new one each time. If the server
closes connections after an exchange, as Git's do, that is said, and they are
new, too. Before it counts, the callers warm up for a tenth of a second. Ctrl-C
ends it early. Latencies have three digits; megabytes are without the framing,
and of both directions. It fails if any exchange does.`,
		examples: []string{
			"simple-ipc bench",
			"simple-ipc bench --threads=1 --count=10000 --new",
			"simple-ipc bench --bytecount=1000000 --duration=10",
			"simple-ipc bench --token=status --name=.git/my-ipc --json | jq .latency_us.p99",
		},
		flags: func(fs *flag.FlagSet, o *options) {
			nameFlag(fs, o)
			threadsFlag(fs, o, "let `N` callers ask")
			fs.Func("duration", "end after this many `SECONDS` (default 5 without --count)", (*seconds)(&o.duration).Set)
			fs.Func("count", "end after `N` requests", (&number{&o.count, 1, maxNumber}).Set)
			tokenFlag(fs, o, "ping")
			o.byteCount = -1
			fs.Func("bytecount", "send \"sendbytes\" with `N` bytes instead", (&number{&o.byteCount, 0, maxNumber}).Set)
			fs.BoolVar(&o.fresh, "new", false, "make a new connection for each request")
			jsonFlag(fs, o, "print the result as JSON")
		},
		run: runBench,
	},
	{
		name:    "proxy",
		summary: "show what clients and a server send each other",
		details: `It listens at a path of its own and passes on what it gets, bytes as they come.
It prints each packet when all of it has passed, with the number of the
connection and the seconds since that began:

  #1    0.000202 -> 0008 data     4 "ping"   by the client: header, size, data
  #1    0.000307 <- 0008 data     4 "pong"   by the server
  #1    0.000309 <- 0000 flush               the end of the response

Behind a response are its size, that of the request, and the time between their
ends. It is also told who hangs up first, and in what of an exchange. Clients of
other users are hung up on, as by a server, and all clients while there is no
server. Ctrl-C and SIGTERM end it; then the socket is removed.`,
		examples: []string{
			"simple-ipc proxy --listen=/tmp/watched-ipc --name=/tmp/my-ipc",
			"simple-ipc proxy --listen=/tmp/watched-ipc --json | jq .latency_us",
		},
		flags: func(fs *flag.FlagSet, o *options) {
			nameFlag(fs, o)
			fs.Func("listen", "listen at `PATH`, for clients", (*filename)(&o.listen).Set)
			jsonFlag(fs, o, "print JSON objects, one a line")
			o.keep = -1
			fs.Func("bytes", "show the first `N` bytes of a packet, not what fits", (&number{&o.keep, 0, pktline.MaxData}).Set)
		},
		run: runProxy,
	},
	{
		name:    "completion",
		args:    "bash|zsh|fish",
		maxArgs: 1,
		summary: "print what lets a shell complete command lines",
		details: `For bash, put this line into ~/.bashrc:

  source <(simple-ipc completion bash)

For zsh, put this one into ~/.zshrc, behind the call of compinit:

  source <(simple-ipc completion zsh)

A file in a place that the shell knows starts it faster, and fish needs one: see
the examples.`,
		examples: []string{
			"simple-ipc completion bash >/etc/bash_completion.d/simple-ipc",
			"simple-ipc completion zsh >/usr/local/share/zsh/site-functions/_simple-ipc",
			"simple-ipc completion fish >~/.config/fish/completions/simple-ipc.fish",
		},
		run: runCompletion,
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
	trace2.Start(os.Args)
	code := 0
	if err := run(os.Args[1:]); err != nil {
		code = 1
		trace2.Error(context.Background(), "%v", err)
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		var u *usageError
		if errors.As(err, &u) {
			fmt.Fprintf(os.Stderr, "hint: %s\n", u.hint)
		}
	}
	os.Exit(trace2.Exit(code))
}

// run executes a command line.
func run(args []string) error {
	if len(args) == 0 {
		return &usageError{"no command is given", rootHint}
	}
	if args[0] == "help" && len(args) > 1 {
		args = []string{args[1], "--help"}
	}
	switch args[0] {
	case "--help", "-help", "-h", "help":
		trace2.CmdName(context.Background(), "_query_")
		return printHelp(os.Stdout)
	case "--version", "-version":
		trace2.CmdName(context.Background(), "_query_")
		return printVersion(os.Stdout, len(args) > 1 && args[1] == "--json")
	}
	for i := range commands {
		if c := &commands[i]; c.name == args[0] {
			trace2.CmdName(context.Background(), c.name)
			do, err := c.prepare(args[1:])
			if err != nil {
				return err
			}
			return do()
		}
	}
	if args[0] != "" && args[0][0] == '-' {
		return &usageError{fmt.Sprintf("unknown flag '%s' before the command", args[0]), rootHint}
	}
	return &usageError{fmt.Sprintf("unknown command '%s'", args[0]), rootHint}
}

// prepare returns what the command is to do by what stands behind its name. It
// does not do that itself, so that less is on the stack: to have that grow takes
// longer than an exchange.
func (c *command) prepare(args []string) (do func() error, err error) {
	o := &options{commands: commands}
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	if c.flags != nil {
		c.flags(fs, o)
	}
	args, err = parse(fs, args)
	if err == nil && c.maxArgs >= 0 && len(args) > c.maxArgs {
		err = fmt.Errorf("unexpected argument '%s'", args[c.maxArgs])
	}
	switch {
	case err == flag.ErrHelp:
		return func() error { return c.printHelp(os.Stdout, fs) }, nil
	case err != nil:
		return nil, &usageError{err.Error(), fmt.Sprintf("see 'simple-ipc %s --help'", c.name)}
	}
	return func() error { return c.run(o, args) }, nil
}

// A usageError is a mistake in the command line.
type usageError struct{ text, hint string }

func (e *usageError) Error() string { return e.text }

const rootHint = "'simple-ipc --help' lists the commands"
