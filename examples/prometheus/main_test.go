package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"example.com/simpleipc"
)

// TestStatistics reads the statistics as Prometheus and as expvar's readers do.
func TestStatistics(t *testing.T) {
	path := socketPath(t)
	l, err := simpleipc.Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &simpleipc.Server{Handler: simpleipc.HandlerFunc(upper), MaxRequest: 100}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(context.Background(), l) }()
	for range 3 {
		if answer, err := simpleipc.Call(t.Context(), path, []byte("hello")); string(answer) != "HELLO" || err != nil {
			t.Errorf("got %q, %v", answer, err)
		}
	}
	if _, err := simpleipc.Call(t.Context(), path, make([]byte, 101)); err == nil {
		t.Error("a request that is too large was answered")
	}
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	<-served

	problems, err := testutil.CollectAndLint(collector{srv})
	if len(problems) > 0 || err != nil {
		t.Errorf("Prometheus does not like %v, %v", problems, err)
	}
	web := httptest.NewServer(statistics(srv))
	defer web.Close()
	metrics := get(t, web.URL+"/metrics")
	for _, line := range []string{
		"# TYPE simpleipc_requests_total counter", "simpleipc_requests_total 3", "simpleipc_responses_total 3",
		"# TYPE simpleipc_connections_open gauge", "simpleipc_connections_open 0", "simpleipc_connections_accepted_total 4",
		`simpleipc_connections_dropped_total{cause="too_large"} 1`, `simpleipc_connections_dropped_total{cause="panicked"} 0`,
	} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("no line %q in\n%s", line, metrics)
		}
	}
	var variables struct{ IPC simpleipc.Stats }
	if err := json.Unmarshal([]byte(get(t, web.URL+"/debug/vars")), &variables); err != nil || variables.IPC != srv.Stats() {
		t.Errorf("the variables are %+v, %v; want %+v", variables, err, srv.Stats())
	}

	// Each cause that Stats counts is a metric.
	causes, err := json.Marshal(srv.Stats().Dropped)
	if err != nil {
		t.Fatal(err)
	}
	var counts map[string]int64
	if err := json.Unmarshal(causes, &counts); err != nil {
		t.Fatal(err)
	}
	for cause := range counts {
		if !strings.Contains(metrics, `{cause="`+cause+`"}`) {
			t.Errorf("cause %s is missing", cause)
		}
	}
}

// TestRun runs the whole program, and ends it.
func TestRun(t *testing.T) {
	path := socketPath(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := run(t.Context(), path, address); err == nil {
		t.Error("an address that is in use was served")
	}
	free.Close()
	ctx, end := context.WithCancel(t.Context())
	defer end()
	done := make(chan error, 1)
	go func() { done <- run(ctx, path, address) }()
	dialer := simpleipc.Dialer{WaitNotFound: true, Timeout: 30 * time.Second}
	if answer, err := dialer.Call(t.Context(), path, []byte("a")); string(answer) != "A" || err != nil {
		t.Errorf("got %q, %v", answer, err)
	}
	if metrics := get(t, "http://"+address+"/metrics"); !strings.Contains(metrics, "simpleipc_requests_total 1\n") {
		t.Errorf("got %s", metrics)
	}
	end()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket has stayed behind")
	}
}

func socketPath(t *testing.T) string {
	dir, err := os.MkdirTemp("", "ipc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "sock")
}

func get(t *testing.T, url string) string {
	t.Helper()
	client := http.Client{Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, response.Status, err)
	}
	return string(body)
}
