package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"example.com/simpleipc"
)

// A goCommand is the other side of a prog, as the go command is.
type goCommand struct {
	*prog
	in       io.WriteCloser
	out      *json.Decoder
	done     chan struct{} // closed when run has returned
	err      error         // what it returned
	warnings atomic.Int64
}

// startProg starts a prog that uses c. It ends with the test.
func startProg(t testing.TB, c *client) *goCommand {
	t.Helper()
	stdin, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, stdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	g := &goCommand{in: in, out: json.NewDecoder(out), done: make(chan struct{})}
	g.prog = &prog{client: c, local: objects(t.TempDir()), warn: func(error) { g.warnings.Add(1) }}
	go func() {
		defer close(g.done)
		g.err = g.run(context.Background(), stdin, stdout)
		stdin.Close()
		stdout.Close()
	}()
	t.Cleanup(func() {
		in.Close()
		out.Close()
		<-g.done
	})
	if r := g.response(t); r.ID != 0 || strings.Join(r.KnownCommands, " ") != "get put close" {
		t.Fatalf("it begins with %+v", r)
	}
	return g
}

func (g *goCommand) response(t testing.TB) (r progResponse) {
	t.Helper()
	if err := g.out.Decode(&r); err != nil {
		t.Fatal(err)
	}
	return r
}

// send sends a request, with an object that src has, as the go command does.
func (g *goCommand) send(req progRequest, src io.Reader) {
	json.NewEncoder(g.in).Encode(req)
	io.WriteString(g.in, "\n")
	if req.BodySize > 0 {
		io.WriteString(g.in, `"`)
		e := base64.NewEncoder(base64.StdEncoding, g.in)
		io.Copy(e, src)
		e.Close()
		io.WriteString(g.in, "\"\n")
	}
}

func putRequest(n int64, key string, o object) progRequest {
	return progRequest{ID: n, Command: "put", ActionID: keyID(key), OutputID: o.id, BodySize: o.size}
}

func getRequest(n int64, key string) progRequest {
	return progRequest{ID: n, Command: "get", ActionID: keyID(key)}
}

// wantFile checks a response that names a file with b.
func wantFile(t testing.TB, r progResponse, n int64, b []byte) {
	t.Helper()
	got, err := os.ReadFile(r.DiskPath)
	if r.ID != n || r.Err != "" || r.Miss || err != nil || !bytes.Equal(got, b) {
		t.Errorf("the response to %d is %+v, with a file of %d bytes, %v", n, r, len(got), err)
	}
}

func TestProg(t *testing.T) {
	d := startDaemon(t, 1<<30)
	for i, b := range [][]byte{{}, {0}, random(1, 2), random(2, 3), random(3, 1000), random(4, 200000)} {
		key := fmt.Sprint(i)
		g := startProg(t, d.client(t, 2))
		g.send(getRequest(1, key), nil)
		if r := g.response(t); r.ID != 1 || !r.Miss || r.Err != "" || r.DiskPath != "" {
			t.Errorf("get: %+v", r)
		}
		g.send(putRequest(2, key, objectOf(b)), bytes.NewReader(b))
		wantFile(t, g.response(t), 2, b)

		g = startProg(t, d.client(t, 2))
		g.send(getRequest(3, key), nil)
		r := g.response(t)
		wantFile(t, r, 3, b)
		if r.OutputID != objectOf(b).id || r.Size != int64(len(b)) || time.Since(r.Time) > time.Hour {
			t.Errorf("get: %+v", r)
		}
		g.send(progRequest{ID: 4, Command: "close"}, nil)
		if r := g.response(t); r.ID != 4 || r.Err != "" {
			t.Errorf("close: %+v", r)
		}
		if <-g.done; g.err != nil || g.warnings.Load() != 0 {
			t.Errorf("run: %v, and %d warnings", g.err, g.warnings.Load())
		}
	}
}

// TestProgManyGets sends more gets at once than there are connections, as the
// go command does. They are answered in any order.
func TestProgManyGets(t *testing.T) {
	const count = 100
	d := startDaemon(t, 1<<30)
	c := d.client(t, 4)
	for i := range count {
		mustPut(t, c, fmt.Sprint(i), random(uint64(i), 100*i))
	}
	g := startProg(t, c)
	go func() {
		for i := range count {
			g.send(getRequest(int64(i)+1, fmt.Sprint(i)), nil)
		}
		g.send(progRequest{ID: count + 1, Command: "close"}, nil)
	}()
	answered := make(map[int64]bool)
	for range count {
		r := g.response(t)
		wantFile(t, r, r.ID, random(uint64(r.ID)-1, 100*int(r.ID-1)))
		answered[r.ID] = true
	}
	if len(answered) != count {
		t.Errorf("%d different ones were answered; want %d", len(answered), count)
	}
	if r := g.response(t); r.ID != count+1 {
		t.Errorf("then %+v", r)
	}
}

