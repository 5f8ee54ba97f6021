package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"example.com/simpleipc"
)

// An event is what a proxy tells: a JSON object, or a line of text.
type event interface {
	text(*textFormat) string
}

// A stamp is what all events have.
type stamp struct {
	Connection int    `json:"connection"` // counted from 1
	Time       micros `json:"time_us"`    // since it was accepted
	Event      string `json:"event"`
}

type openedEvent struct {
	stamp
	Client peer `json:"client"`
	Server peer `json:"server"`
}

type refusedEvent struct {
	stamp
	Client peer   `json:"client"`
	Error  string `json:"error"`
}

type packetEvent struct {
	stamp
	Direction string `json:"direction"` // "request" or "response"
	Header    string `json:"header,omitempty"`
	Kind      string `json:"kind"`                  // "none" for what is no packet
	Length    int    `json:"length"`                // of the data
	Data      string `json:"data,omitempty"`        // as much of it as is shown, if that is UTF-8
	Base64    []byte `json:"data_base64,omitempty"` // if it is not

	data []byte
}

type exchangeEvent struct {
	stamp
	Number        int    `json:"number"`
	RequestBytes  int64  `json:"request_bytes"`
	ResponseBytes int64  `json:"response_bytes"`
	Latency       micros `json:"latency_us"` // from flush to flush
}

type hungUpEvent struct {
	stamp
	By         string `json:"by"`                   // "client" or "server"
	During     string `json:"during"`               // "idle", "request", "waiting" or "response"
	Unfinished string `json:"unfinished,omitempty"` // what is missing of a packet
}

type closedEvent struct {
	stamp
	Exchanges     int   `json:"exchanges"`
	Unanswered    int   `json:"unanswered"`
	RequestBytes  int64 `json:"request_bytes"` // with the framing
	ResponseBytes int64 `json:"response_bytes"`
}

func newPacketEvent(s stamp, direction string, p packet) *packetEvent {
	e := &packetEvent{stamp: s, Direction: direction, Header: p.header, Kind: p.kind.String(), Length: p.size, data: p.data}
	if p.header == "" {
		e.Kind = "none"
	}
	if utf8.Valid(p.data) {
		e.Data = string(p.data)
	} else {
		e.Base64 = p.data
	}
	return e
}

// defaultKeep is how many bytes of a packet are told unless that is said.
const defaultKeep = 64

func formatJSON(e event) []byte {
	line, err := json.Marshal(e)
	if err != nil {
		panic(err) // it is made of numbers and strings
	}
	return append(line, '\n')
}

// A textFormat is how events become lines of text.
type textFormat struct {
	paint painter
	width int // how wide a line with data may be
}

func newTextFormat(out *os.File, fit bool) func(event) []byte {
	f := &textFormat{paint: newPainter(out), width: 80}
	if !fit {
		f.width = math.MaxInt
	}
	return func(e event) []byte { return append([]byte(e.text(f)), '\n') }
}

func (s stamp) prefix() string {
	return fmt.Sprintf("#%d %11.6f ", s.Connection, time.Duration(s.Time).Seconds())
}

func (e *openedEvent) text(f *textFormat) string {
	return e.prefix() + f.paint.paint(bold, "client: "+simpleipc.Peer(e.Client).String())
}

func (e *refusedEvent) text(f *textFormat) string {
	return e.prefix() + f.paint.paint(red, fmt.Sprintf("hung up on %v: %s", simpleipc.Peer(e.Client), e.Error))
}

func (e *packetEvent) text(f *textFormat) string {
	arrow, colour := "->", cyan
	if e.Direction == "response" {
		arrow, colour = "<-", green
	}
	what := e.Header + " " + e.Kind
	if e.Header == "" {
		what, colour = "no packet", red
	}
	line := e.prefix() + arrow + " " + what
	if e.Length > 0 {
		line += fmt.Sprintf(" %5d ", e.Length)
		line += quote(e.data, e.Length, f.width-columns(line))
	}
	return f.paint.paint(colour, line)
}

func (e *exchangeEvent) text(f *textFormat) string {
	return e.prefix() + f.paint.paint(bold, fmt.Sprintf("exchange %d: %d bytes, answered by %d bytes in %s",
		e.Number, e.RequestBytes, e.ResponseBytes, roundLatency(time.Duration(e.Latency))))
}

func (e *hungUpEvent) text(f *textFormat) string {
	what, colour := e.By+" hangs up", bold
	switch e.During {
	case "request":
		what += " in the request"
	case "waiting":
		what += " before the response"
	case "response":
		what += " in the response"
	}
	if e.Unfinished != "" {
		what += ", " + e.Unfinished
	}
	if e.During != "idle" {
		colour = red
	}
	return e.prefix() + f.paint.paint(colour, what)
}

func (e *closedEvent) text(f *textFormat) string {
	return e.prefix() + f.paint.paint(bold, fmt.Sprintf("closed after %s, %s there and %d back",
		plural(int64(e.Exchanges), "exchange"), plural(e.RequestBytes, "byte"), e.ResponseBytes))
}

// quote returns what is known of data that has this size, as a Go string, not
// wider than that. Behind one that is not complete there are three dots.
func quote(data []byte, size, width int) string {
	const dots = "..."
	var b strings.Builder
	width -= len(`""`) + len(dots)
	shown := 0
	for shown < len(data) {
		_, n := utf8.DecodeRune(data[shown:])
		s := strconv.Quote(string(data[shown : shown+n]))
		s = s[1 : len(s)-1]
		if width -= columns(s); width < 0 {
			break
		}
		b.WriteString(s)
		shown += n
	}
	quoted := `"` + b.String() + `"`
	if shown < size {
		quoted += dots
	}
	return quoted
}
