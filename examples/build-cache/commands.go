package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"example.com/simpleipc"
)

// conns is how many requests of one build are on their way at the same time.
const conns = 8

// serveGo serves the go command that has started this process.
func (o *options) serveGo() (err error) {
	if info, err := os.Stdin.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		return errors.New("this is for the go command: GOCACHEPROG=build-cache go build; see build-cache --help")
	}
	// Those that end the go command from a terminal are sent to this process,
	// too. It ends, and tidies up, when the go command has ended.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt, syscall.SIGHUP, syscall.SIGPIPE)

	local := o.keep
	if local == "" {
		if local, err = os.MkdirTemp("", "build-cache"); err != nil {
			return err
		}
		defer func() {
			if rerr := os.RemoveAll(local); err == nil {
				err = rerr
			}
		}()
	}
	if local, err = makeDir(local); err != nil {
		return err
	}
	p := &prog{
		client: newClient(conns, o.daemon().Dial),
		local:  objects(local),
		warn: func(err error) {
			fmt.Fprintf(os.Stderr, "build-cache: warning: not everything comes from the cache: %v\n", err)
		},
	}
	defer p.client.close()
	return p.run(context.Background(), os.Stdin, os.Stdout)
}

// keyID is the ID of what people call key.
func keyID(key string) id { return sha256.Sum256([]byte(key)) }

// put stores what src has for a key.
func (o *options) put(key string, src io.Reader) error {
	f, err := temporaryFile()
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it has no name any more
	stored, err := copyAndHash(f, src)
	if err != nil {
		return err
	}
	c := newClient(1, o.daemon().Dial)
	defer c.close()
	return c.put(context.Background(), keyID(key), stored, f)
}

// get writes to dst what is stored for a key.
func (o *options) get(key string, dst io.Writer) error {
	f, err := temporaryFile()
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it has no name any more
	c := newClient(1, o.daemon().Dial)
	defer c.close()
	found, err := c.get(context.Background(), keyID(key), func(e entry, body io.Reader) error {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		return copyObject(f, body, e.object)
	})
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("nothing is stored for the key '%s'", key)
	}
	size, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, io.NewSectionReader(f, 0, size))
	return err
}

// stat writes to dst what the daemon tells of itself.
func (o *options) stat(dst io.Writer) error {
	c := newClient(1, func(ctx context.Context) (*simpleipc.Conn, error) {
		return new(simpleipc.Dialer).Dial(ctx, o.socket())
	})
	defer c.close()
	return c.stat(context.Background(), dst)
}

// temporaryFile returns a file that goes when it is closed.
func temporaryFile() (*os.File, error) {
	f, err := os.CreateTemp("", "build-cache")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close() // err comes first
		return nil, err
	}
	return f, nil
}