// TestLargeObject has a large object go all the way and back. Both sides
// together do not allocate even half of its size.
func TestLargeObject(t *testing.T) {
	const size, most = 20 << 20, 10 << 20
	b := random(1, size)
	d := startDaemon(t, 1<<30)
	c := d.client(t, 1)
	mustPut(t, c, "small", nil) // so that the connection is there
	g := startProg(t, c)
	allocated := func(f func()) (n uint64) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	var r progResponse
	if n := allocated(func() {
		g.send(putRequest(1, "key", objectOf(b)), bytes.NewReader(b))
		r = g.response(t)
	}); n > most {
		t.Errorf("the put allocated %d bytes", n)
	}
	wantFile(t, r, 1, b)
	if n := allocated(func() {
		g.send(getRequest(2, "key"), nil)
		r = g.response(t)
	}); n > most {
		t.Errorf("the get allocated %d bytes", n)
	}
	wantFile(t, r, 2, b)
}

// TestProgAlone has no daemon, or one that ends within the build. The build
// goes on, with one warning.
func TestProgAlone(t *testing.T) {
	b := random(1, 100000)
	dials := 0
	none := newTestClient(t, 1, func(context.Context) (*simpleipc.Conn, error) {
		dials++
		return nil, errors.New("no daemon")
	})
	d := startDaemon(t, 1<<30)
	mustPut(t, d.client(t, 1), "0", b)
	ending := d.client(t, 1)
	for name, c := range map[string]*client{"none": none, "ending": ending} {
		g := startProg(t, c)
		if name == "ending" {
			g.send(getRequest(1, "0"), nil)
			wantFile(t, g.response(t), 1, b)
			if err := d.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for n := int64(2); n < 10; n += 2 {
			g.send(putRequest(n, "key", objectOf(b)), bytes.NewReader(b))
			wantFile(t, g.response(t), n, b)
			g.send(getRequest(n+1, "key"), nil)
			if r := g.response(t); !r.Miss || r.Err != "" {
				t.Errorf("%s: get: %+v", name, r)
			}
		}
		if n := g.warnings.Load(); n != 1 {
			t.Errorf("%s: %d warnings", name, n)
		}
	}
	if dials != 1 {
		t.Errorf("%d attempts to find the daemon", dials)
	}
}

// TestProgLeft has the go command go while the daemon does not answer.
func TestProgLeft(t *testing.T) {
	asked := make(chan struct{})
	path := serve(t, &simpleipc.Server{Handler: simpleipc.HandlerFunc(func(ctx context.Context, _ *simpleipc.ResponseWriter, _ *simpleipc.Request) error {
		close(asked)
		<-ctx.Done()
		return context.Cause(ctx)
	})})
	g := startProg(t, clientOf(t, path, 1))
	g.send(getRequest(1, "key"), nil)
	<-asked
	g.in.Close()
	if <-g.done; g.err != nil || g.warnings.Load() != 0 {
		t.Errorf("run: %v, and %d warnings", g.err, g.warnings.Load())
	}
}

// TestProgRefuses sends what is wrong but does no harm to what follows.
func TestProgRefuses(t *testing.T) {
	d := startDaemon(t, 1<<30)
	g := startProg(t, d.client(t, 1))
	b := random(1, 1000)
	wrong := objectOf(random(2, 1000))
	g.send(putRequest(1, "key", wrong), bytes.NewReader(b))
	if r := g.response(t); r.ID != 1 || !strings.Contains(r.Err, "announced") {
		t.Errorf("a put of something else: %+v", r)
	}
	// It has the right length, but is no base64, or less than it should be.
	for n, body := range map[int64]string{2: strings.Repeat("!", 1336), 3: strings.Repeat("\n", 1336), 4: strings.Repeat("=", 1336)} {
		g.send(putRequest(n, "key", object{wrong.id, 0}), nil)
		wantRefused := g.response(t)
		if wantRefused.ID != n || wantRefused.Err == "" {
			t.Errorf("an empty object with a wrong ID: %+v", wantRefused)
		}
		fmt.Fprintf(g.in, `{"ID":%d,"Command":"put","ActionID":%s,"OutputID":%s,"BodySize":1000}`+"\n\"%s\"\n", n, quoted(keyID("key")), quoted(objectOf(b).id), body)
		if r := g.response(t); r.ID != n || r.Err == "" {
			t.Errorf("a put of %.10q: %+v", body, r)
		}
	}
	g.send(progRequest{ID: 5, Command: "get2"}, nil)
	if r := g.response(t); r.ID != 5 || r.Err != `unknown command "get2"` {
		t.Errorf("get2: %+v", r)
	}
	g.send(putRequest(6, "key", objectOf(b)), bytes.NewReader(b))
	wantFile(t, g.response(t), 6, b)
	d.wantFiles(t, 1, 1)
	if entries, err := os.ReadDir(string(g.local)); err != nil || len(entries) != 1 {
		t.Errorf("%d local files, %v", len(entries), err)
	}
}

func quoted(i id) string {
	b, _ := json.Marshal(i)
	return string(b)
}

// TestProgSignals sends the process what a terminal sends to all processes of a
// build. It ends when the go command does, however that was, and tidies up.
func TestProgSignals(t *testing.T) {
	exe, err := exec.LookPath("build-cache")
	if err != nil {
		t.Fatal(err)
	}
	for _, end := range []string{"stdin", "stdout"} {
		tmp := t.TempDir()
		cmd := exec.Command(exe, "--dir="+filepath.Join(tmp, "cache"))
		cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "TMPDIR="+tmp)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill := time.AfterFunc(patience, func() { cmd.Process.Kill() })
		g := &goCommand{in: in, out: json.NewDecoder(out)}
		g.response(t)
		cmd.Process.Signal(syscall.SIGINT)
		cmd.Process.Signal(syscall.SIGHUP)
		g.send(putRequest(1, "key", object{}), nil)
		if r := g.response(t); r.ID != 1 || r.Err == "" {
			t.Errorf("%+v", r)
		}
		if end == "stdout" {
			out.Close()
			g.send(putRequest(2, "key", object{}), nil)
		}
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("when %s is closed: %v", end, err)
		}
		kill.Stop()
		if names, err := filepath.Glob(filepath.Join(tmp, "*")); err != nil || len(names) != 1 {
			t.Errorf("when %s is closed, there is %q, %v", end, names, err)
		}
	}
}

