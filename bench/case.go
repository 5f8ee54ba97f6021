package main

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// A benchCase is what is measured with each contender.
type benchCase struct {
	New     bool `json:",omitempty"` // each exchange is on a new connection
	Callers int  // how many exchanges at the same time
	OneCPU  bool `json:",omitempty"` // both processes have one CPU, the same
	exchange

	Connections int `json:",omitempty"` // kept, which the callers use in turn; 0 is one for each
}

// small is the size of a message that hardly costs anything.
const small = 16

// Sizes of large messages.
const (
	mib   = 1 << 20
	large = 10 * mib
	huge  = 200e6
)

// allCases returns every case, in the order of the report.
func allCases() []benchCase {
	var cases []benchCase
	add := func(sizes []exchange, places []benchCase) {
		for _, isNew := range []bool{false, true} {
			for _, x := range sizes {
				for _, c := range places {
					c.New, c.exchange = isNew, x
					cases = append(cases, c)
				}
			}
		}
	}
	one, pinned, eight := benchCase{Callers: 1}, benchCase{Callers: 1, OneCPU: true}, benchCase{Callers: 8}
	add([]exchange{
		{Request: small, Response: small},
		{Request: 4 << 10, Response: small},
		{Request: small, Response: 4 << 10},
	}, []benchCase{pinned, one, eight})
	add(heavy(large), []benchCase{pinned, one, eight})
	add(heavy(huge), []benchCase{pinned, one})
	return cases
}

// heavy returns exchanges with one large message, buffered and streamed.
func heavy(n int) []exchange {
	return []exchange{
		{Request: n, Response: small},
		{Request: small, Response: n},
		{Request: n, Response: small, Streamed: true},
		{Request: small, Response: n, Streamed: true},
	}
}

// usual reports whether c is measured if nobody has chosen cases. Left out are
// those in which nearly all of the time is spent as in others.
func (c benchCase) usual() bool {
	switch {
	case c.largest() >= huge:
		return !c.New
	case c.largest() >= large:
		return !c.New || c.OneCPU
	}
	return true
}

// quick reports whether c is measured with -quick.
func (c benchCase) quick() bool {
	switch {
	case c.largest() >= huge:
		return false
	case c.largest() >= large:
		return !c.New && c.Callers == 1 && !c.OneCPU
	}
	return c.Request == small && (c.OneCPU || c.Callers > 1)
}

func (c benchCase) largest() int { return max(c.Request, c.Response) }

// name returns a name such as "kept/1cpu/4KiB-request".
func (c benchCase) name() string {
	parts := []string{"kept", fmt.Sprint(c.Callers), "16B"}
	if c.New {
		parts[0] = "new"
	}
	if c.OneCPU {
		parts[1] += "cpu"
	}
	switch {
	case c.Request > c.Response:
		parts[2] = shortSize(c.Request) + "-request"
	case c.Response > c.Request:
		parts[2] = shortSize(c.Response) + "-response"
	default:
		parts[2] = shortSize(c.Request)
	}
	if c.Streamed {
		parts = append(parts, "streamed")
	}
	return strings.Join(parts, "/")
}

// title says the same to people.
func (c benchCase) title() string {
	parts := []string{"kept connection", "1 caller", ""}
	if c.Callers > 1 {
		parts[0], parts[1] = "kept connections", fmt.Sprintf("%d callers", c.Callers)
	}
	if c.New {
		parts[0] = "new connections"
	}
	if c.OneCPU {
		parts[1] += " on one CPU"
	}
	switch {
	case c.Request > c.Response:
		parts[2] = "request of " + size(c.Request)
	case c.Response > c.Request:
		parts[2] = "response of " + size(c.Response)
	default:
		parts[2] = size(c.Request) + " each way"
	}
	if c.Streamed {
		parts = append(parts, "streamed")
	}
	title := strings.Join(parts, ", ")
	return strings.ToUpper(title[:1]) + title[1:]
}

// size returns a number of bytes for people.
func size(n int) string {
	switch {
	case n >= mib && n%mib == 0:
		return fmt.Sprintf("%d MiB", n/mib)
	case n >= 1e6 && n%1e6 == 0:
		return fmt.Sprintf("%d MB", int(n/1e6))
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}

func shortSize(n int) string { return strings.ReplaceAll(size(n), " ", "") }

// chooseCases returns the cases that are measured: those whose names match,
// or the usual ones if names is nil.
func chooseCases(names *regexp.Regexp, quick bool) []benchCase {
	var chosen []benchCase
	for _, c := range allCases() {
		switch {
		case names != nil && !names.MatchString(c.name()),
			names == nil && quick && !c.quick(),
			names == nil && !c.usual():
		default:
			chosen = append(chosen, c)
		}
	}
	return chosen
}

// service returns what a server does in the exchange: it takes the whole
// request and answers with bytes that are ready.
func (x exchange) service() service {
	var response []byte
	if !x.Streamed {
		response = pattern(x.Response)
	}
	block := pattern(chunk)
	return service{
		answer: func(request []byte) []byte {
			if len(request) != x.Request {
				return nil // which the client refuses
			}
			return response
		},
		stream: func(request io.Reader) (io.Reader, error) {
			n, err := copyChunks(writerOnly{io.Discard}, request)
			if err == nil && n != int64(x.Request) {
				err = fmt.Errorf("request of %d bytes instead of %d", n, x.Request)
			}
			return &source{block, x.Response}, err
		},
	}
}

// pattern returns n bytes of different values.
func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range min(n, 251) {
		p[i] = byte(i)
	}
	for i := 251; i < n; i *= 2 {
		copy(p[i:], p[:i])
	}
	return p
}

// A source is a stream that is not in memory as a whole.
type source struct {
	block []byte
	left  int
}

func (s *source) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.left)], s.block)
	s.left -= n
	return n, nil
}

// do makes one exchange on a kept connection.
func (x exchange) do(c conn, b *buffers) error {
	if x.Streamed {
		b.sink = 0
		err := c.stream(&b.sink, &source{b.block, x.Request})
		return x.check(int(b.sink), err)
	}
	response, err := c.call(b.response, b.request)
	if err == nil {
		b.response = response
	}
	return x.check(len(response), err)
}

// doOnce makes one exchange on a new connection.
func (x exchange) doOnce(p peer, path string, b *buffers) error {
	if p, ok := p.(oneShot); ok {
		if x.Streamed {
			b.sink = 0
			err := p.streamOnce(path, &b.sink, &source{b.block, x.Request})
			return x.check(int(b.sink), err)
		}
		response, err := p.callOnce(path, b.request)
		return x.check(len(response), err)
	}
	c, err := p.dial(path, x)
	if err != nil {
		return err
	}
	if err := x.do(c, b); err != nil {
		_ = c.Close()
		return err
	}
	return c.Close()
}

func (x exchange) check(n int, err error) error {
	if err == nil && n != x.Response {
		err = fmt.Errorf("response of %d bytes instead of %d", n, x.Response)
	}
	return err
}

// buffers are what a caller uses again for each exchange.
type buffers struct {
	request, response []byte
	block             []byte
	sink              counter
}

func newBuffers(x exchange) *buffers {
	b := &buffers{block: pattern(chunk)}
	if !x.Streamed {
		b.request = pattern(x.Request)
		b.response = bytes.Repeat([]byte{1}, x.Response) // the memory is there
	}
	return b
}

// A counter counts what is written to it.
type counter int

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
