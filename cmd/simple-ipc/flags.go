package main

import (
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// options are what a command's flags have set.
type options struct {
	commands []command // all that there are

	name      string
	threads   int
	maxWait   time.Duration
	token     *string // nil unless it is given
	byteCount int
	letter    byte
	batchSize int
	verbose   bool
	logFormat string
	logSlow   time.Duration
	echo      bool
	exec      []string // the command and its arguments, or nil
	quit      string
	idleExit  time.Duration
	log       string
	file      string
	output    string
	repeat    int
	interval  time.Duration
	duration  time.Duration
	count     int
	fresh     bool
	listen    string
	keep      int
	json      bool
}

// The largest values of flags that are numbers.
const (
	maxThreads = 1 << 16
	maxNumber  = 1 << 30
)

func nameFlag(fs *flag.FlagSet, o *options) {
	fs.StringVar(&o.name, "name", "ipc-test", "`PATH` of the server's socket")
}

func threadsFlag(fs *flag.FlagSet, o *options, usage string) {
	o.threads = 5
	fs.Var(&number{&o.threads, 1, maxThreads}, "threads", usage)
}

func serverFlags(fs *flag.FlagSet, o *options) {
	nameFlag(fs, o)
	threadsFlag(fs, o, "answer `N` requests at the same time")
	fs.BoolVar(&o.echo, "echo", false, "also answer \"echo BYTES\" with those bytes")
	fs.Var((*commandLine)(&o.exec), "exec", "answer each request by running `CMD ARG ...`")
	fs.Func("idle-exit", "shut down after this many `SECONDS` without a request", (*seconds)(&o.idleExit).Set)
	fs.BoolVar(&o.verbose, "verbose", false, "log to standard error, with all details")
	fs.BoolVar(&o.verbose, "v", false, "the same as --verbose")
	fs.Func("log-format", "log to standard error in `FORMAT`, text or json", (*logFormat)(&o.logFormat).Set)
	fs.Func("log-slow", "log requests that take longer than `SECONDS`", (*seconds)(&o.logSlow).Set)
	quitFlag(fs, o)
}

// quitFlag is for those who are asked to quit, and for who asks.
func quitFlag(fs *flag.FlagSet, o *options) {
	fs.StringVar(&o.quit, "quit", "quit", "shut down at request `TOKEN`, if not empty")
}

// runDaemonArgs returns the command line of run-daemon that has the options of
// serverFlags.
func (o *options) runDaemonArgs() []string {
	args := []string{"run-daemon", "--name=" + o.name, "--threads=" + strconv.Itoa(o.threads), "--quit=" + o.quit,
		"--idle-exit=" + (*seconds)(&o.idleExit).String(), "--echo=" + strconv.FormatBool(o.echo), "--verbose=" + strconv.FormatBool(o.verbose)}
	if o.logFormat != "" {
		args = append(args, "--log-format="+o.logFormat)
	}
	if o.logSlow > 0 {
		args = append(args, "--log-slow="+(*seconds)(&o.logSlow).String())
	}
	if o.exec != nil {
		args = append(append(args, "--exec"), o.exec...)
	}
	return args
}

func maxWaitFlag(fs *flag.FlagSet, o *options) {
	o.maxWait = 60 * time.Second
	fs.Var((*seconds)(&o.maxWait), "max-wait", "wait no longer than this many `SECONDS`")
}

func tokenFlag(fs *flag.FlagSet, o *options, def string) {
	fs.Func("token", "send `TOKEN` (default "+def+")", func(s string) error {
		o.token = &s
		return nil
	})
}

func jsonFlag(fs *flag.FlagSet, o *options, usage string) {
	fs.BoolVar(&o.json, "json", false, usage)
}

func byteCountFlag(fs *flag.FlagSet, o *options, def int, usage string) {
	o.byteCount = def
	fs.Var(&number{&o.byteCount, 0, maxNumber}, "bytecount", usage)
}

// parse sets the flags of fs, which may stand before, between and after the
// arguments, and returns the arguments. Behind "--" there are no flags. The
// error is flag.ErrHelp if help is asked for.
func parse(fs *flag.FlagSet, args []string) (positional []string, err error) {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			return append(positional, args...), nil
		}
		if len(arg) < 2 || arg[0] != '-' {
			positional = append(positional, arg)
			continue
		}
		name, value, hasValue := strings.Cut(strings.TrimPrefix(arg[1:], "-"), "=")
		f := fs.Lookup(name)
		switch {
		case f != nil:
		case name == "help" || name == "h":
			return nil, flag.ErrHelp
		default:
			return nil, fmt.Errorf("unknown flag '%s'", arg)
		}
		if line, ok := f.Value.(*commandLine); ok {
			if hasValue {
				args = append([]string{value}, args...)
			}
			if len(args) == 0 {
				return nil, fmt.Errorf("%s needs a value", flagUsage(f))
			}
			*line = args
			return positional, nil
		}
		switch {
		case hasValue:
		case isSwitch(f):
			value = "true"
		case len(args) == 0:
			return nil, fmt.Errorf("%s needs a value", flagUsage(f))
		default:
			value, args = args[0], args[1:]
		}
		if err := f.Value.Set(value); err != nil {
			return nil, fmt.Errorf("invalid value '%s' for --%s: %w", value, name, err)
		}
	}
	return positional, nil
}

