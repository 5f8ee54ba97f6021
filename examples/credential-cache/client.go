package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"example.com/simpleipc"
	"example.com/simpleipc/daemon"
)

// repeatPause is how long to wait for a daemon that ends to be gone.
const repeatPause = 5 * time.Millisecond

// A client does what Git wants of a helper.
type client struct {
	socket  string
	timeout time.Duration
}

// get writes what the daemon knows about the credential that Git describes.
func (c *client) get(ctx context.Context, in io.Reader, out io.Writer) error {
	answer, err := c.ask(ctx, "get", in)
	if err != nil {
		return err
	}
	_, err = out.Write(answer)
	return err
}

// erase lets the daemon forget the credentials that Git describes.
func (c *client) erase(ctx context.Context, in io.Reader) error {
	_, err := c.ask(ctx, "erase", in)
	return err
}

// ask asks the daemon if there is one.
func (c *client) ask(ctx context.Context, action string, in io.Reader) ([]byte, error) {
	query, err := readCredential(in)
	if err != nil || !query.hasContext() {
		return nil, err
	}
	request, err := newRequest(action, query)
	if err != nil {
		return nil, err
	}
	if err := checkPrivate(filepath.Dir(c.socket)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	answer, err := persist(ctx, func() ([]byte, error) {
		dialer := simpleipc.Dialer{NoWaitBusy: true, MaxResponse: maxRequest}
		conn, err := dialer.Dial(ctx, c.socket)
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		if err := check(ctx, conn); err != nil {
			return nil, err
		}
		return conn.Call(ctx, request)
	})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, simpleipc.ErrNotListening) || errors.Is(err, daemon.ErrOutdated) {
		return nil, nil // nothing is kept
	}
	return answer, err
}

// store lets the daemon keep the credential that Git describes.
func (c *client) store(ctx context.Context, in io.Reader) error {
	cred, err := readCredential(in)
	if err != nil {
		return err
	}
	cred.dropEphemeral()
	lifetime, err := cred.lifetime(time.Now(), c.timeout)
	if err != nil || lifetime <= 0 || !cred.isComplete() {
		return err
	}
	request, err := newRequest("store "+lifetime.String(), cred)
	if err != nil {
		return err
	}
	dir := filepath.Dir(c.socket)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("no directory for the socket, use another --socket=PATH: %w", err)
	}
	if err := checkPrivate(dir); err != nil {
		return err
	}
	_, err = persist(ctx, func() ([]byte, error) { return c.daemon().Call(ctx, request) })
	return err
}

// exit ends the daemon if there is one.
func (c *client) exit(ctx context.Context) error {
	err := c.daemon().Stop(ctx)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, simpleipc.ErrNotListening) {
		return nil
	}
	return err
}

func (c *client) daemon() *daemon.Daemon {
	return &daemon.Daemon{
		Path:    c.socket,
		Args:    []string{"--socket=" + c.socket, "serve"},
		Dir:     filepath.Dir(c.socket),
		Env:     runtimeEnv(),
		MaxWait: patience,
		Quit:    []byte("exit"),
		Check:   check,
		Dialer:  simpleipc.Dialer{MaxResponse: maxRequest},
	}
}

// runtimeEnv returns those variables of the environment that are about Go
// programs in general. The rest may have secrets: Git tells its configuration,
// for instance, in which there are headers with tokens.
func runtimeEnv() []string {
	env := []string{}
	for _, name := range []string{"GODEBUG", "GOMAXPROCS", "GOMEMLIMIT", "GORACE"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// check finds out whether the daemon is one of this version of the program. An
// older one is replaced by the next store, and what it kept is forgotten.
func check(ctx context.Context, conn *simpleipc.Conn) error {
	answer, err := conn.Call(ctx, []byte("version"))
	if err != nil {
		return err
	}
	version, err := strconv.Atoi(string(answer))
	switch {
	case err != nil:
		return errors.New("the server at the socket is no credential cache")
	case version < protocolVersion:
		return daemon.ErrOutdated
	case version > protocolVersion:
		return errors.New("the daemon is of a newer version of this program: use that one, or end the daemon with the action exit")
	}
	return nil
}

// newRequest returns a request with all that is understood of a credential.
func newRequest(action string, cred credential) ([]byte, error) {
	request := append([]byte(action+"\n"), cred.lines(storedKeys)...)
	if len(request) > maxRequest {
		return nil, fmt.Errorf("the credential is too large: %d bytes instead of %d", len(request), maxRequest)
	}
	return request, nil
}

// persist calls again while a daemon is just ending, which hangs up or says so,
// or is busy. No request does harm if it is made twice.
func persist(ctx context.Context, call func() ([]byte, error)) ([]byte, error) {
	for {
		answer, err := call()
		if string(answer) == closing {
			err = errors.New("the daemon is ending")
		} else if !errors.Is(err, simpleipc.ErrConnClosed) && !errors.Is(err, simpleipc.ErrBusy) {
			return answer, err
		}
		select {
		case <-time.After(repeatPause):
		case <-ctx.Done():
			return nil, err
		}
	}
}
