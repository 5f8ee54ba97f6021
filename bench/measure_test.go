package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The tests' executable is also that of the processes that are measured.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == roleArgument {
		if err := runRole(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0") // for the same
	os.Exit(m.Run())
}

func newLab(t *testing.T) *lab { return &lab{dir: t.TempDir(), time: 2 * time.Millisecond} }

func TestMeasure(t *testing.T) {
	cases := []benchCase{
		{Callers: 1, exchange: exchange{Request: small, Response: small}},
		{Callers: 2, exchange: exchange{Request: small, Response: small}},
		{Callers: 2, Connections: 6, exchange: exchange{Request: small, Response: small}},
		{Callers: 2, New: true, exchange: exchange{Request: 4 << 10, Response: small}},
		{Callers: 1, OneCPU: canPin, New: true, exchange: exchange{Request: small, Response: mib, Streamed: true}},
	}
	l := newLab(t)
	for _, c := range contenders {
		for _, b := range cases {
			if !c.takes(b) {
				continue
			}
			r, err := l.measure(t.Context(), c, b)
			if err != nil {
				t.Error(err)
				continue
			}
			if r.Exchanges < minExchanges*b.Callers || r.P50 <= 0 || r.P50 > r.P99 || r.Rate <= 0 || r.Client.CPU <= 0 || r.Server.Allocs < 0 {
				t.Errorf("%s, %s: %+v", b.name(), c.name, r)
			}
		}
	}
}

// An error in one of the processes is told, and both end.
func TestMeasureFails(t *testing.T) {
	l := newLab(t)
	c, _ := findContender("ttrpc")
	_, err := l.measure(t.Context(), c, benchCase{Callers: 1, exchange: exchange{Request: 5 << 20, Response: small}})
	if err == nil || !strings.Contains(err.Error(), "maximum message size") {
		t.Errorf("a request that is too large: %v", err)
	}
	l.dir = filepath.Join(l.dir, "missing")
	if _, err := l.measure(t.Context(), c, benchCase{Callers: 1, exchange: exchange{Request: 1, Response: 1}}); err == nil {
		t.Error("no error for a socket in a directory that does not exist")
	}
}

func TestIdle(t *testing.T) {
	c, _ := findContender(ours)
	r, err := newLab(t).idle(t.Context(), c, 20)
	if err != nil || r.Connections != 20 || r.P50 <= 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestCommands(t *testing.T) {
	l := newLab(t)
	own, err := l.buildTool(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(peerVariable, own.argv[0])
	defer func(all []toolCase) { toolCases = all }(toolCases)
	toolCases = []toolCase{sendBytes(small), multiple(2, 3, small)}

	starts, err := l.starts(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	tools, err := l.tools(t.Context(), 1, false)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range append(starts, tools...) {
		if r.Seconds <= 0 {
			t.Errorf("%+v", r)
		}
		got = append(got, fmt.Sprintf("%s: %s, %d", r.Group, r.Command, r.Round))
	}
	for _, want := range []string{
		"a process that sends one request: bare client, 1",
		"a process that sends one request: simple-ipc send ping, 2",
		"sendbytes, 16 B: simple-ipc, 1",
		"sendbytes, 16 B: BENCH_PEER simple-ipc, 1",
		"multiple, 2 × 3 exchanges from 16 B on: BENCH_PEER simple-ipc, 1",
	} {
		if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(want) + `$`).MatchString(strings.Join(got, "\n")) {
			t.Errorf("there is no %q in %q", want, got)
		}
	}
	for i := range l.sockets {
		if c, err := net.Dial("unix", filepath.Join(l.dir, fmt.Sprintf("s%d", i+1))); err == nil {
			t.Errorf("server %d is still there", i+1)
			_ = c.Close()
		}
	}
}
