package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"example.com/simpleipc"
)

// start starts a server at path, in the foreground.
func (d *demo) start(path string, args ...string) error {
	cmd := d.command(context.Background(), path, append([]string{"run-daemon"}, args...)...)
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

// end ends the server at path, in order.
func (d *demo) end(path string) error {
	cmd := d.running[path]
	if cmd == nil {
		return errors.New("it was not started")
	}
	delete(d.running, path)
	kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if askToEnd(ctx, path, cmd.Process) != nil { // it is not ready, or has ended
		_ = cmd.Process.Kill()
	}
	err := cmd.Wait()
	if s, _ := simpleipc.Probe(ctx, path); err == nil && s != simpleipc.PathNotFound {
		err = errors.New("its socket stayed behind")
	}
	return err
}

// startEcho starts the server for files.
func (d *demo) startEcho() (string, error) {
	if err := d.start(d.echo, "--echo"); err != nil {
		return "", err
	}
	answer, err := d.ask(d.echo, "echo hello")
	if err == nil && answer != "hello" {
		err = fmt.Errorf("it answered %q instead of \"hello\"", answer)
	}
	return "ok", err
}

func (d *demo) endEcho() (string, error) {
	return "ok, and its path is free", d.end(d.echo)
}

// runCommand lets a server run a command: one that asks another server.
func (d *demo) runCommand() (string, error) {
	path := filepath.Join(d.dir, "exec")
	if err := d.start(path, "--exec", d.exe, "send", "--file=-", "--name="+d.name); err != nil {
		return "", err
	}
	answer, err := d.ask(path, "ping")
	if err == nil && answer != "pong\n" {
		err = fmt.Errorf("it answered %q instead of \"pong\\n\"", answer)
	}
	return "ping, passed on: " + strings.TrimSpace(answer), errors.Join(err, d.end(path))
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
	ctx, cancel := context.WithTimeout(d.ctx, patience)
	path := filepath.Join(d.dir, "proxy")
	cmd := d.command(ctx, d.name, "proxy", "--listen="+path)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		return "", err
	}
	defer func() {
		cancel()
		_ = cmd.Wait() // it was killed
	}()
	if _, err := d.ask(path, "ping"); err != nil {
		return "", err
	}
	packets := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := lines.Text()
		if strings.Contains(line, " -> ") || strings.Contains(line, " <- ") {
			packets++
		}
		if _, exchange, found := strings.Cut(line, " exchange 1: "); found {
			_, took, _ := strings.Cut(exchange, " in ")
			return fmt.Sprintf("%d packets, answered in %s", packets, took), nil
		}
	}
	return "", fmt.Errorf("it saw no exchange, only %d packets", packets)
}
