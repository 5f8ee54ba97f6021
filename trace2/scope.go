package trace2

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// A scope is a context that says where events happen: in which thread, and in
// how many regions of it. It is a thread, or a region that has been entered.
type scope struct {
	context.Context
	tracer *Tracer
	thread string
	depth  int // of the regions
	began  time.Time

	category, label, message string // if it is a region
	ended                    atomic.Bool
}

type scopeKey struct{}

func (s *scope) Value(key any) any {
	if key == (scopeKey{}) {
		return s
	}
	return s.Context.Value(key)
}

// from returns the scope of a context, or nil if nothing is traced.
func from(ctx context.Context) *scope {
	if state.Load() == off {
		return nil
	}
	return find(ctx)
}

func find(ctx context.Context) *scope {
	s, ok := ctx.Value(scopeKey{}).(*scope)
	if !ok {
		s = &Default().root
	}
	if !s.tracer.alive.Load() {
		return nil
	}
	return s
}

// end reports whether the scope ends now, and has not ended before.
func (s *scope) end() bool {
	return s.tracer.alive.Load() && s.ended.CompareAndSwap(false, true)
}

// The methods below make the events. Each must be called by an exported
// function, for which the place in the source is that of its caller.

func (s *scope) nameCommand(name string) {
	t := s.tracer
	t.mu.Lock()
	hierarchy := name
	if t.command != "" {
		hierarchy = t.command + "/" + name
	}
	t.command = hierarchy
	t.mu.Unlock()
	text := func(l *line) { l.text(name, " (", hierarchy, ")") }
	s.write(&event{
		name: "cmd_name", at: t.now(),
		normal: func(l *line) { l.text(" "); text(l) },
		perf:   text,
		event: func(l *line) {
			l.jsonString("name", name)
			l.jsonString("hierarchy", hierarchy)
		},
	})
}

func (s *scope) nameMode(mode string) {
	s.write(&event{
		name: "cmd_mode", at: s.tracer.now(),
		normal: func(l *line) { l.text(" ", mode) },
		perf:   func(l *line) { l.text(mode) },
		event:  func(l *line) { l.jsonString("name", mode) },
	})
}

func (s *scope) param(scope, name, value string) {
	s.write(&event{
		name: "def_param", at: s.tracer.now(), category: "scope:" + scope,
		normal: func(l *line) { l.text(" scope:", scope, " ", name, "=", value) },
		perf:   func(l *line) { l.text(name, ":", value) },
		event: func(l *line) {
			l.jsonString("scope", scope)
			l.jsonString("param", name)
			l.jsonString("value", value)
		},
	})
}

func (s *scope) error(format string, args []any) {
	message := fmt.Sprintf(format, args...)
	s.write(&event{
		name: "error", at: s.tracer.now(),
		normal: func(l *line) { l.text(" ", message) },
		perf:   func(l *line) { l.text(message) },
		event: func(l *line) {
			l.jsonString("msg", message)
			l.jsonString("fmt", format)
		},
	})
}

func (s *scope) printf(format string, args []any) {
	message := fmt.Sprintf(format, args...)
	s.write(&event{
		name: "printf", at: s.tracer.now(), abs: timed,
		normal: func(l *line) { l.text(" ", message) },
		perf:   func(l *line) { l.text(message) },
		event:  func(l *line) { l.jsonString("msg", message) },
	})
}

func (s *scope) data(category, key, value string) {
	s.write(&event{
		name: "data", at: s.tracer.now(), abs: timed, since: s.began, category: category, nesting: s.depth + 1,
		perf: func(l *line) { l.text(key, ":", value) },
		event: func(l *line) {
			l.jsonInt("nesting", int64(s.depth+1))
			l.jsonString("category", category)
			l.jsonString("key", key)
			l.jsonString("value", value)
		},
	})
}

func (s *scope) dataJSON(category, key string, value any) {
	encoded, err := json.Marshal(value)
	if err != nil {
		encoded, _ = json.Marshal("cannot be encoded: " + err.Error()) // a string can
	}
	encoded = bytes.ToValidUTF8(encoded, []byte("\ufffd")) // a json.Marshaler may not care
	s.write(&event{
		name: "data_json", at: s.tracer.now(), abs: timed, since: s.began, category: category, nesting: s.depth + 1,
		perf: func(l *line) { l.text(key, ":", string(encoded)) },
		event: func(l *line) {
			l.jsonInt("nesting", int64(s.depth+1))
			l.jsonString("category", category)
			l.jsonString("key", key)
			l.key("value")
			*l = append(*l, encoded...)
		},
	})
}

// startThread returns the scope of a new thread.
func (s *scope) startThread(ctx context.Context, name string) *scope {
	t := s.tracer
	thread := &scope{
		Context: ctx,
		tracer:  t,
		thread:  fmt.Sprintf("th%02d:%s", t.threads.Add(1), name),
		began:   t.now(),
	}
	thread.write(&event{name: "thread_start", at: thread.began, abs: timedInPerf, perf: func(*line) {}})
	return thread
}

func (s *scope) endThread() {
	if s.end() {
		s.write(&event{name: "thread_exit", at: s.tracer.now(), abs: timedInPerf, since: s.began, perf: func(*line) {}})
	}
}

// enter returns the scope of a new region.
func (s *scope) enter(ctx context.Context, category, label string, message []string) *scope {
	region := &scope{
		Context:  ctx,
		tracer:   s.tracer,
		thread:   s.thread,
		depth:    s.depth + 1,
		began:    s.tracer.now(),
		category: category,
		label:    label,
		message:  strings.Join(message, " "),
	}
	region.write(&event{
		name: "region_enter", at: region.began, abs: timedInPerf, category: category, nesting: region.depth,
		perf: region.describe, event: region.members,
	})
	return region
}

func (s *scope) leave() {
	if s.end() {
		s.write(&event{
			name: "region_leave", at: s.tracer.now(), abs: timedInPerf, since: s.began, category: s.category, nesting: s.depth,
			perf: s.describe, event: s.members,
		})
	}
}

func (s *scope) describe(l *line) {
	l.text("label:", s.label)
	if s.message != "" {
		l.text(" ", s.message)
	}
}

func (s *scope) members(l *line) {
	l.jsonInt("nesting", int64(s.depth))
	l.jsonString("category", s.category)
	l.jsonString("label", s.label)
	if s.message != "" {
		l.jsonString("msg", s.message)
	}
}

// text returns a value as text.
func text(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case int:
		return strconv.Itoa(v)
	case int64:
		return strconv.FormatInt(v, 10)
	}
	return fmt.Sprint(value)
}
