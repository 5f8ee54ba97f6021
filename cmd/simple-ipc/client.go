package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"example.com/simpleipc"
	"example.com/simpleipc/trace2"
)

// connect connects to the server. Like a probe, it does not wait where no
// server is, but it does wait for one that is busy.
func connect(name string) (*simpleipc.Conn, error) {
	d := simpleipc.Dialer{NoWaitBusy: true}
	c, err := d.Dial(context.Background(), name)
	if errors.Is(err, simpleipc.ErrBusy) {
		d.NoWaitBusy = false
		c, err = d.Dial(context.Background(), name)
	}
	if err != nil {
		return nil, unreachable(name, err)
	}
	return c, nil
}

// unreachable says what was found instead of a server.
func unreachable(name string, err error) error {
	var e *simpleipc.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.State {
	case simpleipc.NotListening:
		return fmt.Errorf("no server listening at '%s'", name)
	case simpleipc.PathNotFound:
		return fmt.Errorf("path not found '%s'", name)
	case simpleipc.InvalidPath:
		return fmt.Errorf("invalid pipe/socket name '%s'", name)
	}
	return fmt.Errorf("other error for '%s': %w", name, e.Err)
}

// failed says that the server was there but did not answer.
func failed(name string, err error) error {
	if e := reason(err); e != err {
		return fmt.Errorf("request to '%s': %w", name, e)
	}
	return err // it is about something else
}

// reason returns what is behind an error, without the operation and the path.
func reason(err error) error {
	var e *simpleipc.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

func sendBytes(o *options, _ []string) error {
	c, err := connect(o.name)
	if err != nil {
		return err
	}
	defer c.Close()
	response, err := c.Call(context.Background(), ballast(o.letter, o.byteCount))
	if err != nil {
		return failed(o.name, err)
	}
	_, err = os.Stdout.Write(report(o.letter, o.byteCount, response))
	return err
}

// ballast returns the request with n times c.
func ballast(c byte, n int) []byte {
	const command = "sendbytes "
	request := make([]byte, len(command)+n)
	for i := copy(request, command); i < len(request); i++ {
		request[i] = c
	}
	return request
}

// report returns the line that compares what was sent with the response.
func report(c byte, n int, response []byte) []byte {
	line := fmt.Appendf(nil, "sent:%s%08d %s", []byte{c}, n, response)
	return append(bytes.TrimRight(line, " \t\r\n"), '\n')
}

// multiple lets callers send at the same time.
func multiple(o *options, _ []string) error {
	c, err := connect(o.name)
	if err != nil {
		return err
	}
	c.Close()

	t := tally{out: bufio.NewWriter(os.Stdout)}
	var callers sync.WaitGroup
	for k := range o.threads {
		callers.Go(func() {
			ctx, end := trace2.Thread(context.Background(), "caller")
			defer end()
			letter := byte('A' + k%26)
			first := o.byteCount + o.batchSize*(k/26)
			for n := first; n < first+o.batchSize; n++ {
				t.count(exchange(ctx, o.name, letter, n))
			}
			t.join()
		})
	}
	callers.Wait()
	_, _ = fmt.Fprintf(t.out, "client (good %d) (join %d), (errors %d)\n", t.good, t.joined, t.errors)
	if err := t.out.Flush(); err != nil {
		return err
	}
	if t.errors > 0 {
		return fmt.Errorf("%d of %d exchanges failed", t.errors, t.good+t.errors)
	}
	return nil
}

// exchange sends n times c on a new connection, and returns the line that
// reports it. It is an error if the response is not about that.
func exchange(ctx context.Context, name string, c byte, n int) (line []byte, err error) {
	request := ballast(c, n)
	response, err := simpleipc.Call(ctx, name, request)
	if err != nil {
		return nil, failed(name, err)
	}
	line = report(c, n, response)
	if want := report(c, n, weigh(request[len(request)-n:])); !bytes.Equal(line, want) {
		return nil, fmt.Errorf("%d times %c was answered by %q", n, c, response)
	}
	return line, nil
}

// A tally counts what concurrent callers do.
type tally struct {
	mu                   sync.Mutex
	out                  *bufio.Writer
	good, joined, errors int
}

func (t *tally) count(line []byte, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.errors++
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		return
	}
	t.good++
	_, _ = t.out.Write(line) // Flush tells the error
}

func (t *tally) join() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.joined++
}
