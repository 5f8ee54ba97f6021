package simpleipc

import (
	"encoding/json"
	"fmt"
	"sync/atomic"
)

// Stats counts what a server has done since it began to serve. See
// [Server.StatsVar] for programs that publish it.
type Stats struct {
	// Connections accepted so far, and open now. Those of peers that were
	// refused count as accepted.
	Accepted int64 `json:"accepted"`
	Open     int64 `json:"open"`

	// Whole requests received so far, those that wait for a worker now, and
	// those that are being handled now. Of a streamed request, the beginning
	// counts.
	Requests int64 `json:"requests"`
	Waiting  int64 `json:"waiting"`
	Active   int64 `json:"active"`

	// Responses sent to their end.
	Responses int64 `json:"responses"`

	// Bytes received and sent, with the framing.
	BytesIn  int64 `json:"bytes_in"`
	BytesOut int64 `json:"bytes_out"`

	// Connections that were closed before the response to a request was
	// complete, by cause. A probe, which sends nothing, is none.
	Dropped Dropped `json:"dropped"`

	// Connections closed because they were idle for longer than IdleTimeout.
	Idle int64 `json:"idle"`

	// Failures to accept a connection, each followed by another attempt.
	AcceptErrors int64 `json:"accept_errors"`
}

// Dropped counts connections that were dropped, by cause.
type Dropped struct {
	Refused   int64 `json:"refused"`   // Authorize refused the peer
	Malformed int64 `json:"malformed"` // what came was no request
	TooLarge  int64 `json:"too_large"` // the request exceeded MaxRequest
	CutShort  int64 `json:"cut_short"` // the client hung up within its request
	Slow      int64 `json:"slow"`      // the request took longer than ReadTimeout
	Overload  int64 `json:"overload"`  // MaxWaiting requests were waiting
	HungUp    int64 `json:"hung_up"`   // the client hung up before its response was sent
	Stalled   int64 `json:"stalled"`   // the client did not read for longer than WriteTimeout
	Failed    int64 `json:"failed"`    // the handler returned an error
	Panicked  int64 `json:"panicked"`  // the handler panicked
	Closed    int64 `json:"closed"`    // the server was closed or shut down
}

// counters are the Stats in the making.
type counters struct {
	accepted, open, requests, waiting, active, responses, bytesIn, bytesOut, idle, acceptErrors atomic.Int64

	refused, malformed, tooLarge, cutShort, slow, overload, hungUp, stalled, failed, panicked, closed atomic.Int64
}

// Stats returns the counts so far. It takes no lock: requests go on meanwhile,
// so the counts may be an instant apart.
func (s *Server) Stats() Stats {
	c := &s.counters
	return Stats{
		Accepted: c.accepted.Load(), Open: c.open.Load(),
		Requests: c.requests.Load(), Waiting: c.waiting.Load(), Active: c.active.Load(), Responses: c.responses.Load(),
		BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(),
		Dropped: Dropped{
			Refused: c.refused.Load(), Malformed: c.malformed.Load(), TooLarge: c.tooLarge.Load(),
			CutShort: c.cutShort.Load(), Slow: c.slow.Load(), Overload: c.overload.Load(),
			HungUp: c.hungUp.Load(), Stalled: c.stalled.Load(), Failed: c.failed.Load(),
			Panicked: c.panicked.Load(), Closed: c.closed.Load(),
		},
		Idle: c.idle.Load(), AcceptErrors: c.acceptErrors.Load(),
	}
}

// StatsVar returns the Stats as a variable that is published: its String method
// returns the counts as they are when it is called, as a JSON object. It is an
// expvar.Var:
//
//	expvar.Publish("ipc", srv.StatsVar())
//
// Package expvar is not imported here, because net/http comes with it.
func (s *Server) StatsVar() fmt.Stringer { return statsVar{s} }

type statsVar struct{ srv *Server }

func (v statsVar) String() string {
	b, _ := json.Marshal(v.srv.Stats()) // numbers can be encoded
	return string(b)
}
