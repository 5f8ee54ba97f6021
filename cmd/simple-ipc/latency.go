package main

import (
	"strconv"
	"sync/atomic"
	"time"
)

// latencies counts how often each latency was measured, rounded to three
// significant digits: so it needs the same memory for any number of them. It may
// be used concurrently.
type latencies struct {
	counts [1 + 900*13 + 100]atomic.Int64 // by latencyIndex
	n, sum atomic.Int64                   // sum is in nanoseconds
}

// maxLatency is the longest that is told from longer ones: days.
const maxLatency = 1e15 * time.Nanosecond

// latencyIndex returns the place of a time in the order of all that can be
// written as three digits and zeros: the first thousand have no zeros, and with
// each zero there are 900 more.
func latencyIndex(d time.Duration) int {
	ns := int64(min(max(0, d), maxLatency))
	zeros, unit := 0, int64(1)
	for ns/unit > 999 {
		zeros, unit = zeros+1, unit*10
	}
	return 900*zeros + int((ns+unit/2)/unit)
}

// latencyAt returns the time that has this place.
func latencyAt(index int) time.Duration {
	unit := time.Nanosecond
	for index > 999 {
		index, unit = index-900, unit*10
	}
	return time.Duration(index) * unit
}

func (l *latencies) add(d time.Duration) {
	l.counts[latencyIndex(d)].Add(1)
	l.n.Add(1)
	l.sum.Add(int64(d))
}

func (l *latencies) mean() time.Duration {
	return time.Duration(l.sum.Load() / max(1, l.n.Load()))
}

// quantile returns what so many thousandths of the latencies do not exceed: with
// 0 the shortest, with 1000 the longest. There must be one at least.
func (l *latencies) quantile(thousandths int64) time.Duration {
	rank := max(1, (thousandths*l.n.Load()+999)/1000)
	index := 0
	for sum := l.counts[0].Load(); sum < rank; sum += l.counts[index].Load() {
		index++
	}
	return latencyAt(index)
}

// A bar is one of a histogram.
type bar struct {
	from, to time.Duration // without to itself
	count    int64
}

// histogram returns how often latencies were how long, in bars of the same ratio
// that are as fine as that many allow; for more than that many powers of ten it
// takes more. The first and the last bar are longer if there are outliers, of up
// to one in a thousand.
func (l *latencies) histogram(most int) []bar {
	var bars []bar
	for _, step := range []int{1, 2, 3, 5, 10} {
		bars = withoutTails(l.bars(step), l.n.Load()/1000)
		if len(bars) <= most {
			break
		}
	}
	return bars
}

// withoutTails merges the first bars, and the last, as long as that makes a bar of
// few.
func withoutTails(bars []bar, few int64) []bar {
	for len(bars) > 1 && bars[0].count+bars[1].count <= few {
		bars[1].from = bars[0].from
		bars[1].count += bars[0].count
		bars = bars[1:]
	}
	for n := len(bars); n > 1 && bars[n-1].count+bars[n-2].count <= few; n = len(bars) {
		bars[n-2].to = bars[n-1].to
		bars[n-2].count += bars[n-1].count
		bars = bars[:n-1]
	}
	return bars
}

// bars returns bars that reach over so many steps of a decade, from the first to
// the last that is not empty.
func (l *latencies) bars(step int) []bar {
	var bars []bar
	next := 0
	for index := range l.counts {
		n := l.counts[index].Load()
		if n == 0 {
			continue
		}
		d := latencyAt(index)
		for bound(next) <= d {
			b := bar{from: bound(next), to: bound(next + step)}
			if next += step; len(bars) > 0 || d < b.to {
				bars = append(bars, b)
			}
		}
		bars[len(bars)-1].count += n
	}
	return bars
}

// bound returns where a bar may begin: at 0, and then, from 100 ns on, at ten
// steps for each power of ten whose ratio is the same, as nearly as three digits
// allow.
func bound(i int) time.Duration {
	if i == 0 {
		return 0
	}
	d := time.Duration([...]int{100, 125, 160, 200, 250, 315, 400, 500, 630, 800}[i%10])
	for range i / 10 {
		d *= 10
	}
	return d
}

// roundLatency writes a time with three digits.
func roundLatency(d time.Duration) string {
	d = latencyAt(latencyIndex(d))
	unit, name := time.Second, "s"
	switch {
	case d < time.Microsecond:
		return strconv.Itoa(int(d)) + " ns"
	case d < time.Millisecond:
		unit, name = time.Microsecond, "µs"
	case d < time.Second:
		unit, name = time.Millisecond, "ms"
	}
	x := float64(d) / float64(unit)
	decimals := 2
	for y := x; y >= 10 && decimals > 0; y /= 10 {
		decimals--
	}
	return strconv.FormatFloat(x, 'f', decimals, 64) + " " + name
}
