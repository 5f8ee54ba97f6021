package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// Every time has the place of the nearest one with three digits, and these are
// in order.
func TestLatencyIndex(t *testing.T) {
	last := len(new(latencies).counts) - 1
	if got := latencyIndex(math.MaxInt64); got != last {
		t.Errorf("the longest time has place %d, want %d", got, last)
	}
	if got := latencyIndex(-1); got != 0 {
		t.Errorf("a time before now has place %d", got)
	}
	for i := range last + 1 {
		d := latencyAt(i)
		if got := latencyIndex(d); got != i {
			t.Fatalf("%d ns is at %d, and its place is %d", d, i, got)
		}
		if i > 0 && latencyAt(i-1) >= d {
			t.Fatalf("%d is not above %d", d, latencyAt(i-1))
		}
	}
	for range 100000 {
		d := time.Duration(rand.Int64N(int64(maxLatency)) >> rand.IntN(50))
		i := latencyIndex(d)
		near := latencyAt(i) - d
		if max(near, -near)*200 > d || i > 0 && d-latencyAt(i-1) < near || i < last && latencyAt(i+1)-d < -near {
			t.Fatalf("%d becomes %d", d, latencyAt(i))
		}
	}
}

// Quantiles are those of all that was measured, to three digits.
func TestQuantiles(t *testing.T) {
	var l latencies
	var all []time.Duration
	var mu sync.Mutex
	var adding sync.WaitGroup
	for range 4 {
		adding.Go(func() {
			for range 2500 {
				d := time.Duration(math.Exp(rand.NormFloat64()*2 + 10))
				l.add(d)
				mu.Lock()
				all = append(all, d)
				mu.Unlock()
			}
		})
	}
	adding.Wait()
	slices.Sort(all)
	sum := time.Duration(0)
	for _, d := range all {
		sum += d
	}
	if got, want := l.mean(), sum/10000; got != want {
		t.Errorf("the mean is %v, want %v", got, want)
	}
	for _, tt := range []struct {
		thousandths int64
		rank        int
	}{{0, 1}, {1, 10}, {500, 5000}, {900, 9000}, {990, 9900}, {999, 9990}, {1000, 10000}} {
		if got, want := l.quantile(tt.thousandths), latencyAt(latencyIndex(all[tt.rank-1])); got != want {
			t.Errorf("quantile %d is %v, want %v", tt.thousandths, got, want)
		}
	}
	var one latencies
	one.add(42)
	for _, q := range []int64{0, 1, 500, 1000} {
		if got := one.quantile(q); got != 42 {
			t.Errorf("quantile %d of one is %v", q, got)
		}
	}
}

func TestHistogram(t *testing.T) {
	var l latencies
	if got := l.histogram(12); len(got) > 0 {
		t.Errorf("of nothing: %v", got)
	}
	for _, d := range []time.Duration{124, 125, 159, 400, 400} {
		l.add(d)
	}
	want := []bar{{0, 125, 1}, {125, 160, 2}, {160, 200, 0}, {200, 250, 0}, {250, 315, 0}, {315, 400, 0}, {400, 500, 2}}
	if got := l.histogram(7); !slices.Equal(got, want) {
		t.Errorf("in 7 bars: %v, want %v", got, want)
	}
	want = []bar{{0, 160, 3}, {160, 250, 0}, {250, 400, 0}, {400, 630, 2}}
	if got := l.histogram(6); !slices.Equal(got, want) {
		t.Errorf("in 6 bars: %v, want %v", got, want)
	}
	l.add(maxLatency)
	got := l.histogram(6) // it takes more
	if len(got) != 14 || got[0] != (bar{0, 1000, 5}) || got[13].count != 1 {
		t.Errorf("from nanoseconds to days: %v", got)
	}
	var all int64
	for range 1000 {
		l.add(time.Duration(rand.Int64N(int64(maxLatency)) >> rand.IntN(50)))
	}
	for i, b := range l.histogram(1000) {
		all += b.count
		if b.from >= b.to || i > 0 && b.from == 0 {
			t.Errorf("bar %v", b)
		}
	}
	if all != 1006 {
		t.Errorf("%d of 1006 are counted", all)
	}
}

func TestRoundLatency(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 ns", 999: "999 ns", 1000: "1.00 µs", 1234: "1.23 µs", 9999: "10.0 µs", 12345: "12.3 µs", 123456: "123 µs",
		999499: "999 µs", 999500: "1.00 ms", 5 * time.Millisecond: "5.00 ms", 12345 * time.Millisecond: "12.3 s", 1234 * time.Second: "1230 s",
	} {
		if got := roundLatency(d); got != want {
			t.Errorf("%d ns is written %s, want %s", int64(d), got, want)
		}
	}
}
