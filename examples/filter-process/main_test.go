package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long a test waits for what should take no time.
const patience = 60 * time.Second

// roleEnv makes this process a filter instead of a test: "main", or a format of
// dyingFilter.
const roleEnv = "FILTER_PROCESS_TEST_ROLE"

// The filters that kill themselves when they have read, or are about to write,
// this many bytes.
const (
	dieReading = "die-reading=%d"
	dieWriting = "die-writing=%d"
)

func TestMain(m *testing.M) {
	switch role := os.Getenv(roleEnv); role {
	case "":
		goleak.VerifyTestMain(descriptorCheck{m})
	case "main":
		main()
	default:
		dyingFilter(role)
	}
}

// A descriptorCheck fails if the tests leave temporary files open.
type descriptorCheck struct{ *testing.M }

func (c descriptorCheck) Run() int {
	code := c.M.Run()
	open, _ := filepath.Glob("/proc/self/fd/*")
	for _, name := range open {
		if target, _ := os.Readlink(name); strings.HasPrefix(target, os.TempDir()) && strings.HasSuffix(target, " (deleted)") {
			fmt.Fprintf(os.Stderr, "the tests leave %s open\n", target)
			code = 1
		}
	}
	return code
}

func dyingFilter(role string) {
	var in io.Reader = os.Stdin
	var out io.Writer = os.Stdout
	var n int
	if _, err := fmt.Sscanf(role, dieReading, &n); err == nil {
		in = &dying{in: os.Stdin, left: n}
	} else if _, err := fmt.Sscanf(role, dieWriting, &n); err == nil {
		out = &dying{out: os.Stdout, left: n}
	} else {
		log.Fatalf("unknown role %s", role)
	}
	f := newFilter(in, out, log.Default())
	f.canDelay = true
	log.Fatal(f.serve())
}

// A dying stream kills the process when it has carried enough.
type dying struct {
	in   io.Reader
	out  io.Writer
	left int
}

func (d *dying) Read(p []byte) (int, error) {
	d.spend(0)
	n, err := d.in.Read(p)
	d.left -= n
	return n, err
}

func (d *dying) Write(p []byte) (int, error) {
	d.spend(len(p))
	return d.out.Write(p)
}

func (d *dying) spend(n int) {
	if d.left -= n; d.left <= 0 {
		if self, err := os.FindProcess(os.Getpid()); err == nil {
			self.Kill()
		}
		select {}
	}
}

// command prepares the program to be run by itself.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Env = append(os.Environ(), roleEnv+"=main", "GORACE=atexit_sleep_ms=0")
	return cmd
}

func TestCommandLine(t *testing.T) {
	for _, tt := range []struct {
		name, stdin    string // stdin is a device if it is empty
		args           []string
		code           int
		stdout, stderr string // what begins them
	}{
		{"help", "x", []string{"--help"}, 0, usage, ""},
		{"a person", "", nil, 1, "", "filter-process: standard input is not Git\n\n" + usage},
		{"unknown flag", "x", []string{"--undelayed"}, 1, "", "filter-process: flag provided but not defined: -undelayed; see 'filter-process --help'\n"},
		{"argument", "x", []string{"clean"}, 1, "", "filter-process: unexpected argument \"clean\"; see 'filter-process --help'\n"},
		{"garbage", "hello, world", nil, 1, "", "filter-process: handshake: pktline: "},
		{"cut off", "0016git-filter-cl", nil, 1, "", "filter-process: handshake: unexpected EOF\n"},
		{"another protocol", "000dgit-lfs-x0000", nil, 1, "", "filter-process: handshake: the welcome message is \"git-lfs-x\", not \"git-filter-client\"\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cmd := command(t, tt.args...)
			if tt.stdin != "" {
				cmd.Stdin = strings.NewReader(tt.stdin)
			}
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			err := cmd.Run()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			if code := cmd.ProcessState.ExitCode(); code != tt.code {
				t.Errorf("exit status %d, want %d", code, tt.code)
			}
			if got := stdout.String(); !strings.HasPrefix(got, tt.stdout) || tt.stdout == "" && got != "" {
				t.Errorf("it wrote %q, want %q", got, tt.stdout)
			}
			if got := stderr.String(); !strings.HasPrefix(got, tt.stderr) || tt.stderr == "" && got != "" {
				t.Errorf("it said %q, want %q", got, tt.stderr)
			}
		})
	}
}
