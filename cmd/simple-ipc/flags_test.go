package main

import (
	"errors"
	"flag"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		args string // separated by blanks
		want []string
		opts options
	}{
		{"", nil, options{}},
		{"a b", []string{"a", "b"}, options{}},
		{"--name=x a", []string{"a"}, options{name: "x"}},
		{"a --name x", []string{"a"}, options{name: "x"}},
		{"a -name x b", []string{"a", "b"}, options{name: "x"}},
		{"--name= a", []string{"a"}, options{name: ""}},
		{"--name=a=b", nil, options{name: "a=b"}},
		{"--name -- a", []string{"a"}, options{name: "--"}},
		{"--name --name -- --name", []string{"--name"}, options{name: "--name"}},
		{"-- --name=x -- -", []string{"--name=x", "--", "-"}, options{}},
		{"- a", []string{"-", "a"}, options{}},
		{"--name=x --name=y", nil, options{name: "y"}},
		{"--verbose a", []string{"a"}, options{verbose: true}},
		{"-v a", []string{"a"}, options{verbose: true}},
		{"--log-format json --log-slow=0.5", nil, options{logFormat: "json", logSlow: 500 * time.Millisecond}},
		{"--verbose=false a", []string{"a"}, options{}},
		{"--threads=1 a --max-wait .25", []string{"a"}, options{threads: 1, maxWait: 250 * time.Millisecond}},
		{"--max-wait=0 --threads 65536", nil, options{threads: maxThreads}},
		{"--byte=\xff --byte = --bytecount 0", nil, options{letter: '='}},
		{"--batchsize=1073741824", nil, options{batchSize: maxNumber}},
	} {
		fs, o := allFlags()
		got, err := parse(fs, strings.Fields(tt.args))
		if err != nil || !slices.Equal(got, tt.want) || !reflect.DeepEqual(*o, tt.opts) {
			t.Errorf("%q: %q, %+v, %v; want %q, %+v", tt.args, got, *o, err, tt.want, tt.opts)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"--nam=x", "unknown flag '--nam=x'"},
		{"a -x", "unknown flag '-x'"},
		{"---name=x", "unknown flag '---name=x'"},
		{"--=x", "unknown flag '--=x'"},
		{"a --name", "--name=PATH needs a value"},
		{"--threads=0", "invalid value '0' for --threads: not a whole number from 1 to 65536"},
		{"--threads=", "invalid value '' for --threads: not a whole number from 1 to 65536"},
		{"--threads -1", "invalid value '-1' for --threads: not a whole number from 1 to 65536"},
		{"--threads 65537", "invalid value '65537' for --threads: not a whole number from 1 to 65536"},
		{"--bytecount=1e3", "invalid value '1e3' for --bytecount: not a whole number from 0 to 1073741824"},
		{"--bytecount=99999999999999999999", "invalid value '99999999999999999999' for --bytecount: not a whole number from 0 to 1073741824"},
		{"--log-format=xml", "invalid value 'xml' for --log-format: neither text nor json"},
		{"--byte=xy", "invalid value 'xy' for --byte: not a single byte"},
		{"--byte=é", "invalid value 'é' for --byte: not a single byte"},
		{"--byte=", "invalid value '' for --byte: not a single byte"},
		{"--max-wait=-1", "invalid value '-1' for --max-wait: not a number of seconds"},
		{"--max-wait=nan", "invalid value 'nan' for --max-wait: not a number of seconds"},
		{"--max-wait=1e300", "invalid value '1e300' for --max-wait: not a number of seconds"},
		{"--max-wait=5m", "invalid value '5m' for --max-wait: not a number of seconds"},
		{"--verbose=perhaps", "invalid value 'perhaps' for --verbose: parse error"},
	} {
		fs, _ := allFlags()
		if _, err := parse(fs, strings.Fields(tt.args)); err == nil || err.Error() != tt.want {
			t.Errorf("%q: %v; want %s", tt.args, err, tt.want)
		}
	}
	for _, args := range []string{"--help", "-h", "a -help", "--name x --help --nonsense"} {
		fs, _ := allFlags()
		if _, err := parse(fs, strings.Fields(args)); !errors.Is(err, flag.ErrHelp) {
			t.Errorf("%q: %v; want %v", args, err, flag.ErrHelp)
		}
	}
}

// allFlags returns flags of all kinds, and what they set.
func allFlags() (*flag.FlagSet, *options) {
	fs, o := flag.NewFlagSet("test", flag.ContinueOnError), new(options)
	serverFlags(fs, o)
	maxWaitFlag(fs, o)
	byteCountFlag(fs, o, 0, "")
	fs.Var((*letter)(&o.letter), "byte", "")
	fs.Var(&number{&o.batchSize, 0, maxNumber}, "batchsize", "")
	*o = options{}
	return fs, o
}

func TestDefaults(t *testing.T) {
	want := map[string]options{
		"start-daemon": {name: "ipc-test", threads: 5, quit: "quit", maxWait: time.Minute},
		"run-daemon":   {name: "ipc-test", threads: 5, quit: "quit"},
		"stop-daemon":  {name: "ipc-test", maxWait: time.Minute, quit: "quit"},
		"send":         {name: "ipc-test"},
		"sendbytes":    {name: "ipc-test", byteCount: 1024, letter: 'x'},
		"multiple":     {name: "ipc-test", threads: 5, byteCount: 1, batchSize: 10},
		"bench":        {name: "ipc-test", threads: 5, byteCount: -1},
		"proxy":        {name: "ipc-test", keep: -1},
		"completion":   {},
		"demo":         {},
	}
	for _, c := range commands {
		w, ok := want[c.name]
		if !ok {
			w = options{name: "ipc-test"}
		}
		var o options
		if c.flags != nil {
			c.flags(flag.NewFlagSet(c.name, flag.ContinueOnError), &o)
		}
		if !reflect.DeepEqual(o, w) {
			t.Errorf("%s: %+v, want %+v", c.name, o, w)
		}
	}
}
