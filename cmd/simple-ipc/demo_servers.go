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
	"slices"
	"strings"
	"syscall"
	"time"

	"example.com/simpleipc"
)

// start starts what listens at path, in the foreground as far as there is one.
func (d *demo) start(path string, cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	d.running[path] = cmd
	return nil
}

// ask asks what listens at path, when it does.
func (d *demo) ask(path, request string) (string, error) {
	ctx, cancel := context.WithTimeout(d.ctx, patience)
	defer cancel()
	dialer := simpleipc.Dialer{WaitNotFound: true, Timeout: patience}
	answer, err := dialer.Call(ctx, path, []byte(request))
	return string(answer), err
}

// end ends what was started, in order.
func (d *demo) end(path string) error {
	cmd := d.running[path]
	if cmd == nil {
		return errors.New("it was not started")
	}
	delete(d.running, path)
	kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	_ = cmd.Process.Signal(syscall.SIGTERM) // Wait tells if it has ended
	err := cmd.Wait()
	if _, serr := os.Lstat(path); err == nil && serr == nil {
		err = errors.New("its socket stayed behind")
	}
	return err
}

// startEcho starts the server for files.
func (d *demo) startEcho() (string, error) {
	err := d.start(d.echo, d.command(context.Background(), d.echo, "run-daemon", "--echo"))
	if err != nil {
		return "", err
	}
	answer, err := d.ask(d.echo, "echo hello")
	if err == nil && answer != "hello" {
		err = fmt.Errorf("it answered %q instead of \"hello\"", answer)
	}
	return "ok", err
}

func (d *demo) endEcho() (string, error) {
	return "ok, and its socket is gone", d.end(d.echo)
}

// runCommand lets a server run a command.
func (d *demo) runCommand() (string, error) {
	path := filepath.Join(d.dir, "exec")
	err := d.start(path, d.command(context.Background(), path, "run-daemon", "--exec", "tr", "a-z", "A-Z"))
	if err != nil {
		return "", err
	}
	answer, err := d.ask(path, "hello, world")
	if err == nil && answer != "HELLO, WORLD" {
		err = fmt.Errorf("it answered %q", answer)
	}
	return "hello, world: " + answer, errors.Join(err, d.end(path))
}

// sendFromFile lets a request come from a file, and its response go to one.
func (d *demo) sendFromFile() (string, error) {
	request := make([]byte, len("echo ")+1<<20)
	for i := range request {
		request[i] = byte(rand.Uint32())
	}
	copy(request, "echo ")
	in, out := filepath.Join(d.dir, "request"), filepath.Join(d.dir, "response")
	if err := os.WriteFile(in, request, 0o600); err != nil {
		return "", err
	}
	if _, err := d.outputOf(d.echo, "send", "--file="+in, "--output="+out); err != nil {
		return "", err
	}
	response, err := os.ReadFile(out)
	if err == nil && !bytes.Equal(response, request[len("echo "):]) {
		err = fmt.Errorf("%d bytes came back, which are not the %d that were sent", len(response), len(request))
	}
	return roundBytes(int64(len(response))) + ", unchanged", err
}

// measure measures how fast the server is.
func (d *demo) measure() (string, error) {
	out, err := d.output("bench", "--duration=0.5")
	if err != nil {
		return "", err
	}
	// The table has the name of a figure and then the figure.
	words := strings.Fields(out)
	perSecond, p99 := slices.Index(words, "requests/s"), slices.Index(words, "p99")
	if perSecond < 0 || p99 < 0 || p99+2 >= len(words) {
		return "", fmt.Errorf("there are figures missing: %s", out)
	}
	return fmt.Sprintf("%s requests/s, p99 %s %s", words[perSecond+1], words[p99+1], words[p99+2]), nil
}

// watch looks at what passes.
func (d *demo) watch() (string, error) {
	path := filepath.Join(d.dir, "proxy")
	cmd := d.command(context.Background(), d.name, "proxy", "--listen="+path)
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := d.start(path, cmd); err != nil {
		return "", err
	}
	_, err := d.ask(path, "ping")
	if err = errors.Join(err, d.end(path)); err != nil {
		return "", err
	}
	lines := out.String()
	packets := strings.Count(lines, " -> ") + strings.Count(lines, " <- ")
	_, exchange, found := strings.Cut(lines, " exchange 1: ")
	if !found {
		return "", fmt.Errorf("it saw no exchange: %s", lines)
	}
	exchange, _, _ = strings.Cut(exchange, "\n")
	_, took, _ := strings.Cut(exchange, " in ")
	return fmt.Sprintf("%d packets, answered in %s", packets, took), nil
}
