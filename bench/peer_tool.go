package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A tool is an executable with the commands of Git's test tool for Simple IPC.
// Other implementations of Simple IPC can be measured by it, whatever they are
// written in.
type tool struct {
	name string
	argv []string // the executable, and what comes before the command
}

// peerVariable names another tool in the environment, such as
// "/path/to/test-tool simple-ipc".
const peerVariable = "BENCH_PEER"

// otherTool returns that one, if there is any.
func otherTool() (tool, bool) {
	argv := strings.Fields(os.Getenv(peerVariable))
	if len(argv) == 0 {
		return tool{}, false
	}
	return tool{peerVariable + " " + filepath.Base(argv[0]), argv}, true
}

func (t tool) argvOf(args ...string) []string {
	return append(append([]string(nil), t.argv...), args...)
}

// start starts the tool's server in the background.
func (t tool) start(ctx context.Context, l *lab, oneCPU bool) (path string, stop func() error, err error) {
	path = l.socket()
	if _, _, err := (command{t.name, t.argvOf("start-daemon", "--name="+path, "--threads=8")}).run(ctx, oneCPU); err != nil {
		return "", nil, err
	}
	return path, func() error {
		// The server has to go, even if ctx has ended.
		_, _, err := command{t.name, t.argvOf("stop-daemon", "--name="+path)}.run(context.WithoutCancel(ctx), false)
		return err
	}, nil
}

// A toolCase is a command that is measured with each tool.
type toolCase struct {
	name      string
	exchanges int
	args      []string
	long      bool
}

func sendBytes(n int) toolCase {
	return toolCase{"sendbytes, " + size(n), 1, []string{"sendbytes", fmt.Sprintf("--bytecount=%d", n)}, n >= huge}
}

// multiple has requests of n bytes, n+1, n+2 and so on.
func multiple(threads, batch, n int) toolCase {
	return toolCase{
		fmt.Sprintf("multiple, %d × %d exchanges from %s on", threads, batch, size(n)), threads * batch,
		[]string{"multiple", fmt.Sprintf("--threads=%d", threads), fmt.Sprintf("--bytecount=%d", n), fmt.Sprintf("--batchsize=%d", batch)},
		false,
	}
}

var toolCases = []toolCase{
	sendBytes(small), sendBytes(large), sendBytes(huge),
	multiple(1, 1000, small), multiple(8, 500, small), multiple(8, 10, mib),
}

// tools measures this project's tool, and another one beside it if there is
// any.
func (l *lab) tools(ctx context.Context, rounds int, quick bool) (results []commandResult, err error) {
	own, err := l.buildTool(ctx)
	if err != nil {
		return nil, err
	}
	all := []tool{own}
	if other, ok := otherTool(); ok {
		all = append(all, other)
	}
	paths := make([]string, len(all))
	for i, t := range all {
		path, stop, err := t.start(ctx, l, false)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, stop()) }()
		paths[i] = path
	}
	for _, tc := range toolCases {
		if quick && tc.long {
			continue
		}
		var commands []command
		for i, t := range all {
			commands = append(commands, command{t.name, t.argvOf(append(tc.args, "--name="+paths[i])...)})
		}
		r, err := compare(ctx, tc.name, commands, tc.exchanges, rounds, false)
		results = append(results, r...)
		if err != nil {
			return results, err
		}
	}
	return results, nil
}
