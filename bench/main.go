// Bench measures Simple IPC beside its peers: other ways for one process to
// ask another on the same machine. README.md tells how to use it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	var err error
	if len(os.Args) == 3 && os.Args[1] == roleArgument {
		err = runRole(os.Args[2])
	} else {
		err = run(os.Args[1:])
	}
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	default:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are what is said on the command line.
type options struct {
	rounds       int
	time         time.Duration
	cases, peers *regexp.Regexp
	quick        bool
	growth       bool
	list         bool
	out, profile string
}

func parse(args []string) (*options, error) {
	o := &options{peers: regexp.MustCompile("")}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	pattern := func(to **regexp.Regexp) func(string) error {
		return func(s string) (err error) {
			*to, err = regexp.Compile(s)
			return err
		}
	}
	f.SetOutput(io.Discard) // main tells errors
	f.IntVar(&o.rounds, "rounds", 0, "measure everything `N` times (5, with -quick 2)")
	f.DurationVar(&o.time, "time", 0, "measure for about this `long` each time (150ms, with -quick 50ms)")
	f.Func("cases", "measure the cases that match a regular `expression`, and 'idle', 'start' and 'tool' if it matches those", pattern(&o.cases))
	f.Func("peers", "measure the peers that match a regular `expression`", pattern(&o.peers))
	f.BoolVar(&o.quick, "quick", false, "measure less, for a first impression in less than a minute")
	f.BoolVar(&o.growth, "growth", false, "measure how cost grows with connections, message and workers instead")
	f.BoolVar(&o.list, "list", false, "list the cases and the peers, and measure nothing")
	f.StringVar(&o.out, "out", "", "write the results to this `directory` (results, with -quick results/quick, of what is chosen or profiled results/part)")
	f.StringVar(&o.profile, "profile", "", "write profiles of clients and servers to this `directory`; the figures are worse then")
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Println("Usage: go run -C bench . [flags]")
		f.SetOutput(os.Stdout)
		f.PrintDefaults()
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w; see -help", err)
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("%q is not a flag", f.Arg(0))
	}
	rounds, duration, out := 5, 150*time.Millisecond, "results"
	switch {
	case o.quick:
		rounds, duration, out = 2, 50*time.Millisecond, filepath.Join("results", "quick")
	case o.cases != nil || o.peers.String() != "" || o.profile != "":
		out = filepath.Join("results", "part") // it is not to replace the report of all
	}
	if o.rounds <= 0 {
		o.rounds = rounds
	}
	if o.time <= 0 {
		o.time = duration
	}
	if o.out == "" {
		o.out = out
	}
	return o, nil
}

// A runner makes the measurements and collects the results.
type runner struct {
	*options
	lab    *lab
	doc    *document
	failed func(error)
}

