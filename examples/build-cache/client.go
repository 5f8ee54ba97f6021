package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"example.com/simpleipc"
)

// A client asks the daemon, on several connections at the same time, which it
// keeps.
type client struct {
	dial     func(context.Context) (*simpleipc.Conn, error)
	patience time.Duration // how long an exchange may take

	// Has as many elements as connections are not in use just now, of which
	// those that are yet to be made are nil.
	free chan *simpleipc.Conn
}

func newClient(conns int, dial func(context.Context) (*simpleipc.Conn, error)) *client {
	c := &client{dial: dial, patience: exchangePatience, free: make(chan *simpleipc.Conn, conns)}
	for range conns {
		c.free <- nil
	}
	return c
}

// close closes the connections. It waits for those that are in use.
func (c *client) close() {
	for range cap(c.free) {
		if conn := <-c.free; conn != nil {
			conn.Close()
		}
	}
}

// get lets keep have what is stored for an action, if there is something. When
// the daemon breaks off, it may be called again.
func (c *client) get(ctx context.Context, action id, keep func(entry, io.Reader) error) (found bool, err error) {
	request := func() io.Reader { return strings.NewReader("get " + action.String()) }
	err = c.exchange(ctx, request, func(verb, args string, body io.Reader) error {
		switch verb {
		case "miss":
			return nil
		case "hit":
			e, err := parseEntry(args)
			if err != nil {
				return err
			}
			found = true
			return keep(e, body)
		}
		return errAnswer
	})
	return found && err == nil, err
}

// put stores o, whose bytes src has, for an action.
func (c *client) put(ctx context.Context, action id, o object, src io.ReaderAt) error {
	request := func() io.Reader {
		line := fmt.Sprintf("put %v %v\n", action, o)
		return io.MultiReader(strings.NewReader(line), io.NewSectionReader(src, 0, o.size))
	}
	return c.exchange(ctx, request, func(verb, _ string, _ io.Reader) error {
		if verb != "stored" {
			return errAnswer
		}
		return nil
	})
}

// stat writes to w what the daemon tells of itself.
func (c *client) stat(ctx context.Context, w io.Writer) error {
	request := func() io.Reader { return strings.NewReader("stat") }
	return c.exchange(ctx, request, func(verb, _ string, body io.Reader) error {
		if verb != "stat" {
			return errAnswer
		}
		_, err := io.Copy(w, body)
		return err
	})
}

var errAnswer = errors.New("the daemon's answer is of another kind: is it one of this program?")

var errUnreachable = errors.New("the daemon cannot be asked")

// A request is sent again, after a pause that doubles, if the connection breaks:
// the daemon may have ended since it was made, and one that is just ending hangs
// up on those who come in its last moment.
const (
	attempts   = 8
	firstPause = time.Millisecond
)

// exchange sends a request and lets read have the answer. Both may happen again
// if the connection breaks; to do any of the requests twice does no harm.
func (c *client) exchange(ctx context.Context, request func() io.Reader, read func(verb, args string, body io.Reader) error) error {
	var conn *simpleipc.Conn
	select {
	case conn = <-c.free:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { c.free <- conn }()
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	for attempt := 1; ; attempt++ {
		var err error
		if conn == nil {
			if conn, err = c.dial(ctx); err != nil {
				return fmt.Errorf("%w: %w", errUnreachable, err)
			}
		}
		if err = call(ctx, conn, request(), read); err == nil {
			return nil
		}
		conn.Close()
		conn = nil
		var broken *simpleipc.Error
		if !errors.As(err, &broken) {
			return err
		}
		if attempt == attempts || ctx.Err() != nil {
			return fmt.Errorf("%w: %w", errUnreachable, err)
		}
		select {
		case <-time.After(firstPause << (attempt - 1)):
		case <-ctx.Done():
		}
	}
}

// call is one exchange.
func call(ctx context.Context, conn *simpleipc.Conn, request io.Reader, read func(verb, args string, body io.Reader) error) error {
	response, err := conn.CallStream(ctx, request)
	if err != nil {
		return err
	}
	defer response.Close()
	body := bufio.NewReader(response)
	line, err := readLine(body)
	if err != nil {
		return err
	}
	verb, args, _ := strings.Cut(line, " ")
	if verb == "error" {
		return fmt.Errorf("the daemon says: %s", args)
	}
	if err := read(verb, args, body); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, body) // or the connection could not be kept
	return err
}
