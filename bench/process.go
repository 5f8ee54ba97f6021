package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// The benchmark starts its own executable as the processes that it measures.
// It asks them by lines of text to their standard input, and they answer with
// JSON on their standard output. They end when their standard input does.

// roleArgument is the first argument of such a process; the second is its
// task.
const roleArgument = "role"

// A task is what such a process does.
type task struct {
	Role    string // a key of roles
	Peer    string // the contender's name
	Path    string
	Case    benchCase
	Time    time.Duration // how long to warm up, and then to measure
	Profile string        `json:",omitempty"` // prefix of the files with profiles
}

// A process is one that runs a role.
type process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *json.Decoder
	stderr bytes.Buffer
}

// startProcess returns when the process is ready. It is killed when ctx ends.
func startProcess(ctx context.Context, t task) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	arg, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.CommandContext(ctx, self, roleArgument, string(arg))}
	p.cmd.Stderr = &p.stderr
	p.cmd.WaitDelay = 10 * time.Second
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = json.NewDecoder(out)
	if t.Case.OneCPU {
		err = startOnOneCPU(p.cmd)
	} else {
		err = p.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start a %s: %w", t.Role, err)
	}
	if err := p.answer(nil); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

// ask sends a question and decodes the answer into v.
func (p *process) ask(question string, v any) error {
	if _, err := io.WriteString(p.in, question+"\n"); err != nil {
		return err
	}
	return p.answer(v)
}

func (p *process) answer(v any) error {
	var reply reply
	if err := p.out.Decode(&reply); err != nil {
		if err == io.EOF {
			err = errors.New("a process has ended without an answer")
		}
		return err
	}
	if reply.Error != "" {
		return errors.New(reply.Error)
	}
	if v == nil {
		return nil
	}
	return json.Unmarshal(reply.Value, v)
}

// stop lets the process end.
func (p *process) stop() error {
	_ = p.in.Close()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(p.stderr.Bytes()))
	}
	return nil
}

// A reply answers a question. The first one says that the process is ready.
type reply struct {
	Value json.RawMessage `json:",omitempty"`
	Error string          `json:",omitempty"`
}

// answers are what a role can be asked, by the question.
type answers map[string]func() (any, error)

// runRole is what such a process does.
func runRole(arg string) error {
	var t task
	if err := json.Unmarshal([]byte(arg), &t); err != nil {
		return fmt.Errorf("%s: %w", roleArgument, err)
	}
	out := json.NewEncoder(os.Stdout)
	prepare, ok := roles[t.Role]
	if !ok {
		return fmt.Errorf("there is no role %q", t.Role)
	}
	c, ok := findContender(t.Peer)
	if !ok {
		return fmt.Errorf("there is no peer %q", t.Peer)
	}
	questions, err := prepare(c, t)
	if err != nil {
		return out.Encode(reply{Error: err.Error()})
	}
	if err := out.Encode(reply{}); err != nil {
		return err
	}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var r reply
		value, err := questions[in.Text()]()
		if err == nil {
			r.Value, err = json.Marshal(value)
		}
		if err != nil {
			r.Error = err.Error()
		}
		if err := out.Encode(r); err != nil {
			return err
		}
	}
	return in.Err()
}
