package trace2

import (
	"path"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The widths of the columns of the perf format, and of the place in the source
// in the normal format. They are those of Git.
const (
	normalPlaceWidth = 33
	perfPlaceWidth   = 28
	threadWidth      = 24
	nameWidth        = 12
	repoWidth        = 3
	secondsWidth     = 9
	categoryWidth    = 12
)

// An event is something that happened in a scope, as each format tells it.
type event struct {
	name     string
	at       time.Time
	abs      absolute
	since    time.Time // when that began whose time is told, if any
	category string    // a column of the perf format
	nesting  int       // of a region or of what is in it; the event format leaves deep ones out
	last     bool      // of its session

	normal, perf func(*line) // what follows the name or the columns; nil if the format does not tell it
	event        func(*line) // the members of its own; nil if there is none
}

// absolute says which formats tell the time since the start.
type absolute int

const (
	untimed absolute = iota
	timedInPerf
	timed // in the event format, too; the normal format tells it as it likes
)

// A place is one in the source.
type place struct {
	file string
	line int
	text string // both
}

// places are those from which the package has been called so far, by the
// program counter, since it takes long to find them.
type places struct {
	mu    sync.RWMutex
	known map[uintptr]place
}

// depthOfCaller is where, in the stack that caller sees, the caller of the
// package is: above [runtime.Callers], caller, write, a method that makes an
// event, and the exported function that called it.
const depthOfCaller = 5

// caller returns the place from which the package was called.
func (p *places) caller() place {
	var pcs [1]uintptr
	runtime.Callers(depthOfCaller, pcs[:])
	p.mu.RLock()
	found, ok := p.known[pcs[0]]
	p.mu.RUnlock()
	if ok {
		return found
	}
	found = placeOf(pcs[0])
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil {
		p.known = make(map[uintptr]place)
	}
	p.known[pcs[0]] = found
	return found
}

// placeOf names a file by its package's name and its own, wherever it was
// compiled.
func placeOf(pc uintptr) place {
	frame, _ := runtime.CallersFrames([]uintptr{pc}).Next()
	function := frame.Function[strings.LastIndexByte(frame.Function, '/')+1:]
	pkg, _, _ := strings.Cut(function, ".")
	file := pkg + "/" + path.Base(frame.File)
	return place{file, frame.Line, file + ":" + strconv.Itoa(frame.Line)}
}

// lines are for reuse.
var lines = sync.Pool{New: func() any { return new(line) }}

// maxReuse is the capacity of the largest line that is kept for reuse.
const maxReuse = 64 << 10

// write writes an event to all targets.
func (s *scope) write(e *event) {
	var p place
	if s.tracer.placed {
		p = s.tracer.places.caller()
	}
	l := lines.Get().(*line)
	for _, t := range s.tracer.targets {
		if t.dead.Load() {
			continue
		}
		*l = (*l)[:0]
		switch t.format {
		case normalFormat:
			s.formatNormal(l, e, t.brief, p)
		case perfFormat:
			s.formatPerf(l, e, t.brief, p)
		case eventFormat:
			s.formatEvent(l, e, t.brief, p)
		}
		if len(*l) == 0 {
			continue
		}
		l.text("\n")
		if !t.write(*l, e.last) {
			s.tracer.update()
		}
	}
	if cap(*l) <= maxReuse {
		lines.Put(l)
	}
}

// clock is a time of day, in the user's time zone.
const clock = "15:04:05.000000 "

func (s *scope) formatNormal(l *line, e *event, brief bool, p place) {
	if e.normal == nil {
		return
	}
	if !brief {
		*l = e.at.Local().AppendFormat(*l, clock)
		l.column(p.text, normalPlaceWidth)
		l.text(" ")
	}
	l.text(e.name)
	e.normal(l)
}

func (s *scope) formatPerf(l *line, e *event, brief bool, p place) {
	if e.perf == nil {
		return
	}
	const bar = " | "
	if !brief {
		*l = e.at.Local().AppendFormat(*l, clock)
		if text := p.text; len(text) > perfPlaceWidth {
			const dots = "..."
			l.text(dots, text[len(text)-perfPlaceWidth+len(dots):])
		} else {
			l.column(text, perfPlaceWidth)
		}
		l.text(bar)
	}
	l.text("d", strconv.Itoa(s.tracer.depth), bar)
	l.column(s.thread, threadWidth)
	l.text(bar)
	l.column(e.name, nameWidth)
	l.text(bar)
	l.column("", repoWidth)
	l.text(bar)
	if e.abs != untimed {
		l.seconds(e.at.Sub(s.tracer.began), secondsWidth)
	} else {
		l.column("", secondsWidth)
	}
	l.text(bar)
	if !e.since.IsZero() {
		l.seconds(e.at.Sub(e.since), secondsWidth)
	} else {
		l.column("", secondsWidth)
	}
	l.text(bar)
	l.column(cut(e.category, categoryWidth), categoryWidth)
	l.text(bar)
	depth := s.depth
	if e.nesting > 0 {
		depth = e.nesting - 1 // a region is not within itself
	}
	for range depth {
		l.text("..")
	}
	e.perf(l)
}

func (s *scope) formatEvent(l *line, e *event, brief bool, p place) {
	if e.nesting > s.tracer.nesting {
		return
	}
	l.text(`{"event":"`, e.name, `"`)
	l.jsonString("sid", s.tracer.sid)
	l.jsonString("thread", s.thread)
	if !brief || e.name == "version" || e.name == "start" || e.name == "atexit" {
		l.key("time")
		*l = e.at.UTC().AppendFormat(*l, `"2006-01-02T15:04:05.000000Z"`)
	}
	if !brief {
		l.jsonString("file", p.file)
		l.jsonInt("line", int64(p.line))
	}
	if e.abs == timed {
		l.jsonSeconds("t_abs", e.at.Sub(s.tracer.began))
	}
	if !e.since.IsZero() {
		l.jsonSeconds("t_rel", e.at.Sub(e.since))
	}
	if e.event != nil {
		e.event(l)
	}
	l.text("}")
}

// cut returns the first n characters of s.
func cut(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}
