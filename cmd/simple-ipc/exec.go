package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"example.com/simpleipc"
	"example.com/simpleipc/trace2"
)

// lingerTime is how long a command that has ended may be outlived by a process
// of its own that has its output open.
const lingerTime = 5 * time.Second

// A commandHandler answers each request by running a command, which gets the
// request on its standard input and writes the response to its standard
// output.
type commandHandler struct {
	program string   // its file
	args    []string // with its name
	name    string   // the path of the socket
	linger  time.Duration

	running sync.RWMutex // held for reading while a command runs
}

// newCommandHandler returns a handler for the command, if there is one.
func newCommandHandler(args []string) (*commandHandler, error) {
	program, err := exec.LookPath(args[0])
	if err != nil {
		if e := (*exec.Error)(nil); errors.As(err, &e) {
			err = e.Err
		}
		return nil, fmt.Errorf("cannot run '%s': %w", args[0], err)
	}
	return &commandHandler{program: program, args: args, linger: lingerTime}, nil
}

func (h *commandHandler) ServeIPC(ctx context.Context, w *simpleipc.ResponseWriter, r *simpleipc.Request) error {
	h.running.RLock()
	defer h.running.RUnlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	cmd := &exec.Cmd{
		Path:      h.program,
		Args:      h.args,
		Env:       h.environment(r.Peer),
		Stdin:     r,
		Stdout:    promptWriter{w},
		Stderr:    os.Stderr, // as it is: what a command leaves behind may keep it open
		WaitDelay: h.linger,
	}
	child := trace2.Child(ctx, "handler", cmd)
	defer child.Exit()
	kill, err := startGroup(cmd)
	if err != nil {
		return fmt.Errorf("cannot run '%s': %w", h.args[0], err)
	}
	// Not exec.CommandContext: that ends when the command does, and processes
	// that hold its output open may be left.
	defer context.AfterFunc(ctx, kill)()
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, exec.ErrWaitDelay):
		kill()
		return fmt.Errorf("'%s' has ended, but left a process that kept its output open for %v", h.args[0], h.linger)
	case err != nil:
		return fmt.Errorf("'%s': %w", h.args[0], err)
	}
	return nil
}

// wait returns when no command is running. The server has ended: there will be
// no new ones.
func (h *commandHandler) wait() {
	h.running.Lock()
	defer h.running.Unlock()
}

// environment is that of the server, and tells who asks.
func (h *commandHandler) environment(p simpleipc.Peer) []string {
	return append(os.Environ(),
		"SIMPLE_IPC_NAME="+h.name,
		"SIMPLE_IPC_PEER_PID="+known(p.PID),
		"SIMPLE_IPC_PEER_UID="+known(p.UID),
		"SIMPLE_IPC_PEER_GID="+known(p.GID),
		"SIMPLE_IPC_PEER_SID="+p.SID)
}

// known returns an ID, or nothing if the platform has not told it.
func known(id int) string {
	n := told(id)
	if n == nil {
		return ""
	}
	return strconv.FormatUint(uint64(*n), 10)
}

// A promptWriter sends each piece of a response at once. A piece is what was in
// the command's pipe, so that much output makes large pieces.
type promptWriter struct{ w *simpleipc.ResponseWriter }

func (p promptWriter) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	if err == nil {
		err = p.w.Send()
	}
	return n, err
}
