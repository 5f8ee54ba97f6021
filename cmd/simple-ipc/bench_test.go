package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.com/simpleipc"
)

// newBenchmark returns one of n callers.
func newBenchmark(t *testing.T, path, request string, n int) *benchmark {
	t.Helper()
	b := &benchmark{name: path, request: []byte(request)}
	if err := b.tryOut(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range n {
		b.callers = append(b.callers, &caller{benchmark: b})
	}
	t.Cleanup(b.hangUp)
	return b
}

// noBar is a progress bar that is not to be seen.
func noBar(t *testing.T) *progressBar {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { null.Close() })
	return &progressBar{out: null}
}

func TestMeasureCount(t *testing.T) {
	var requests atomic.Int64
	path := serve(t, simpleipc.HandlerFunc(func(_ context.Context, w *simpleipc.ResponseWriter, r *simpleipc.Request) error {
		requests.Add(1)
		_, err := w.Write(r.Body[:3])
		return err
	}))
	b := newBenchmark(t, path, "12345", 3)
	before := requests.Load()
	m := b.measure(t.Context(), 0, 100, noBar(t))
	if n := requests.Load() - before; n != 100 || m.latencies.n.Load() != n || m.received.Load() != 300 || m.errors != 0 || m.took <= 0 {
		t.Errorf("%d requests came; %d latencies, %d bytes, %d errors, %v", n, m.latencies.n.Load(), m.received.Load(), m.errors, m.took)
	}
	r := b.report(new(measurement), m)
	if r.Connections != "kept" || r.Requests != 100 || r.BytesSent != 500 || r.BytesReceived != 300 ||
		r.Latency.Min <= 0 || r.Latency.Min > r.Latency.P50 || r.Latency.P50 > r.Latency.P999 || r.Latency.P999 > r.Latency.Max {
		t.Errorf("the report: %+v %+v", r, r.Latency)
	}
}

// Failures are counted, and the callers go on.
func TestMeasureFailures(t *testing.T) {
	var requests atomic.Int64
	path := serve(t, simpleipc.HandlerFunc(func(context.Context, *simpleipc.ResponseWriter, *simpleipc.Request) error {
		if n := requests.Add(1); n > 2 && n%2 == 0 {
			return errors.New("an even one")
		}
		return nil
	}))
	b := newBenchmark(t, path, "", 1)
	m := b.measure(t.Context(), 0, 10, noBar(t))
	if m.errors != 5 || m.latencies.n.Load() != 5 || !errors.Is(m.firstErr, simpleipc.ErrConnClosed) {
		t.Errorf("%d errors, %d answers, %v", m.errors, m.latencies.n.Load(), m.firstErr)
	}
}

// A user who has had enough is not kept waiting, and no failure is counted.
func TestMeasureInterrupted(t *testing.T) {
	called := make(chan struct{}, 1)
	var requests atomic.Int64
	path := serve(t, simpleipc.HandlerFunc(func(ctx context.Context, _ *simpleipc.ResponseWriter, _ *simpleipc.Request) error {
		if requests.Add(1) <= 2 {
			return nil
		}
		called <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}))
	b := newBenchmark(t, path, "", 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-called
		cancel()
	}()
	m := b.measure(ctx, time.Hour, 0, noBar(t))
	if m.errors != 0 || m.latencies.n.Load() != 0 {
		t.Errorf("%d errors, %d answers", m.errors, m.latencies.n.Load())
	}
	text := b.report(m, m).text(false)
	if !strings.Contains(text, "\nrequests                  0\n") || strings.Contains(text, "latency") {
		t.Errorf("the report of nothing:\n%s", text)
	}
}

func TestBenchInterrupted(t *testing.T) {
	var interruptIt func() error
	var requests atomic.Int64
	started := make(chan struct{})
	path := serve(t, simpleipc.HandlerFunc(func(context.Context, *simpleipc.ResponseWriter, *simpleipc.Request) error {
		if requests.Add(1) != 3 { // the first two are to try it out
			return nil
		}
		<-started
		return interruptIt()
	}))
	cmd, interruptIt := interruptibleTool(t, "bench", "--name="+path, "--duration=1000", "--json")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Start()
	close(started)
	if err == nil {
		kill := time.AfterFunc(testPatience, func() { cmd.Process.Kill() })
		defer kill.Stop()
		err = cmd.Wait()
	}
	if err != nil || !strings.Contains(stdout.String(), `"interrupted":true,`) || !strings.Contains(stdout.String(), `"errors":0,`) || stderr.Len() > 0 {
		t.Errorf("%v: %s%s", err, stdout.String(), stderr.String())
	}
}

