package trace2

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"
)

// A ChildProcess is one that is about to be started.
type ChildProcess struct {
	scope *scope // nil if nothing is traced
	cmd   *exec.Cmd
	id    int64
	began time.Time
}

// Child tells that cmd is about to be started, and puts the session id into
// its environment, so that its own events, if it has any, are part of this
// session. The class says what it is for, such as "editor", or "?". Call
// the ChildProcess's Exit when it has been waited for, even if it could not be
// started, or its Ready if it has gone into the background.
func Child(ctx context.Context, class string, cmd *exec.Cmd) ChildProcess {
	s := from(ctx)
	if s == nil {
		return ChildProcess{}
	}
	return s.startChild(class, cmd)
}

// Exit tells that the process has ended, or could not be started. Call it
// after cmd.Run or cmd.Wait.
func (c ChildProcess) Exit() {
	if c.scope != nil {
		c.exit()
	}
}

// Ready tells that the process runs in the background, and is left to itself:
// err is nil if it does its work, [context.DeadlineExceeded] if it was waited
// for in vain, and something else if that cannot be found out.
func (c ChildProcess) Ready(err error) {
	if c.scope != nil {
		c.ready(err)
	}
}

func (s *scope) startChild(class string, cmd *exec.Cmd) ChildProcess {
	t := s.tracer
	t.mu.Lock()
	command := t.command
	t.mu.Unlock()
	cmd.Env = append(cmd.Environ(), parentSID+"="+t.sid)
	if command != "" {
		cmd.Env = append(cmd.Env, parentName+"="+command)
	}

	c := ChildProcess{scope: s, cmd: cmd, id: t.children.Add(1) - 1, began: t.now()}
	s.write(&event{
		name: "child_start", at: c.began, abs: timedInPerf,
		normal: func(l *line) {
			_, _ = fmt.Fprintf(l, "[%d] ", c.id)
			if cmd.Dir != "" {
				l.text("cd ")
				l.arguments([]string{cmd.Dir})
				l.text("; ")
			}
			l.arguments(cmd.Args)
		},
		perf: func(l *line) {
			_, _ = fmt.Fprintf(l, "[ch%d] class:%s", c.id, class)
			if cmd.Dir != "" {
				l.text(" cd:")
				l.arguments([]string{cmd.Dir})
			}
			l.text(" argv:[")
			l.arguments(cmd.Args)
			l.text("]")
		},
		event: func(l *line) {
			l.jsonInt("child_id", c.id)
			l.jsonString("child_class", class)
			if cmd.Dir != "" {
				l.jsonString("cd", cmd.Dir)
			}
			l.jsonBool("use_shell", false) // Go never does
			l.jsonStrings("argv", cmd.Args)
		},
	})
	return c
}

func (c ChildProcess) exit() {
	at, pid, code := c.scope.tracer.now(), -1, -1
	if p := c.cmd.ProcessState; p != nil {
		pid, code = p.Pid(), p.ExitCode()
		if status, ok := p.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			code = 128 + int(status.Signal()) // as a shell says it
		}
	}
	c.scope.write(&event{
		name: "child_exit", at: at, abs: timedInPerf, since: c.began,
		normal: func(l *line) {
			_, _ = fmt.Fprintf(l, "[%d] pid:%d code:%d elapsed:", c.id, pid, code)
			l.seconds(at.Sub(c.began), 0)
		},
		perf: func(l *line) { _, _ = fmt.Fprintf(l, "[ch%d] pid:%d code:%d", c.id, pid, code) },
		event: func(l *line) {
			l.jsonInt("child_id", c.id)
			l.jsonInt("pid", int64(pid))
			l.jsonInt("code", int64(code))
		},
	})
}

func (c ChildProcess) ready(err error) {
	at, pid, state := c.scope.tracer.now(), -1, "error"
	switch {
	case err == nil:
		state = "ready"
	case errors.Is(err, context.DeadlineExceeded):
		state = "timeout"
	}
	if p := c.cmd.Process; p != nil {
		pid = p.Pid
	}
	c.scope.write(&event{
		name: "child_ready", at: at, abs: timedInPerf, since: c.began,
		normal: func(l *line) {
			_, _ = fmt.Fprintf(l, "[%d] pid:%d ready:%s elapsed:", c.id, pid, state)
			l.seconds(at.Sub(c.began), 0)
		},
		perf: func(l *line) { _, _ = fmt.Fprintf(l, "[ch%d] pid:%d ready:%s", c.id, pid, state) },
		event: func(l *line) {
			l.jsonInt("child_id", c.id)
			l.jsonInt("pid", int64(pid))
			l.jsonString("ready", state)
		},
	})
}