// isSwitch reports whether f is a flag that can stand without a value.
func isSwitch(f *flag.Flag) bool {
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// flagUsage returns "--name=VALUE".
func flagUsage(f *flag.Flag) string {
	if isSwitch(f) {
		return dashes(f.Name) + f.Name
	}
	value, _ := flag.UnquoteUsage(f)
	if _, ok := f.Value.(*commandLine); ok {
		return "--" + f.Name + " " + value
	}
	return "--" + f.Name + "=" + value
}

// dashes are what stands before a flag's name. Any number will do.
func dashes(name string) string {
	if len(name) == 1 {
		return "-"
	}
	return "--"
}

// A commandLine is the value of a flag that takes all that stands behind it.
type commandLine []string

func (v *commandLine) String() string { return strings.Join(*v, " ") }

func (v *commandLine) Set(s string) error {
	*v = append(*v, s)
	return nil
}

// A number is the value of a flag that is a whole number.
type number struct {
	n        *int
	min, max int
}

func (v *number) String() string {
	if v.n == nil {
		return ""
	}
	return strconv.Itoa(*v.n)
}

func (v *number) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < v.min || n > v.max {
		return fmt.Errorf("not a whole number from %d to %d", v.min, v.max)
	}
	*v.n = n
	return nil
}

// seconds is the value of a flag that is a time.
type seconds time.Duration

func (v *seconds) String() string {
	return strconv.FormatFloat(time.Duration(*v).Seconds(), 'f', -1, 64)
}

func (v *seconds) Set(s string) error {
	const most = 1e9 // years, and far from an overflow
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || !(n >= 0 && n <= most) { // NaN is neither
		return errors.New("not a number of seconds")
	}
	*v = seconds(n * float64(time.Second))
	return nil
}

// A filename is the value of a flag that is a path of any file.
type filename string

func (v *filename) String() string { return string(*v) }

func (v *filename) Set(s string) error {
	if s == "" {
		return errors.New("the path is empty")
	}
	*v = filename(s)
	return nil
}

// A logFormat is the value of a flag that is one.
type logFormat string

func (v *logFormat) Set(s string) error {
	if s != "text" && s != "json" {
		return errors.New("neither text nor json")
	}
	*v = logFormat(s)
	return nil
}

// A letter is the value of a flag that is a single byte.
type letter byte

func (v *letter) String() string { return string([]byte{byte(*v)}) }

func (v *letter) Set(s string) error {
	if len(s) != 1 {
		return errors.New("not a single byte")
	}
	*v = letter(s[0])
	return nil
}
