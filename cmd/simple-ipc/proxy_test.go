package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"example.com/simpleipc"
)

// A testProxy is a proxy whose events are kept.
type testProxy struct {
	*proxy
	path string
	told chan event // all that one test makes fit
	stop func()
	err  chan error // of serve
}

// startProxy starts a proxy for the server at name.
func startProxy(t *testing.T, name string) *testProxy {
	t.Helper()
	tp := newProxy(t, name)
	tp.start(t)
	return tp
}

// newProxy returns one that is still to be started.
func newProxy(t *testing.T, name string) *testProxy {
	tp := &testProxy{path: filepath.Join(t.TempDir(), "proxy"), told: make(chan event, 10000), err: make(chan error, 1)}
	tp.proxy = &proxy{server: name, keep: defaultKeep, authorize: simpleipc.SameUser, out: io.Discard}
	tp.format = func(e event) []byte {
		tp.told <- e
		return nil
	}
	return tp
}

func (tp *testProxy) start(t *testing.T) {
	t.Helper()
	l, err := simpleipc.Listen(t.Context(), tp.path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	tp.stop = cancel
	go func() { tp.err <- tp.serve(ctx, l) }()
	t.Cleanup(cancel)
}

// end stops the proxy. Nothing of it is left.
func (tp *testProxy) end(t *testing.T) {
	t.Helper()
	tp.stop()
	if err := <-tp.err; err != nil {
		t.Errorf("serve: %v", err)
	}
	if s, err := simpleipc.Probe(t.Context(), tp.path); s != simpleipc.PathNotFound {
		t.Errorf("the socket was left: %v", err)
	}
}

var timesTold = regexp.MustCompile(`^#\d+ +\d+\.\d{6} | in [0-9.]+ [nµm]?s$`)

// expect waits until a connection is closed, and compares what is told of it,
// as lines without times.
func (tp *testProxy) expect(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	late := time.After(testPatience)
	for ended := false; !ended; {
		select {
		case e := <-tp.told:
			got = append(got, timesTold.ReplaceAllString(e.text(&textFormat{width: 80}), ""))
			switch e.(type) {
			case *closedEvent, *refusedEvent:
				ended = true
			}
		case <-late:
			t.Fatalf("the connection is not closed: %q", got)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("it is told:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// client is the first line of a connection.
func client() string {
	return "client: " + thisProcess().String()
}

func TestProxy(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Run("serving", func(t *testing.T) {
		tp := startProxy(t, serve(t, handler{echo: true}))
		defer tp.end(t)
		c, err := new(simpleipc.Dialer).Dial(t.Context(), tp.path)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.Call(t.Context(), []byte("ping")); err != nil || string(got) != "pong" {
			t.Errorf("the answer is %q, %v", got, err)
		}
		if got, err := c.Call(t.Context(), []byte("echo ")); err != nil || len(got) > 0 {
			t.Errorf("the answer is %q, %v", got, err)
		}
		c.Close()
		tp.expect(t, client(),
			`-> 0008 data     4 "ping"`,
			`-> 0000 flush`,
			`<- 0008 data     4 "pong"`,
			`<- 0000 flush`,
			`exchange 1: 4 bytes, answered by 4 bytes`,
			`-> 0009 data     5 "echo "`,
			`-> 0000 flush`,
			`<- 0000 flush`,
			`exchange 2: 5 bytes, answered by 0 bytes`,
			`client hangs up`,
			`closed after 2 exchanges, 25 bytes there and 16 back`)

		if _, err := simpleipc.Probe(t.Context(), tp.path); err != nil {
			t.Error(err)
		}
		tp.expect(t, client(), "client hangs up", "closed after 0 exchanges, 0 bytes there and 0 back")
	})
}

// Any bytes pass unchanged, in messages of any size.
func TestProxyLarge(t *testing.T) {
	tp := startProxy(t, serve(t, handler{echo: true}))
	defer tp.end(t)
	data := make([]byte, 3000000)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	got, err := simpleipc.Call(t.Context(), tp.path, append([]byte("echo "), data...))
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
}

// serveRaw calls answer with each connection, until the test ends.
func serveRaw(t *testing.T, answer func(*simpleipc.RawConn)) (path string) {
	t.Helper()
	l, err := simpleipc.Listen(t.Context(), filepath.Join(t.TempDir(), "raw"))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			answer(c)
			c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
	return l.Path()
}

// dialRaw connects without the protocol.
func dialRaw(t *testing.T, path string) *simpleipc.RawConn {
	t.Helper()
	c, err := new(simpleipc.Dialer).DialRaw(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(testPatience))
	return c
}

// A client sees the same with the proxy as without it, whatever a server does.
func TestProxyIsFaithful(t *testing.T) {
	// reads returns a server that reads so much of a request, and answers.
	reads := func(n int, answer string) func(*simpleipc.RawConn) {
		return func(c *simpleipc.RawConn) {
			_, _ = io.ReadFull(c, make([]byte, n))
			_, _ = io.WriteString(c, answer)
		}
	}
	toItsEnd := func(c *simpleipc.RawConn) {
		request, _ := io.ReadAll(c)
		_, _ = fmt.Fprintf(c, "%s?", request)
	}
	const ping = "0008ping0000"
	for _, tt := range []struct {
		name    string
		server  func(*simpleipc.RawConn)
		request string
		half    bool // the client ends its stream
		told    []string
	}{
		{"a whole response", reads(12, "0008pong0000"), ping, false, []string{
			`-> 0008 data     4 "ping"`, `-> 0000 flush`, `<- 0008 data     4 "pong"`, `<- 0000 flush`,
			`exchange 1: 4 bytes, answered by 4 bytes`, `server hangs up`, `closed after 1 exchange, 12 bytes there and 12 back`,
		}},
		{"a response that is broken off", reads(12, "0008po"), ping, false, []string{
			`-> 0008 data     4 "ping"`, `-> 0000 flush`,
			`server hangs up in the response, 2 of 4 bytes into a packet`, `closed after 0 exchanges, 12 bytes there and 6 back`,
		}},
		{"a response without its end", reads(12, "0008pong"), ping, false, []string{
			`-> 0008 data     4 "ping"`, `-> 0000 flush`, `<- 0008 data     4 "pong"`,
			`server hangs up in the response`, `closed after 0 exchanges, 12 bytes there and 8 back`,
		}},
		{"no response", reads(12, ""), ping, false, []string{
			`-> 0008 data     4 "ping"`, `-> 0000 flush`,
			`server hangs up before the response`, `closed after 0 exchanges, 12 bytes there and 0 back`,
		}},
		{"no whole request", reads(10, ""), ping[:10], false, []string{
			`-> 0008 data     4 "ping"`,
			`server hangs up in the request`, `closed after 0 exchanges, 10 bytes there and 0 back`,
		}},
		{"a response to nothing", reads(0, "000asurely0000"), "", false, []string{
			`<- 000a data     6 "surely"`, `<- 0000 flush`,
			`server hangs up`, `closed after 0 exchanges, 0 bytes there and 14 back`,
		}},
		{"garbage", reads(4, "\x00\xff\nrubbish"), "what", false, []string{
			`-> no packet     4 "what"`, `<- no packet    10 "\x00\xff\nrubbish"`,
			`server hangs up in the response`, `closed after 0 exchanges, 4 bytes there and 10 back`,
		}},
		{"other packets", reads(8, "00020004"), "00010000", false, []string{
			`-> 0001 delim`, `-> 0000 flush`, `<- 0002 response-end`, `<- 0004 data`,
			`server hangs up in the response`, `closed after 0 exchanges, 8 bytes there and 8 back`,
		}},
		{"a client that ends its stream first", toItsEnd, "000", true, []string{
			`client hangs up in the request, 3 of 4 bytes into a header`,
			`<- no packet     4 "000?"`, `closed after 0 exchanges, 3 bytes there and 4 back`,
		}},
	} {
		if tt.half && runtime.GOOS == "windows" {
			continue // a pipe can only be closed as a whole
		}
		t.Run(tt.name, func(t *testing.T) {
			// What a client sees, to the end and behind it.
			sees := func(path string) string {
				c := dialRaw(t, path)
				var err error
				if tt.request != "" {
					_, err = io.WriteString(c, tt.request)
				}
				if tt.half {
					err = errors.Join(err, c.CloseWrite())
				}
				got, rerr := io.ReadAll(c)
				_, werr := c.Write([]byte("more"))
				return fmt.Sprintf("%v: %q, %v; %v", err, got, rerr, errors.Is(werr, syscall.EPIPE))
			}
			path := serveRaw(t, tt.server)
			tp := startProxy(t, path)
			defer tp.end(t)
			if got, want := sees(tp.path), sees(path); got != want {
				t.Errorf("a client sees %s, and %s without the proxy", got, want)
			}
			tp.expect(t, append([]string{client()}, tt.told...)...)
		})
	}
}

// Nothing is held back, not even what is no packet yet or never will be.
func TestProxyIsPrompt(t *testing.T) {
	tp := startProxy(t, serveRaw(t, func(c *simpleipc.RawConn) { _, _ = io.Copy(c, c) }))
	defer tp.end(t)
	c := dialRaw(t, tp.path)
	for _, b := range []byte("0008pi!!") {
		if _, err := c.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatalf("%q did not come back: %v", b, err)
		}
	}
	c.Close()
	tp.expect(t, client(), `-> 0008 data     4 "pi!!"`, `<- 0008 data     4 "pi!!"`,
		"client hangs up in the response", "closed after 0 exchanges, 8 bytes there and 8 back")
}

// A client that hangs up in the middle of a response is noticed by the server.
func TestProxyClientHangsUp(t *testing.T) {
	noticed := make(chan error, 1)
	tp := startProxy(t, serve(t, simpleipc.HandlerFunc(func(ctx context.Context, w *simpleipc.ResponseWriter, _ *simpleipc.Request) error {
		_, _ = w.WriteString("begun")
		_ = w.Send()
		<-ctx.Done()
		noticed <- context.Cause(ctx)
		return ctx.Err()
	})))
	defer tp.end(t)
	r := begin(t, tp.path, "x")
	if _, err := io.ReadFull(r, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	r.Close()
	if err := <-noticed; !errors.Is(err, simpleipc.ErrConnClosed) {
		t.Errorf("the handler was told %v", err)
	}
	tp.expect(t, client(), `-> 0005 data     1 "x"`, `-> 0000 flush`, `<- 0009 data     5 "begun"`,
		"client hangs up in the response", "closed after 0 exchanges, 9 bytes there and 9 back")
}

// A client for whom nothing can be done is hung up on.
func TestProxyRefuses(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	absent := newProxy(t, none)
	stranger := newProxy(t, serve(t, handler{}))
	stranger.authorize = func(simpleipc.Peer) error { return simpleipc.ErrUnauthorized }
	self := newProxy(t, "")
	self.server, self.pid = self.path, os.Getpid()
	for _, tt := range []struct {
		proxy *testProxy
		why   string
	}{
		{absent, "path not found '" + none + "'"},
		{stranger, simpleipc.ErrUnauthorized.Error()},
		{self, "the server at '" + self.path + "' is this proxy"},
	} {
		tt.proxy.start(t)
		if got, err := io.ReadAll(dialRaw(t, tt.proxy.path)); err != nil || len(got) > 0 {
			t.Errorf("the client sees %q, %v", got, err)
		}
		e, ok := (<-tt.proxy.told).(*refusedEvent)
		if !ok || e.Error != tt.why || e.Client.PID != os.Getpid() && e.Client.PID > 0 {
			t.Errorf("it is told %+v; want %s", e, tt.why)
		}
		// It is of two connections if the proxy was its own client.
		for tt.proxy.end(t); len(tt.proxy.told) > 0; {
			if e, ok := (<-tt.proxy.told).(*closedEvent); ok {
				t.Errorf("it is told %+v, too", e)
			}
		}
	}
}

// A proxy that ends closes all connections, whatever passes on them.
func TestProxyEnds(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Run("serving", func(t *testing.T) {
		tp := startProxy(t, serve(t, handler{}))
		r := begin(t, tp.path, "slow")
		idle := dialRaw(t, tp.path)
		full := dialRaw(t, tp.path)
		full.SetDeadline(time.Now().Add(testPatience))
		go func() { _, _ = io.WriteString(full, "0007big0000") }()
		if _, err := io.ReadFull(full, make([]byte, 1)); err != nil { // of 800 kB that nobody reads
			t.Fatal(err)
		}
		tp.end(t)
		if _, err := io.Copy(io.Discard, r); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("a client that is being answered gets %v", err)
		}
		if n, err := idle.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("an idle client gets %d bytes, %v", n, err)
		}
	})
}

// A proxy does not go on when it is of no use any more.
func TestProxyFails(t *testing.T) {
	t.Parallel()
	silent := newProxy(t, "none")
	silent.format = func(event) []byte { return []byte("line") }
	full := errors.New("no room")
	silent.out = failingWriter{full}
	silent.start(t)
	dialRaw(t, silent.path)
	if err := <-silent.err; err != full {
		t.Errorf("without its output: %v", err)
	}
	if s, err := simpleipc.Probe(t.Context(), silent.path); s != simpleipc.PathNotFound {
		t.Errorf("the socket was left: %v", err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

// All that is told is there as JSON objects.
func TestProxyJSON(t *testing.T) {
	tp := startProxy(t, serve(t, handler{echo: true}))
	defer tp.end(t)
	if _, err := simpleipc.Call(t.Context(), tp.path, []byte("echo \xff")); err != nil {
		t.Fatal(err)
	}
	var got []string
	for range 8 {
		line := formatJSON(<-tp.told)
		var e struct {
			Connection int
			Time       float64 `json:"time_us"`
			Latency    float64 `json:"latency_us"`
		}
		if err := json.Unmarshal(line, &e); err != nil || e.Connection != 1 || e.Time <= 0 || bytes.Contains(line, []byte("latency_us")) != (e.Latency > 0) {
			t.Errorf("%s: %v", line, err)
		}
		got = append(got, regexp.MustCompile(`("(time_us|latency_us)":)[0-9.]+`).ReplaceAllString(string(line), "${1}0"))
	}
	self, err := json.Marshal(peer(thisProcess()))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`{"connection":1,"time_us":0,"event":"opened","client":` + string(self) + `,"server":` + string(self) + `}`,
		`{"connection":1,"time_us":0,"event":"packet","direction":"request","header":"000a","kind":"data","length":6,"data_base64":"ZWNobyD/"}`,
		`{"connection":1,"time_us":0,"event":"packet","direction":"request","header":"0000","kind":"flush","length":0}`,
		`{"connection":1,"time_us":0,"event":"packet","direction":"response","header":"0005","kind":"data","length":1,"data_base64":"/w=="}`,
		`{"connection":1,"time_us":0,"event":"packet","direction":"response","header":"0000","kind":"flush","length":0}`,
		`{"connection":1,"time_us":0,"event":"exchange","number":1,"request_bytes":6,"response_bytes":1,"latency_us":0}`,
		`{"connection":1,"time_us":0,"event":"hung_up","by":"client","during":"idle"}`,
		`{"connection":1,"time_us":0,"event":"closed","exchanges":1,"unanswered":0,"request_bytes":14,"response_bytes":9}`,
	}
	if strings.Join(got, "") != strings.Join(want, "\n")+"\n" {
		t.Errorf("it is told:\n%s\nwant:\n%s", strings.Join(got, ""), strings.Join(want, "\n"))
	}
}

func TestQuote(t *testing.T) {
	for _, tt := range []struct {
		data        string
		size, width int
		want        string
	}{
		{"", 0, 80, `""`},
		{"ping", 4, 9, `"ping"`},
		{"ping", 4, 8, `"pin"...`},
		{"ping", 5, 80, `"ping"...`},
		{"a\x00\n\"", 4, 80, `"a\x00\n\""`},
		{"a\x00", 2, 9, `"a"...`},
		{"äö\xc3", 5, 80, `"äö\xc3"`},
		{"日本", 6, 8, `"日"...`},
		{"x", 1, 0, `""...`},
	} {
		got := quote([]byte(tt.data), tt.size, tt.width)
		if got != tt.want || tt.width >= 5 && columns(got) > tt.width {
			t.Errorf("%q in %d columns: %s, want %s", tt.data, tt.width, got, tt.want)
		}
	}
}