// With a server like Git's, connections are new without being asked to be.
func TestBenchmarkReconnects(t *testing.T) {
	path, accepted := serveOnce(t)
	b := newBenchmark(t, path, "ping", 2)
	if !b.closes || !b.fresh {
		t.Error("it was not noticed that the server closes connections")
	}
	before := accepted.Load()
	m := b.measure(t.Context(), 0, 20, noBar(t))
	if n := accepted.Load() - before; n != 20 || m.errors != 0 {
		t.Errorf("%d connections, %d errors: %v", n, m.errors, m.firstErr)
	}
	if r := b.report(m, m); r.Connections != "new" || !r.ClosedByServer {
		t.Errorf("the report: %+v", r)
	}
}

func TestBenchmarkTryOut(t *testing.T) {
	b := &benchmark{name: filepath.Join(t.TempDir(), "none")}
	if err := b.tryOut(t.Context()); err == nil || !strings.Contains(err.Error(), "path not found") {
		t.Errorf("without a server: %v", err)
	}
	b.name = serve(t, simpleipc.HandlerFunc(func(context.Context, *simpleipc.ResponseWriter, *simpleipc.Request) error {
		return errors.New("never")
	}))
	if err := b.tryOut(t.Context()); !errors.Is(err, simpleipc.ErrConnClosed) {
		t.Errorf("with a server that does not answer: %v", err)
	}
}

// The report says the same to people and to programs.
func TestBenchReport(t *testing.T) {
	b := &benchmark{name: "x", request: make([]byte, 1000), callers: make([]*caller, 2)}
	m := &measurement{took: 2 * time.Second, errors: 3}
	for i := range 1000 {
		m.latencies.add(time.Duration(i+1) * time.Microsecond)
	}
	m.received.Store(1e6)
	r := b.report(new(measurement), m)
	const want = `2 callers, requests of 1000 B, connections are kept
warmed up for 0.0 s with 0 requests that do not count

requests               1000      latency min      1.00 µs
errors                    3      latency mean      501 µs
seconds                2.00      latency p50       500 µs
requests/s              500      latency p90       900 µs
MB/s, both ways        1.00      latency p99       990 µs
                                 latency p99.9     999 µs
                                 latency max      1.00 ms

      FROM                                                    REQUESTS
`
	text := r.text(false)
	if !strings.HasPrefix(text, want) {
		t.Errorf("the text:\n%s\nwant:\n%s", text, want)
	}
	if !strings.HasSuffix(text, "\n    800 µs  ████████████████████████▏                              201  20.1%\n") {
		t.Errorf("the histogram ends so:\n%s", text[len(want):])
	}
	for line := range strings.Lines(r.text(true)) {
		if n := columns(strings.NewReplacer("\x1b[36m", "", "\x1b[1m", "", "\x1b[m", "", "\n", "").Replace(line)); n > 80 {
			t.Errorf("%d columns: %q", n, line)
		}
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Requests, Errors int
		Seconds          float64
		PerSecond        float64            `json:"requests_per_second"`
		Megabytes        float64            `json:"megabytes_per_second"`
		Latency          map[string]float64 `json:"latency_us"`
		Histogram        []struct {
			From float64 `json:"from_us"`
			N    int     `json:"requests"`
		}
	}
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if got.Requests != 1000 || got.Errors != 3 || got.Seconds != 2 || got.PerSecond != 500 || got.Megabytes != 1 ||
		got.Latency["p50"] != 500 || got.Latency["mean"] != 500.5 || got.Latency["p99_9"] != 999 {
		t.Errorf("the object: %s", data)
	}
	if last := got.Histogram[len(got.Histogram)-1]; last.From != 800 || last.N != 201 {
		t.Errorf("its histogram: %s", data)
	}
}

func TestDrawBar(t *testing.T) {
	for _, tt := range []struct {
		n, most int64
		want    string
	}{
		{0, 9, ""}, {1, 1000000, "▏"}, {8, 8, "████"}, {4, 8, "██"}, {5, 8, "██▌"}, {31, 32, "███▉"}, {1, 16, "▎"},
	} {
		if got := drawBar(tt.n, tt.most, 4); got != tt.want {
			t.Errorf("%d of %d: %q, want %q", tt.n, tt.most, got, tt.want)
		}
	}
}