func run(args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	if o.list {
		list()
		return nil
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // in a directory of temporary files
	if o.profile != "" {
		if o.profile, err = filepath.Abs(o.profile); err != nil {
			return err
		}
		if err := os.MkdirAll(o.profile, 0o777); err != nil {
			return err
		}
	}

	var failures []error
	r := &runner{
		options: o,
		lab:     &lab{dir: dir, time: o.time, profile: o.profile},
		doc:     &document{Date: time.Now(), Args: args, Machine: thisMachine(), Rounds: o.rounds, Time: o.time},
		failed: func(err error) {
			fmt.Fprintln(os.Stderr, "bench:", err)
			failures = append(failures, err)
		},
	}
	w := newWatch()
	if o.growth {
		r.grow(ctx)
	} else {
		r.compareAll(ctx)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	r.doc.Others = w.others()
	if err := r.write(); err != nil {
		return err
	}
	if len(failures) > 0 {
		return fmt.Errorf("%d measurements failed", len(failures))
	}
	return nil
}

// compareAll measures all peers in the chosen cases.
func (r *runner) compareAll(ctx context.Context) {
	cases := chooseCases(r.cases, r.quick)
	began := time.Now()
	for round := 1; round <= r.rounds; round++ {
		for _, b := range cases {
			if b.largest() >= huge && round > max(1, r.rounds/2) || b.OneCPU && !canPin {
				continue
			}
			r.note("round %d of %d, %s, %v since the start", round, r.rounds, b.name(), time.Since(began).Round(time.Second))
			r.measureCase(ctx, b, round)
			if ctx.Err() != nil {
				return
			}
		}
	}
	if r.wants("idle") {
		r.idle(ctx)
	}
	for _, part := range []struct {
		name string
		run  func() ([]commandResult, error)
	}{
		{"start", func() ([]commandResult, error) { return r.lab.starts(ctx, 20*r.rounds) }},
		{"tool", func() ([]commandResult, error) { return r.lab.tools(ctx, r.rounds, r.quick) }},
	} {
		if r.wants(part.name) && ctx.Err() == nil {
			r.note("%s", part.name)
			results, err := part.run()
			r.doc.Commands = append(r.doc.Commands, results...)
			if err != nil {
				r.failed(err)
			}
		}
	}
}

// measureCase measures all peers in one case and one round, in another order
// each time.
func (r *runner) measureCase(ctx context.Context, b benchCase, round int) {
	peers := matching(r.peers)
	for _, i := range rand.Perm(len(peers)) {
		if !peers[i].takes(b) {
			continue
		}
		m, ok := r.measure(ctx, peers[i], b, round)
		if !ok {
			return
		}
		r.doc.Results = append(r.doc.Results, m)
	}
}

// measure measures a peer in one case and one round. It reports false if ctx has
// ended before that.
func (r *runner) measure(ctx context.Context, c contender, b benchCase, round int) (m result, ok bool) {
	m, err := r.lab.measure(ctx, c, b)
	m.Round = round
	if err != nil {
		if ctx.Err() != nil {
			return m, false
		}
		m.Error = err.Error()
		r.failed(err)
	}
	return m, true
}

// idle measures servers with idle connections.
func (r *runner) idle(ctx context.Context) {
	numbers := []int{1, 1000, 10000}
	if r.quick {
		numbers = numbers[:2]
	}
	for _, c := range matching(r.peers) {
		if _, ok := c.peer.(rawSocket); ok || c.shared || c.name == "simpleipc-call" {
			continue // a thread for each, or the same server as another
		}
		for _, n := range numbers {
			if !r.allows(n) {
				continue
			}
			r.note("idle connections: %d, %s", n, c.name)
			m, err := r.lab.idle(ctx, c, n)
			if err != nil {
				if ctx.Err() != nil {
					return
				}
				m.Error = err.Error()
				r.failed(err)
			}
			r.doc.Idle = append(r.doc.Idle, m)
		}
	}
}

// allows reports whether a process may have so many connections, and notes it
// if not.
func (r *runner) allows(connections int) bool {
	if connections > maxConnections() {
		r.note("%d connections are more than a process may have here", connections)
		return false
	}
	return true
}

// maxConnections is how many connections a process may have.
func maxConnections() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return int(min(limit.Max, 1<<30)) - 64 // Go programs raise theirs to that
}

// wants reports whether a part of the benchmark that has no cases is chosen.
func (r *runner) wants(part string) bool {
	return r.cases == nil || r.cases.MatchString(part)
}

// note tells what goes on.
func (r *runner) note(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}

// write writes the report, the results and the charts.
func (r *runner) write() error {
	if err := os.MkdirAll(r.out, 0o777); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(r.doc, "", "\t")
	if err != nil {
		return err
	}
	bars, err := r.doc.chart()
	if err != nil {
		return err
	}
	lines, err := r.doc.growthChart()
	if err != nil {
		return err
	}
	report := r.doc.markdown()
	name := "peers"
	if r.growth {
		name = "growth"
	}
	for ext, data := range map[string][]byte{".md": []byte(report), ".json": append(raw, '\n'), ".svg": append(bars, lines...)} {
		if len(data) == 0 {
			continue
		}
		if err := os.WriteFile(filepath.Join(r.out, name+ext), data, 0o666); err != nil {
			return err
		}
	}
	_, err = os.Stdout.WriteString(report)
	return err
}

// list lists what can be measured.
func list() {
	fmt.Println("Cases, and * for those that are measured if none are chosen:")
	for _, b := range allCases() {
		mark := " "
		if b.usual() {
			mark = "*"
		}
		fmt.Printf("  %s %-34s %s\n", mark, b.name(), b.title())
	}
	fmt.Print("  * idle                               idle connections\n" +
		"  * start                              a process that sends one request\n" +
		"  * tool                               whole commands of simple-ipc, and of " + peerVariable + "\n\nPeers:\n")
	for _, c := range contenders {
		fmt.Printf("    %-15s %s\n", c.name, c.about)
	}
}
