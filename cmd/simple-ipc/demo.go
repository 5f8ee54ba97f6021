package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"example.com/simpleipc"
)

// A demo shows what the tool can do, by doing it.
type demo struct {
	ctx     context.Context      // ends when the user interrupts
	exe     string               // the tool's own file
	dir     string               // a temporary directory
	name    string               // the path of the server that most steps are about
	echo    string               // the path of the one that echoes files
	running map[string]*exec.Cmd // servers in the foreground, by their paths
	bar     progressBar
	results []result
	files   traffic
}

// A step is something that the demo does. It returns what is to be said about
// it when it has gone as it should.
type step struct {
	title string
	run   func(*demo) (outcome string, err error)
}

// A result is how a step went.
type result struct {
	title, outcome string
	took           time.Duration
	err            error
}

// firstSteps are what the demo does before files are sent. These are functions
// since the other commands are not to spend time on such variables.
func firstSteps() []step {
	return []step{
		{"SUPPORTS_SIMPLE_IPC", succeeds("SUPPORTS_SIMPLE_IPC")},
		{"is-active, without a server", fails("path not found", "is-active")},
		{"start-daemon --threads=8", succeeds("start-daemon", "--threads=8")},
		{"is-active", succeeds("is-active")},
		{"run-daemon on the same path", fails("another server is listening", "run-daemon")},
		{"start-daemon on the same path", fails("another server is listening", "start-daemon")},
		{"send ping", prints("pong\n", "send", "ping")},
		{"send", prints("unhandled command: (no command)\n", "send")},
		{"send big", bigResponse("big")},
		{"send chunk", bigResponse("chunk")},
		{"slow, 8 clients that hang up", (*demo).hangUp},
		{"sendbytes --bytecount=100000", prints("sent:x00100000 rcvd:x00100000\n", "sendbytes", "--bytecount=100000")},
		{"multiple --threads=7", (*demo).manyCallers},
		{"bench --duration=0.5", (*demo).measure},
		{"proxy", (*demo).watch},
		{"run-daemon --exec, as a relay", (*demo).runCommand},
		{"run-daemon --echo", (*demo).startEcho},
		{"send --file --output", (*demo).sendFromFile},
	}
}

// lastSteps are what it does then.
func lastSteps() []step {
	return []step{
		{"run-daemon, ended by " + howToEnd, (*demo).endEcho},
		{"stop-daemon", succeeds("stop-daemon")},
		{"is-active, after that", fails("path not found", "is-active")},
		{"send ping, after that", fails("path not found", "send", "ping")},
	}
}

// patience is how long a step waits for what takes milliseconds.
const patience = 30 * time.Second

func runDemo(_ *options, args []string) error {
	began := time.Now()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "simple-ipc-demo")
	if err != nil {
		return err
	}
	d := &demo{
		ctx: ctx, exe: exe, dir: dir, name: filepath.Join(dir, "ipc"), echo: filepath.Join(dir, "echo"),
		running: make(map[string]*exec.Cmd), bar: progressBar{out: os.Stderr, paint: newPainter(os.Stderr)},
	}
	defer d.cleanUp()
	all := firstSteps()
	for _, arg := range append([]string{exe}, args...) {
		title := "echo of " + tail(arg, 24)
		if arg == exe {
			title = "echo of the tool's own file"
		}
		all = append(all, step{title, func(d *demo) (string, error) { return d.sendAll(arg) }})
	}
	all = append(all, lastSteps()...)
	for i, s := range all {
		d.bar.draw(int64(i), int64(len(all)), s.title)
		if ctx.Err() != nil {
			break
		}
		start := time.Now()
		outcome, err := s.run(d)
		d.results = append(d.results, result{s.title, outcome, time.Since(start), err})
	}
	d.bar.clear()
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return d.tell(time.Since(began))
}

// tell prints the results.
func (d *demo) tell(took time.Duration) error {
	paint := newPainter(os.Stdout)
	var b strings.Builder
	row := func(title, outcome string, colour int, took string) {
		padding := strings.Repeat(" ", max(0, 37-columns(outcome)))
		fmt.Fprintf(&b, "%s %s%s %8s\n", pad(title, 32), paint.paint(colour, outcome), padding, took)
	}
	row("STEP", "OUTCOME", bold, "TIME")
	bad := 0
	for _, r := range d.results {
		outcome, colour := r.outcome, green
		if r.err != nil {
			bad++
			outcome, colour = "FAILED", red
		}
		row(r.title, outcome, colour, roundTime(r.took))
	}
	b.WriteByte('\n')
	if bad == 0 {
		fmt.Fprintf(&b, "All %d steps went as they should, in %s.\n%s\n", len(d.results), roundTime(took), d.files.summary())
	}
	if _, err := os.Stdout.WriteString(b.String()); err != nil {
		return err
	}
	if bad == 0 {
		return nil
	}
	for _, r := range d.results {
		if r.err != nil {
			fmt.Fprintf(os.Stderr, "error: %s: %v\n", r.title, r.err)
		}
	}
	return fmt.Errorf("%d of %d steps failed", bad, len(d.results))
}

