package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A prog is what the go command runs as its GOCACHEPROG: it answers what the
// go command asks, by asking the daemon. Where that fails, the build goes on as
// one without a cache.
type prog struct {
	client *client
	local  objects // where the go command finds what it gets and puts
	warn   func(error)

	warned  sync.Once
	alone   atomic.Bool // the daemon cannot be reached
	pending sync.WaitGroup

	mu  sync.Mutex
	out *json.Encoder
}

// A progRequest is what the go command asks. An output is an object, of which
// the ID is the SHA-256. A put with a BodySize above 0 is followed by the
// object; see [prog.receive].
type progRequest struct {
	ID       int64
	Command  string
	ActionID id
	OutputID id
	BodySize int64
}

// A progResponse is the answer to the request with the same ID.
type progResponse struct {
	ID            int64
	Err           string    `json:",omitzero"`
	KnownCommands []string  `json:",omitzero"`
	Miss          bool      `json:",omitzero"`
	OutputID      id        `json:",omitzero"`
	Size          int64     `json:",omitzero"`
	Time          time.Time `json:",omitzero"`
	DiskPath      string    `json:",omitzero"`
}

// run answers requests until the go command closes the cache or has gone. Each
// is answered as soon as it can be, and not in turn; only the objects of puts
// are received one after the other, since all come through the same pipe.
func (p *prog) run(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer p.pending.Wait()
	defer cancel()
	p.out = json.NewEncoder(out)
	p.respond(progResponse{KnownCommands: []string{"get", "put", "close"}})
	r := bufio.NewReaderSize(in, 64<<10)
	for {
		req, err := readProgRequest(r)
		if err == io.EOF {
			return nil // the go command has gone
		}
		if err != nil {
			return fmt.Errorf("reading a request of the go command: %w", err)
		}
		switch req.Command {
		case "get":
			p.pending.Go(func() { p.respond(p.get(ctx, req)) })
		case "put":
			o := object{req.OutputID, req.BodySize}
			failed, err := p.receive(r, o)
			if err != nil {
				return fmt.Errorf("reading an object of the go command: %w", err)
			}
			if failed != nil {
				p.respond(progResponse{ID: req.ID, Err: failed.Error()})
				break
			}
			p.pending.Go(func() { p.respond(p.put(ctx, req, o)) })
		case "close":
			p.pending.Wait()
			p.respond(progResponse{ID: req.ID})
			return nil
		default:
			p.respond(progResponse{ID: req.ID, Err: fmt.Sprintf("unknown command %q", req.Command)})
		}
	}
}

// readProgRequest reads a request, which is a line. The error is io.EOF if
// there is none.
func readProgRequest(r *bufio.Reader) (req progRequest, err error) {
	for {
		line, err := r.ReadSlice('\n')
		if err == io.EOF && len(line) > 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return req, err
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		err = json.Unmarshal(line, &req)
		if err == nil && req.BodySize < 0 {
			err = errors.New("an object of less than no bytes")
		}
		return req, err
	}
}

func (p *prog) respond(r progResponse) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.out.Encode(r) // it fails when the go command has gone, which run finds out
}

func (p *prog) get(ctx context.Context, req progRequest) progResponse {
	hit := progResponse{ID: req.ID}
	found := false
	p.ask(ctx, func() (err error) {
		found, err = p.client.get(ctx, req.ActionID, func(e entry, body io.Reader) error {
			hit.OutputID, hit.Size, hit.Time, hit.DiskPath = e.id, e.size, e.time, p.local.path(e.id)
			return p.local.add(e.object, body)
		})
		return err
	})
	if !found {
		return progResponse{ID: req.ID, Miss: true}
	}
	return hit
}

// receive keeps the object of a put where the go command can find it. It
// follows the request, unless it is empty, as a line with a JSON string, which
// is the object in base64. If it could not be kept, failed says why; after err,
// nothing more can be read.
func (p *prog) receive(r *bufio.Reader, o object) (failed, err error) {
	if o.size == 0 {
		return p.local.add(o, strings.NewReader("")), nil
	}
	if err := openQuote(r); err != nil {
		return nil, err
	}
	encoded := io.LimitReader(r, (o.size+2)/3*4)
	failed = p.local.add(o, base64.NewDecoder(base64.StdEncoding, encoded))
	if _, err := io.Copy(io.Discard, encoded); err != nil {
		return failed, err
	}
	if c, err := r.ReadByte(); err != nil || c != '"' {
		return failed, cmp.Or(err, fmt.Errorf("%q instead of the closing quote", c))
	}
	return failed, nil
}

// openQuote reads the beginning of a JSON string.
func openQuote(r *bufio.Reader) error {
	for {
		c, err := r.ReadByte()
		if err != nil || c == '"' {
			return err
		}
		if c != '\n' {
			return fmt.Errorf("%q instead of the opening quote", c)
		}
	}
}

// put passes on what was received.
func (p *prog) put(ctx context.Context, req progRequest, o object) progResponse {
	path := p.local.path(o.id)
	p.ask(ctx, func() error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // it was only read
		return p.client.put(ctx, req.ActionID, o, f)
	})
	return progResponse{ID: req.ID, DiskPath: path}
}

// ask lets f ask the daemon, unless that was found to be of no use. The first
// error is told as a warning, for one is enough.
func (p *prog) ask(ctx context.Context, f func() error) {
	if p.alone.Load() {
		return
	}
	err := f()
	if err == nil || ctx.Err() != nil {
		return
	}
	if errors.Is(err, errUnreachable) {
		p.alone.Store(true)
	}
	p.warned.Do(func() { p.warn(err) })
}
