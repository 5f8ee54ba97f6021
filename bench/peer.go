package main

import (
	"io"
	"regexp"
	"sync"
)

// A peer is one way to send a request to another process and get a response.
type peer interface {
	// listen serves s at path until the server is closed.
	listen(path string, x exchange, s service) (io.Closer, error)

	// dial connects to the server at path, for any number of exchanges.
	dial(path string, x exchange) (conn, error)
}

// A conn is a client's connection.
type conn interface {
	// call sends request and returns the response, which may be in buf.
	call(buf, request []byte) ([]byte, error)

	// stream sends what request has, and copies the response to w.
	stream(w io.Writer, request io.Reader) error

	io.Closer
}

// A oneShot peer has a call of its own for one exchange on a new connection.
type oneShot interface {
	callOnce(path string, request []byte) ([]byte, error)
	streamOnce(path string, w io.Writer, request io.Reader) error
}

// An exchange is the sizes of a request and its response. A peer without a
// protocol knows by it where they end.
type exchange struct {
	Request, Response int
	Streamed          bool `json:",omitempty"`
	Workers           int  `json:",omitempty"` // of a server that has such; 0 is its default
}

// A service is what a server does, whatever its protocol. The response may be
// or use the request's memory.
type service struct {
	answer func(request []byte) []byte
	stream func(request io.Reader) (io.Reader, error)
}

// A contender is a peer in the benchmark.
type contender struct {
	name   string
	about  string
	peer   peer
	shared bool // all callers use one connection
	takes  func(benchCase) bool
}

// baseline is the contender that the others are compared with.
const baseline = "net"

// ours is the contender that the benchmark is about.
const ours = "simpleipc"

// contenders are listed in the order of the reports.
var contenders = []contender{
	{name: ours, about: "this project: Call on new connections, Conn.AppendCall with a buffer that is used again on kept ones, CallStream",
		peer: simpleIPC{}, takes: everything},
	{name: "simpleipc-call", about: "this project: Conn.Call, whose response is the caller's to keep",
		peer: simpleIPC{keep: true}, takes: func(c benchCase) bool { return !c.New && !c.Streamed }},
	{name: baseline, about: "net.Conn without a protocol: both sides know all lengths",
		peer: bareNet{}, takes: everything},
	{name: "raw", about: "blocking system calls without a protocol, a thread for each connection",
		peer: rawSocket{}, takes: everything},
	{name: "pktline", about: "github.com/git-lfs/pktline over net.Conn",
		peer: lfsPktline{}, takes: everything},
	{name: "rpc", about: "net/rpc of the standard library",
		peer: netRPC{}, takes: func(c benchCase) bool { return !c.Streamed }},
	{name: "ttrpc", about: "github.com/containerd/ttrpc",
		peer: ttRPC{}, takes: func(c benchCase) bool { return c.Streamed || c.largest() < maxTTRPC }},
	{name: "ttrpc-shared", about: "ttrpc, all callers on one connection",
		peer: ttRPC{}, shared: true, takes: sharing},
	{name: "grpc", about: "google.golang.org/grpc with its default settings, messages of any size allowed",
		peer: gRPC{}, takes: everything},
	{name: "grpc-shared", about: "grpc, all callers on one connection",
		peer: gRPC{}, shared: true, takes: sharing},
}

func everything(benchCase) bool { return true }

// sharing reports whether it makes a difference that callers share a
// connection.
func sharing(c benchCase) bool { return !c.New && c.Callers > 1 && c.largest() < 1<<20 }

func findContender(name string) (contender, bool) {
	for _, c := range contenders {
		if c.name == name {
			return c, true
		}
	}
	return contender{}, false
}

// matching returns the contenders whose names match.
func matching(names *regexp.Regexp) []contender {
	var found []contender
	for _, c := range contenders {
		if names.MatchString(c.name) {
			found = append(found, c)
		}
	}
	return found
}

// chunk is how much of a streamed message is moved at once.
const chunk = 64 << 10

// chunks holds buffers of that size, as *[]byte.
var chunks = sync.Pool{New: func() any {
	b := make([]byte, chunk)
	return &b
}}

// copyChunks copies src to dst, by a buffer of one chunk unless src or dst has
// a better way.
func copyChunks(dst io.Writer, src io.Reader) (int64, error) {
	buf := chunks.Get().(*[]byte)
	defer chunks.Put(buf)
	return io.CopyBuffer(dst, src, *buf)
}

// writerOnly hides all other methods, such as one that copies with a buffer of
// the standard library's choice.
type writerOnly struct{ io.Writer }

// messages holds memory for whole requests on servers, as *[]byte.
var messages = sync.Pool{New: func() any { return new([]byte) }}

// messageBuffer returns a buffer of n bytes from messages.
func messageBuffer(n int) *[]byte {
	buf := messages.Get().(*[]byte)
	if cap(*buf) < n {
		*buf = make([]byte, n)
	}
	*buf = (*buf)[:n]
	return buf
}
