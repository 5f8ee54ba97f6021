package main

import (
	"errors"
	"io"
	"sync"
	"time"

	"example.com/simpleipc"
	"example.com/simpleipc/pktline"
)

// A proxied connection is that of a client to the proxy, and that of the proxy
// to the server.
type proxied struct {
	client, server *simpleipc.RawConn
	number         int
	began          time.Duration // by the clock
	events         chan<- event

	mu                  sync.Mutex
	requests, responses stream
	asked               []question // that have no whole response yet
	exchanges           int
	gone                string // who was the first to hang up
}

// A stream is what passes in one direction.
type stream struct {
	dissector
	bytes   int64 // of all that has passed
	begun   bool  // packets of a message have passed, and not its end
	message int64 // data bytes of these
}

// A question is a request that has passed.
type question struct {
	bytes int64
	at    time.Duration // by the clock
}

// pass passes on what both sides send, until they have hung up.
func (c *proxied) pass(keep int) {
	c.events <- &openedEvent{c.stamp("opened"), peer(c.client.Peer()), peer(c.server.Peer())}
	c.requests.dissector = dissector{keep: keep, found: c.foundRequest}
	c.responses.dissector = dissector{keep: keep, found: c.foundResponse}
	var directions sync.WaitGroup
	directions.Go(c.passRequests)
	directions.Go(c.passResponses)
	directions.Wait()
	c.events <- &closedEvent{c.stamp("closed"), c.exchanges, len(c.asked), c.requests.bytes, c.responses.bytes}
}

// passRequests passes on what the client sends.
func (c *proxied) passRequests() {
	sender, err := c.forward(&c.requests, c.client, c.server)
	switch {
	case !sender:
		c.hungUp("server") // what it has sent before that is still to be passed on
	case err == io.EOF:
		c.hungUp("client")
		// The client may still read. With a pipe it does not; and the server may
		// have gone, which is no matter.
		if err := c.server.CloseWrite(); errors.Is(err, errors.ErrUnsupported) {
			c.server.Close()
		}
	default:
		c.hungUp("client")
		c.server.Close()
	}
}

// passResponses passes on what the server sends. A server that has ended its
// stream does not read either, and a client that does not read has gone.
func (c *proxied) passResponses() {
	if sender, _ := c.forward(&c.responses, c.server, c.client); sender {
		c.hungUp("server")
	} else {
		c.hungUp("client")
	}
	c.client.Close()
	c.server.Close()
}

// forward passes on a stream until there is an error, and tells whether that is
// the sender's.
func (c *proxied) forward(s *stream, from, to *simpleipc.RawConn) (sender bool, err error) {
	buf := make([]byte, pktline.MaxPacket)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			// It is told first, or an answer might be told before the question.
			c.mu.Lock()
			s.bytes += int64(n)
			s.pass(buf[:n])
			c.mu.Unlock()
			if _, err := to.Write(buf[:n]); err != nil {
				return false, err
			}
		}
		if err != nil {
			return true, err
		}
	}
}

// foundRequest takes a packet from the client. c.mu is held.
func (c *proxied) foundRequest(p packet) {
	c.events <- newPacketEvent(c.stamp("packet"), "request", p)
	if n, ok := c.requests.count(p); ok {
		c.asked = append(c.asked, question{n, clock()})
	}
}

// foundResponse takes a packet from the server. c.mu is held.
func (c *proxied) foundResponse(p packet) {
	c.events <- newPacketEvent(c.stamp("packet"), "response", p)
	if n, ok := c.responses.count(p); ok && len(c.asked) > 0 {
		c.exchanges++
		q := c.asked[0]
		c.asked = c.asked[1:]
		c.events <- &exchangeEvent{c.stamp("exchange"), c.exchanges, q.bytes, n, micros(clock() - q.at)}
	}
}

// count counts a packet. If it ends a message, count returns the message's size.
func (s *stream) count(p packet) (n int64, complete bool) {
	if p.kind != pktline.Flush {
		s.begun = true
		s.message += int64(p.size)
		return 0, false
	}
	n = s.message
	s.begun, s.message = false, 0
	return n, true
}

// hungUp tells that a side has hung up, if it is the first.
func (c *proxied) hungUp(side string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone != "" {
		return
	}
	c.gone = side
	sent := &c.requests
	if side == "server" {
		sent = &c.responses
	}
	c.events <- &hungUpEvent{c.stamp("hung_up"), side, c.phase(), sent.unfinished()}
}

// phase tells how far an exchange has come. c.mu is held.
func (c *proxied) phase() string {
	switch {
	case c.responses.begun || c.responses.unfinished() != "":
		return "response"
	case c.requests.begun || c.requests.unfinished() != "":
		return "request"
	case len(c.asked) > 0:
		return "waiting"
	}
	return "idle"
}

// cut closes the connection because the proxy ends.
func (c *proxied) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone == "" {
		c.gone = "proxy"
	}
	c.client.Close()
	c.server.Close()
}

func (c *proxied) stamp(name string) stamp {
	return stamp{c.number, micros(clock() - c.began), name}
}
