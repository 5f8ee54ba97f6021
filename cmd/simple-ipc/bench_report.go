package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// A benchReport is the result of a benchmark.
type benchReport struct {
	Path           string  `json:"path"`
	Callers        int     `json:"callers"`
	Connections    string  `json:"connections"` // "kept" or "new"
	ClosedByServer bool    `json:"closed_by_server"`
	RequestBytes   int     `json:"request_bytes"`
	WarmUpRequests int64   `json:"warm_up_requests"`
	WarmUpSeconds  float64 `json:"warm_up_seconds"`
	Interrupted    bool    `json:"interrupted"`

	Requests           int64   `json:"requests"` // that were answered
	Errors             int64   `json:"errors"`
	Seconds            float64 `json:"seconds"`
	RequestsPerSecond  float64 `json:"requests_per_second"`
	BytesSent          int64   `json:"bytes_sent"`
	BytesReceived      int64   `json:"bytes_received"`
	MegabytesPerSecond float64 `json:"megabytes_per_second"` // both ways

	Latency   *benchLatency `json:"latency_us"` // nil if nothing was answered
	Histogram []benchBar    `json:"histogram"`
}

type benchLatency struct {
	Min  micros `json:"min"`
	Mean micros `json:"mean"`
	P50  micros `json:"p50"`
	P90  micros `json:"p90"`
	P99  micros `json:"p99"`
	P999 micros `json:"p99_9"`
	Max  micros `json:"max"`
}

type benchBar struct {
	From     micros `json:"from_us"`
	To       micros `json:"to_us"`
	Requests int64  `json:"requests"`
}

// micros is a time that is written to JSON in microseconds.
type micros time.Duration

func (m micros) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(m)/1e3, 'f', -1, 64), nil
}

// maxBars is how long a histogram may be to fit a terminal with the figures.
const maxBars = 11

func (b *benchmark) report(warmUp, m *measurement) *benchReport {
	n := m.latencies.n.Load()
	r := &benchReport{
		Path: b.name, Callers: len(b.callers), Connections: "kept", ClosedByServer: b.closes, RequestBytes: len(b.request),
		WarmUpRequests: warmUp.latencies.n.Load(), WarmUpSeconds: warmUp.took.Seconds(),
		Requests: n, Errors: m.errors, Seconds: m.took.Seconds(),
		BytesSent: n * int64(len(b.request)), BytesReceived: m.received.Load(),
	}
	if b.fresh {
		r.Connections = "new"
	}
	if n == 0 {
		return r
	}
	seconds := max(r.Seconds, 1e-9)
	r.RequestsPerSecond = float64(n) / seconds
	r.MegabytesPerSecond = float64(r.BytesSent+r.BytesReceived) / 1e6 / seconds
	q := func(thousandths int64) micros { return micros(m.latencies.quantile(thousandths)) }
	r.Latency = &benchLatency{
		Min: q(0), Mean: micros(m.latencies.mean()), P50: q(500), P90: q(900), P99: q(990), P999: q(999), Max: q(1000),
	}
	for _, bar := range m.latencies.histogram(maxBars) {
		r.Histogram = append(r.Histogram, benchBar{micros(bar.from), micros(bar.to), bar.count})
	}
	return r
}

// print writes the result as a JSON object or for people.
func (r *benchReport) print(out *os.File, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(r)
	}
	_, err := io.WriteString(out, r.text(newPainter(out)))
	return err
}

func (r *benchReport) text(p painter) string {
	var b strings.Builder
	connections := "connections are kept"
	switch {
	case r.ClosedByServer:
		connections = "the server closes connections"
	case r.Connections == "new":
		connections = "connections are new"
	}
	fmt.Fprintf(&b, "%s, requests of %s, %s\n", plural(int64(r.Callers), "caller"), roundBytes(int64(r.RequestBytes)), connections)
	fmt.Fprintf(&b, "warmed up for %.1f s with %d requests that do not count\n\n", r.WarmUpSeconds, r.WarmUpRequests)
	figures := [][2]string{
		{"requests", strconv.FormatInt(r.Requests, 10)},
		{"errors", strconv.FormatInt(r.Errors, 10)},
		{"seconds", fmt.Sprintf("%.2f", r.Seconds)},
		{"requests/s", fmt.Sprintf("%.0f", r.RequestsPerSecond)},
		{"MB/s, both ways", fmt.Sprintf("%.2f", r.MegabytesPerSecond)},
	}
	if r.Latency == nil {
		for _, f := range figures {
			fmt.Fprintf(&b, "%-16s %10s\n", f[0], f[1])
		}
		return b.String()
	}
	for i, l := range []struct {
		name string
		time micros
	}{
		{"min", r.Latency.Min}, {"mean", r.Latency.Mean}, {"p50", r.Latency.P50}, {"p90", r.Latency.P90},
		{"p99", r.Latency.P99}, {"p99.9", r.Latency.P999}, {"max", r.Latency.Max},
	} {
		f := [2]string{}
		if i < len(figures) {
			f = figures[i]
		}
		fmt.Fprintf(&b, "%-16s %10s      latency %-5s %10s\n", f[0], f[1], l.name, roundLatency(time.Duration(l.time)))
	}
	b.WriteString("\n" + p.paint(bold, fmt.Sprintf("%10s  %*s", "FROM", barCells+10, "REQUESTS")) + "\n")
	most := int64(0)
	for _, h := range r.Histogram {
		most = max(most, h.Requests)
	}
	for _, h := range r.Histogram {
		stroke := drawBar(h.Requests, most, barCells)
		fmt.Fprintf(&b, "%10s  %s%s %9d %5.1f%%\n", roundLatency(time.Duration(h.From)),
			p.paint(cyan, stroke), strings.Repeat(" ", barCells-columns(stroke)),
			h.Requests, 100*float64(h.Requests)/float64(r.Requests))
	}
	return b.String()
}

// barCells is how long the longest bar is.
const barCells = 48

// drawBar returns a bar for n of most, to an eighth of a cell. Only that for
// none is empty.
func drawBar(n, most int64, cells int) string {
	if n == 0 {
		return ""
	}
	eighths := max(1, int(float64(n)/float64(most)*float64(8*cells)+0.5))
	bar := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		bar += string(rune('█' + 8 - rest)) // from seven eighths to one
	}
	return bar
}