// progInputs are what the go command may send, and what run makes of it.
var progInputs = map[string]string{
	"":                                    "",
	"\n\n":                                "",
	`{"ID":1,"Command":"close"}` + "\n":   "",
	`{"ID":1,"Command":"nothing"}` + "\n": "",
	`{"ID":1,"Command":"close"}`:          "unexpected EOF",
	`{"ID":1,"Command":`:                  "unexpected EOF",
	"garbage\n":                           "invalid character",
	`{"ID":"one"}` + "\n":                 "cannot unmarshal",
	`{"ID":1,"Command":"get","ActionID":"AAAA"}` + "\n":                  "an ID of 3 bytes, and not 32",
	`{"ID":1,"Command":"get","ActionID":"!"}` + "\n":                     "illegal base64",
	`{"ID":1,"Command":"put","BodySize":-1}` + "\n":                      "less than no bytes",
	`{"ID":1,"Command":"put","BodySize":1}` + "\n":                       "EOF",
	`{"ID":1,"Command":"put","BodySize":1}` + "\nAA==\n":                 "'A' instead of the opening quote",
	`{"ID":1,"Command":"put","BodySize":1}` + "\n\"AA":                   "EOF",
	`{"ID":1,"Command":"put","BodySize":1}` + "\n\"AAAAA\"":              "'A' instead of the closing quote",
	`{"ID":1,"Command":"put","BodySize":9223372036854775807}` + "\n\"AA": "EOF",
	strings.Repeat(" ", 70000) + "\n":                                    "buffer full",
}

// runProg lets a prog without a daemon answer all that in has.
func runProg(t testing.TB, in string) (out string, err error) {
	c := newClient(1, func(context.Context) (*simpleipc.Conn, error) { return nil, errors.New("no daemon") })
	defer c.close()
	p := &prog{client: c, local: objects(t.TempDir()), warn: func(error) {}}
	var b bytes.Buffer
	err = p.run(t.Context(), strings.NewReader(in), &b)
	entries, derr := os.ReadDir(string(p.local))
	if derr != nil {
		t.Fatal(derr)
	}
	for _, e := range entries {
		if _, err := parseID(e.Name()); err != nil {
			t.Errorf("%.100q leaves a file %s", in, e.Name())
		}
	}
	return b.String(), err
}

func TestProgInput(t *testing.T) {
	for in, want := range progInputs {
		out, err := runProg(t, in)
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%.100q: %v; want %q", in, err, want)
		}
		if strings.HasSuffix(in, "}\n") && want == "" && strings.Count(out, "\n") != 2 {
			t.Errorf("%.100q: no answer in %q", in, out)
		}
	}
}

func FuzzProg(f *testing.F) {
	for in := range progInputs {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		out, _ := runProg(t, in)
		for d := json.NewDecoder(strings.NewReader(out)); ; {
			var r progResponse
			if err := d.Decode(&r); err == io.EOF {
				return
			} else if err != nil {
				t.Fatalf("%q: %v", out, err)
			}
		}
	})
}
