package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"example.com/simpleipc"
)

// A collector gives Prometheus the statistics of a server as they are when it
// asks.
type collector struct{ srv *simpleipc.Server }

// The metrics. Their names follow Prometheus' conventions.
var (
	accepted     = describe("connections_accepted_total", "Connections accepted.")
	open         = describe("connections_open", "Connections that are open.")
	idle         = describe("connections_idle_closed_total", "Connections closed because they were idle for too long.")
	dropped      = describe("connections_dropped_total", "Connections closed before a response was complete, by cause.", "cause")
	acceptErrors = describe("accept_errors_total", "Failures to accept a connection.")
	requests     = describe("requests_total", "Whole requests received.")
	waiting      = describe("requests_waiting", "Requests that wait for a worker.")
	active       = describe("requests_active", "Requests that are being handled.")
	responses    = describe("responses_total", "Responses sent to their end.")
	received     = describe("received_bytes_total", "Bytes received, with the framing.")
	sent         = describe("sent_bytes_total", "Bytes sent, with the framing.")
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("simpleipc_"+name, help, labels, nil)
}

// Describe implements prometheus.Collector.
func (c collector) Describe(descriptions chan<- *prometheus.Desc) {
	prometheus.DescribeByCollect(c, descriptions)
}

// Collect implements prometheus.Collector.
func (c collector) Collect(metrics chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, n int64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, n int64) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n))
	}
	s := c.srv.Stats()
	counter(accepted, s.Accepted)
	gauge(open, s.Open)
	counter(idle, s.Idle)
	counter(acceptErrors, s.AcceptErrors)
	counter(requests, s.Requests)
	gauge(waiting, s.Waiting)
	gauge(active, s.Active)
	counter(responses, s.Responses)
	counter(received, s.BytesIn)
	counter(sent, s.BytesOut)
	for cause, n := range map[string]int64{
		"refused": s.Dropped.Refused, "malformed": s.Dropped.Malformed, "too_large": s.Dropped.TooLarge,
		"cut_short": s.Dropped.CutShort, "slow": s.Dropped.Slow, "overload": s.Dropped.Overload,
		"hung_up": s.Dropped.HungUp, "stalled": s.Dropped.Stalled, "failed": s.Dropped.Failed,
		"panicked": s.Dropped.Panicked, "closed": s.Dropped.Closed,
	} {
		counter(dropped, n, cause)
	}
}
