// Command build-cache is a build cache for the go command that several builds
// share, with a daemon that is started by whoever needs it.
//
//	go install ./examples/build-cache
//	GOCACHEPROG=build-cache go build ./...
//
// The go command runs it as its GOCACHEPROG, and asks it by JSON on standard
// input for what each action of the build has made before; see "go doc
// cmd/go/internal/cacheprog". It passes that on to the daemon, on connections
// that are kept and used side by side. Objects are streamed in both directions;
// nobody has a whole one in memory.
//
// The go command wants each object in a file, which must stay while it runs,
// whatever the daemon evicts meanwhile. So each build has copies of its own, in
// a temporary directory. With --keep=DIR they are in DIR and stay there, for
// programs that want them later, such as those that run "go list -export".
//
// A build never fails for want of the cache: if the daemon cannot be asked,
// there is a warning, and what is missing is built.
//
// The daemon owns the cache's directory, for its socket is there, which only
// one process can have. Objects are stored under their SHA-256, whole or not at
// all. If together they are larger than --max-size, those give way that were
// not used for the longest time. The daemon ends when it was not asked anything
// for a while. "build-cache serve" runs it in the foreground.
//
// People can use the cache for other things, too:
//
//	build-cache put KEY <FILE
//	build-cache get KEY >FILE
//	build-cache stat
//	build-cache stop
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const usage = `Usage: build-cache [FLAGS]          serve the go command, as its GOCACHEPROG
       build-cache serve [FLAGS]    serve all builds, in the foreground
       build-cache put [FLAGS] KEY  store standard input
       build-cache get [FLAGS] KEY  write what is stored to standard output
       build-cache stat [FLAGS]     show what the daemon has stored and served
       build-cache stop [FLAGS]     end the daemon

All but serve, stat and stop start the daemon if it does not run. It keeps the
--max-size and the --idle that it was started with.

Flags:
`

func main() {
	err := run(os.Args[1:])
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "build-cache: %v\n", err)
		os.Exit(1)
	}
}

// options are what the flags have set.
type options struct {
	dir     string
	maxSize byteSize
	idle    time.Duration
	keep    string
}

// run executes a command line.
func run(args []string) error {
	command := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		command, args = args[0], args[1:]
	}
	o := options{maxSize: 10 << 30, idle: 10 * time.Minute}
	fs := flag.NewFlagSet("build-cache", flag.ContinueOnError)
	fs.Usage = func() {
		_, _ = fmt.Fprint(fs.Output(), usage)
		fs.PrintDefaults()
	}
	fs.StringVar(&o.dir, "dir", "", "the cache's `DIR` (default build-cache in the user's directory for caches)")
	fs.Var(&o.maxSize, "max-size", "let the daemon store at most `SIZE` bytes, such as 500M or 20G")
	fs.DurationVar(&o.idle, "idle", o.idle, "let the daemon end when it was not asked for this `TIME`, or never if it is 0")
	fs.StringVar(&o.keep, "keep", "", "have the go command's objects in `DIR` and leave them there")
	if err := fs.Parse(args); err != nil {
		return err
	}
	return o.execute(command, fs.Args())
}

func (o *options) execute(command string, args []string) error {
	wanted := 0
	if command == "get" || command == "put" {
		wanted = 1
	}
	switch {
	case len(args) < wanted:
		return fmt.Errorf("%s needs a KEY; see build-cache --help", command)
	case len(args) > wanted:
		return fmt.Errorf("unexpected argument '%s'; see build-cache --help", args[wanted])
	}
	if err := o.findDir(); err != nil {
		return err
	}
	switch command {
	case "":
		return o.serveGo()
	case "serve":
		return o.serve()
	case "put":
		return o.put(args[0], os.Stdin)
	case "get":
		return o.get(args[0], os.Stdout)
	case "stat":
		return o.stat(os.Stdout)
	case "stop":
		return o.daemon().Stop(context.Background())
	}
	return fmt.Errorf("unknown command '%s'; see build-cache --help", command)
}

// findDir makes sure that the cache's directory is known and exists.
func (o *options) findDir() (err error) {
	if o.dir == "" {
		caches, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("say by --dir=DIR where the cache is to be: %w", err)
		}
		o.dir = filepath.Join(caches, "build-cache")
	}
	o.dir, err = makeDir(o.dir)
	return err
}

// makeDir makes a directory, for this user only, unless it exists, and returns
// its absolute path.
func makeDir(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return abs, os.MkdirAll(abs, 0o700)
}

// A byteSize is the value of a flag that is a number of bytes.
type byteSize int64

var units = map[string]byteSize{"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}

func (v *byteSize) String() string { return strconv.FormatInt(int64(*v), 10) }

func (v *byteSize) Set(s string) error {
	digits := strings.TrimRight(s, "KMGT")
	unit := units[s[len(digits):]]
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 1 || unit == 0 || n > math.MaxInt64/int64(unit) {
		return errors.New("not a number of bytes such as 500000, 500M or 20G")
	}
	*v = byteSize(n) * unit
	return nil
}
