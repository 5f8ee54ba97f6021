package main

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"example.com/simpleipc"
	"example.com/simpleipc/daemon"
)

// What goes over the socket: a line with the action and, to store, the time for
// which to keep the credential; then its attributes as Git writes them. All but
// get are answered by nothing, if all went well.

// protocolVersion is what the daemon answers "version". It is raised when an
// older daemon would not do. That question and "exit" never change.
var protocolVersion = 1

// maxRequest is the size in bytes of the largest request.
const maxRequest = 64 << 10

// closing is the answer to a store that came when the daemon had decided to end.
const closing = "closing"

// serve is the daemon. It ends when the cache has closed.
func serve(ctx context.Context, socket string) error {
	if err := checkPrivate(filepath.Dir(socket)); err != nil {
		return err
	}
	l, err := daemon.Listen(ctx, socket)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	c := newCache(cancel)
	defer c.close()
	return daemon.Serve(ctx, &simpleipc.Server{Handler: c, MaxRequest: maxRequest}, l)
}

// ServeIPC answers one request.
func (c *cache) ServeIPC(_ context.Context, w *simpleipc.ResponseWriter, r *simpleipc.Request) error {
	defer clear(r.Body)
	line, text, _ := bytes.Cut(r.Body, []byte("\n"))
	action, argument, _ := strings.Cut(string(line), " ")
	switch action {
	case "version":
		_, err := w.WriteString(strconv.Itoa(protocolVersion))
		return err
	case "exit":
		c.close()
		return nil
	}
	cred, err := parse(text)
	if err != nil {
		return err
	}
	switch {
	case action == "get" && cred.hasContext():
		answer := c.get(cred)
		defer clear(answer)
		_, err := w.Write(answer)
		return err
	case action == "store" && cred.isComplete():
		timeout, err := time.ParseDuration(argument)
		if err != nil {
			return err
		}
		if !c.store(cred, timeout) {
			_, err = w.WriteString(closing)
		}
		return err
	case action == "erase" && cred.hasContext():
		c.erase(cred)
		return nil
	}
	return errors.New("not a request of this program")
}
