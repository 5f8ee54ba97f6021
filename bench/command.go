package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Whole commands are measured from outside: from the start of the process to
// its end.

// A command is one that is compared with others in its group.
type command struct {
	name string
	argv []string
}

// A commandResult is one run of a command.
type commandResult struct {
	Group     string
	Command   string
	Round     int
	Exchanges int
	Seconds   float64
	CPU       float64 // seconds of user and system of that process alone
}

// run runs the command.
func (c command) run(ctx context.Context, oneCPU bool) (took, cpu time.Duration, err error) {
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Stderr = os.Stderr // no pipe: a daemon that is started would hold it
	start := time.Now()
	if oneCPU {
		err = startOnOneCPU(cmd)
	} else {
		err = cmd.Start()
	}
	if err == nil {
		err = cmd.Wait()
	}
	took = time.Since(start)
	if err != nil {
		return 0, 0, fmt.Errorf("%s: %w", strings.Join(c.argv, " "), err)
	}
	return took, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

// compare runs the commands of a group in turn, in another order in each
// round. The first round does not count.
func compare(ctx context.Context, group string, commands []command, exchanges, rounds int, oneCPU bool) ([]commandResult, error) {
	var results []commandResult
	for round := range rounds + 1 {
		row := make([]commandResult, len(commands))
		for _, i := range rand.Perm(len(commands)) {
			took, cpu, err := commands[i].run(ctx, oneCPU)
			if err != nil {
				return results, err
			}
			row[i] = commandResult{group, commands[i].name, round, exchanges, took.Seconds(), cpu.Seconds()}
		}
		if round > 0 {
			results = append(results, row...)
		}
	}
	return results, nil
}

// build compiles a package as it would be distributed, without cgo.
func (l *lab) build(ctx context.Context, pkg string) (string, error) {
	path := filepath.Join(l.dir, filepath.Base(pkg))
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w: %s", pkg, err, bytes.TrimSpace(out))
	}
	return path, nil
}

// buildTool builds this project's tool.
func (l *lab) buildTool(ctx context.Context) (tool, error) {
	path, err := l.build(ctx, "example.com/simpleipc/cmd/simple-ipc")
	return tool{"simple-ipc", []string{path}}, err
}

// starts measures how long a command takes that sends one request.
func (l *lab) starts(ctx context.Context, rounds int) ([]commandResult, error) {
	own, err := l.buildTool(ctx)
	if err != nil {
		return nil, err
	}
	bare, err := l.build(ctx, "example.com/simpleipc/bench/bareclient")
	if err != nil {
		return nil, err
	}
	var all []commandResult
	for _, oneCPU := range []bool{true, false} {
		if oneCPU && !canPin {
			continue
		}
		group := "a process that sends one request"
		if oneCPU {
			group += ", client and server on one CPU"
		}
		r, err := l.startsOf(ctx, own, bare, group, rounds, oneCPU)
		all = append(all, r...)
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

func (l *lab) startsOf(ctx context.Context, own tool, bare, group string, rounds int, oneCPU bool) (results []commandResult, err error) {
	net, _ := findContender(baseline)
	server, t, err := l.serve(ctx, net, benchCase{Callers: 1, OneCPU: oneCPU, exchange: exchange{Request: 4, Response: 4}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	path, stop, err := own.start(ctx, l, oneCPU)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	return compare(ctx, group, []command{
		{"bare client", []string{bare, t.Path}},
		{"simple-ipc send ping", own.argvOf("send", "--name="+path, "ping")},
	}, 1, rounds, oneCPU)
}