// roundTime writes a time with as many digits as anybody wants.
func roundTime(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%.1f ms", d.Seconds()*1000)
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

// command returns a command of the tool, to be run for the server at name.
// In a process group of its own it does not notice the user's Ctrl-C: it is
// for the demo to clean up.
func (d *demo) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, d.exe, args[0], "--name="+name)
	cmd.Args = append(cmd.Args, args[1:]...)
	cmd.SysProcAttr = ownGroup()
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// output runs a command for the server that most steps are about.
func (d *demo) output(args ...string) (string, error) { return d.outputOf(d.name, args...) }

// outputOf runs a command and returns what it prints. If it fails, the error is
// what it says.
func (d *demo) outputOf(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := d.command(ctx, name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if err != nil {
		err = errors.New(strings.TrimSpace(err.Error() + "\n" + stderr.String()))
	}
	return string(stdout), err
}

func succeeds(args ...string) func(*demo) (string, error) {
	return func(d *demo) (string, error) {
		_, err := d.output(args...)
		return "ok", err
	}
}

func prints(want string, args ...string) func(*demo) (string, error) {
	return func(d *demo) (string, error) {
		got, err := d.output(args...)
		if err == nil && got != want {
			err = fmt.Errorf("it printed %.200q instead of %q", got, want)
		}
		return strings.TrimSpace(got), err
	}
}

// fails is for a command that has to fail, and say why.
func fails(why string, args ...string) func(*demo) (string, error) {
	return func(d *demo) (string, error) {
		switch _, err := d.output(args...); {
		case err == nil:
			return "", errors.New("it should have failed")
		case !strings.Contains(err.Error(), why):
			return "", fmt.Errorf("it failed with the wrong message: %w", err)
		}
		return "refused: " + why, nil
	}
}

// bigResponse is for a request whose response is all rows.
func bigResponse(request string) func(*demo) (string, error) {
	return func(d *demo) (string, error) {
		var want []byte
		for i := range bigRows {
			want = appendRow(want, i)
		}
		got, err := d.output("send", request)
		if err == nil && got != string(want)+"\n" {
			err = fmt.Errorf("the %d bytes that came are not the %d expected", len(got), len(want)+1)
		}
		return fmt.Sprintf("%d lines", bigRows), err
	}
}

// hangUp reads how a slow response begins, as often as there are threads, and
// hangs up. If the server did not notice that, it would be busy for seconds.
func (d *demo) hangUp() (string, error) {
	const lines = 10
	responses := make([]*simpleipc.Response, 8)
	for i := range responses {
		r, err := new(simpleipc.Dialer).CallStream(d.ctx, d.name, strings.NewReader("slow"))
		if err != nil {
			return "", err
		}
		defer r.Close()
		responses[i] = r
	}
	line := make([]byte, len(appendRow(nil, 0)))
	var first time.Time
	for i := range lines {
		for _, r := range responses {
			if _, err := io.ReadFull(r, line); err != nil {
				return "", err
			}
		}
		if i == 0 {
			first = time.Now()
		}
	}
	pace := time.Since(first) / (lines - 1)
	for _, r := range responses {
		r.Close()
	}
	ctx, cancel := context.WithTimeout(d.ctx, slowRows*slowPause/2)
	defer cancel()
	if _, err := simpleipc.Call(ctx, d.name, []byte("ping")); err != nil {
		return "", fmt.Errorf("the server does not notice that its clients have hung up: %w", err)
	}
	return fmt.Sprintf("a line every %s, all noticed", roundTime(pace)), nil
}

func (d *demo) manyCallers() (string, error) {
	const summary = "client (good 91) (join 7), (errors 0)\n"
	got, err := d.output("multiple", "--threads=7", "--bytecount=19", "--batchsize=13")
	if err == nil && !strings.HasSuffix(got, summary) {
		err = fmt.Errorf("the last line should be %q: %.200q", summary, got)
	}
	return strings.TrimSpace(summary), err
}

// cleanUp ends what is still running, and leaves nothing behind.
func (d *demo) cleanUp() {
	d.bar.clear()
	for path := range d.running {
		_ = d.end(path) // the step that it belongs to has failed already
	}
	dialer := simpleipc.Dialer{NoWaitBusy: true}
	if c, err := dialer.Dial(context.Background(), d.name); err == nil {
		pid := c.Peer().PID
		c.Close()
		err = background(&options{name: d.name, quit: "quit", maxWait: 5 * time.Second}).Stop(context.Background())
		if p, perr := os.FindProcess(pid); err != nil && perr == nil && pid > 0 {
			_ = p.Kill()
		}
	}
	if err := os.RemoveAll(d.dir); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
	}
}
