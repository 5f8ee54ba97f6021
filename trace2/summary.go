package trace2

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"
)

// A series is what a counter or a timer is about.
type series struct{ category, name string }

func (a series) compare(b series) int {
	return cmp.Or(cmp.Compare(a.category, b.category), cmp.Compare(a.name, b.name))
}

// A timer sums up intervals.
type timer struct {
	intervals       int64
	total, min, max time.Duration
}

func (t timer) add(d time.Duration) timer {
	if t.intervals == 0 {
		t.min = d
	}
	return timer{t.intervals + 1, t.total + d, min(t.min, d), max(t.max, d)}
}

// A Stopwatch is an interval of a timer that runs.
type Stopwatch struct {
	tracer *Tracer // nil if nothing is traced
	series series
	began  time.Time
}

// Stop ends the interval. It must be called once.
func (w Stopwatch) Stop() {
	t := w.tracer
	if t == nil {
		return
	}
	d := t.now().Sub(w.began)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timers == nil {
		t.timers = make(map[series]timer)
	}
	t.timers[w.series] = t.timers[w.series].add(d)
}

func (t *Tracer) count(category, name string, n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counters == nil {
		t.counters = make(map[series]int64)
	}
	t.counters[series{category, name}] += n
}

// summarize tells what has been counted and timed.
func (t *Tracer) summarize() {
	t.mu.Lock()
	timers, counters := maps.Clone(t.timers), maps.Clone(t.counters)
	t.mu.Unlock()
	for _, key := range slices.SortedFunc(maps.Keys(timers), series.compare) {
		t.root.timer(key, timers[key])
	}
	for _, key := range slices.SortedFunc(maps.Keys(counters), series.compare) {
		t.root.counter(key, counters[key])
	}
}

func (s *scope) timer(key series, t timer) {
	text := func(l *line) {
		l.text(" intervals:", strconv.FormatInt(t.intervals, 10), " total:")
		l.seconds(t.total, 0)
		l.text(" min:")
		l.seconds(t.min, 0)
		l.text(" max:")
		l.seconds(t.max, 0)
	}
	s.write(&event{
		name: "timer", at: s.tracer.now(), category: key.category,
		normal: func(l *line) { l.text(" ", key.category, "/", key.name); text(l) },
		perf:   func(l *line) { l.text("name:", key.name); text(l) },
		event: func(l *line) {
			l.jsonString("category", key.category)
			l.jsonString("name", key.name)
			l.jsonInt("intervals", t.intervals)
			l.jsonSeconds("t_total", t.total)
			l.jsonSeconds("t_min", t.min)
			l.jsonSeconds("t_max", t.max)
		},
	})
}

func (s *scope) counter(key series, n int64) {
	text := func(l *line) { l.text(" value:", strconv.FormatInt(n, 10)) }
	s.write(&event{
		name: "counter", at: s.tracer.now(), category: key.category,
		normal: func(l *line) { l.text(" ", key.category, "/", key.name); text(l) },
		perf:   func(l *line) { l.text("name:", key.name); text(l) },
		event: func(l *line) {
			l.jsonString("category", key.category)
			l.jsonString("name", key.name)
			l.jsonInt("count", n)
		},
	})
}
