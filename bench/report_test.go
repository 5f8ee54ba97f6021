package main

import (
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write testdata/report.golden anew")

// example is a document with something in each part.
func example() *document {
	d := &document{
		Date: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Args: []string{"-rounds", "3"},
		Machine: machine{CPU: "Abacus 3000", CPUs: 2, System: "Linux 6.1", Go: "go1.26.0 linux/amd64", Libraries: []string{"example.com/lib v1.2.3"}},
		Rounds:  3, Time: 150 * time.Millisecond, Others: 0.12,
	}
	for i, name := range []string{"kept/1cpu/16B", "new/8/4KiB-response", "kept/1/10MiB-request/streamed"} {
		for k, peer := range []string{ours, baseline, "grpc"} {
			for round := 1; round <= 3; round++ {
				us := float64((1+k)*(10+round)) * []float64{1, 10, 1000}[i]
				d.Results = append(d.Results, result{
					Case: name, Peer: peer, Round: round, Exchanges: 1000, Rate: 1e6 / us, P50: us, P90: 2 * us, P99: 3 * us,
					Client: cost{CPU: us / 2, Allocs: float64(k), PeakRSS: 20 * mib},
					Server: cost{CPU: us / 3, Allocs: float64(100 * k), PeakRSS: 30 * mib},
				})
			}
		}
	}
	d.Results = append(d.Results, result{Case: "kept/1cpu/16B", Peer: "rpc", Round: 1, Error: "it broke"})
	d.Idle = []idleResult{
		{Peer: ours, Connections: 1, RSS: 10 * mib, P50: 12},
		{Peer: ours, Connections: 1001, RSS: 18 * mib, P50: 13},
		{Peer: "grpc", Connections: 1, Error: "it broke"},
	}
	for round := 1; round <= 3; round++ {
		d.Commands = append(d.Commands,
			commandResult{"start", "bare client", round, 1, 0.001 * float64(round), 0.0005},
			commandResult{"start", "simple-ipc send ping", round, 1, 0.0011 * float64(round), 0.0006},
			commandResult{"multiple", "simple-ipc", round, 1000, 0.1, 0.05})
	}
	for _, a := range growthAxes {
		for i, n := range a.at {
			for _, p := range a.peers {
				d.Growth = append(d.Growth, growthResult{a.name, n, result{
					Peer: p, Round: 1, Exchanges: 10, Rate: 1000, P50: 10 * float64(1+i),
					Client: cost{CPU: 3}, Server: cost{CPU: 4, PeakRSS: int64(i) * mib},
				}})
			}
		}
	}
	return d
}

func TestReport(t *testing.T) {
	const golden = "testdata/report.golden"
	got := example().markdown()
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		path := filepath.Join(t.ArtifactDir(), "report.got")
		if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
		t.Errorf("the report differs from %s; if it is as it should be, run the test with -update\n%s", golden, got)
	}
}

func TestCharts(t *testing.T) {
	d := example()
	for name, test := range map[string]struct {
		draw func() ([]byte, error)
		want []string
	}{
		"bars":  {d.chart, []string{"simpleipc", "grpc", "24.0 ms", "Kept connection, 1 caller on one CPU, 16 B each way"}},
		"lines": {d.growthChart, []string{"By connections", "10000", "200 MB", "net, CPU time"}},
	} {
		svg, err := test.draw()
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range append(test.want, "currentColor", "prefers-color-scheme") {
			if !strings.Contains(string(svg), want) {
				t.Errorf("%s: there is no %q", name, want)
			}
		}
		if strings.Contains(string(svg), "#010203") {
			t.Errorf("%s: ink has kept its colour", name)
		}
		for x := xml.NewDecoder(strings.NewReader(string(svg))); ; {
			if _, err := x.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	if svg, err := new(document).chart(); svg != nil || err != nil {
		t.Errorf("a chart of nothing: %q, %v", svg, err)
	}
}

func TestRatioIsPairedByRound(t *testing.T) {
	base := series{{Round: 1, P50: 10}, {Round: 2, P50: 100}, {Round: 4, P50: 1}}
	s := series{{Round: 2, P50: 200}, {Round: 1, P50: 20}, {Round: 3, P50: 7}}
	if got := s.over(base, latency); got.n != 2 || got.p10 != 2 || got.p90 != 2 {
		t.Errorf("got %+v, want two times 2", got)
	}
}

func TestQuantile(t *testing.T) {
	for _, test := range []struct {
		values  []float64
		q, want float64
	}{
		{nil, 0.5, 0}, {[]float64{7}, 0.9, 7}, {[]float64{1, 2}, 0.5, 1.5}, {[]float64{1, 2, 3}, 0.5, 2}, {[]float64{0, 10}, 0.9, 9}, {[]float64{1, 2, 3}, 1, 3},
	} {
		if got := quantile(test.values, test.q); got != test.want {
			t.Errorf("quantile(%v, %v) = %v, want %v", test.values, test.q, got, test.want)
		}
	}
}

func TestCaseNames(t *testing.T) {
	names := map[string]bool{}
	for _, b := range allCases() {
		if names[b.name()] {
			t.Errorf("two cases are named %s", b.name())
		}
		names[b.name()] = true
	}
	for _, name := range append(chartCases, "new/1/200MB-response", "kept/1cpu/4KiB-request") {
		if !names[name] {
			t.Errorf("there is no case %s", name)
		}
	}
}
