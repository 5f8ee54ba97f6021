// Package stream reads Git's trace2 event format strictly, for tests: it knows
// each event with its members and their types, and follows threads, regions
// and children from their beginning to their end.
package stream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// A kind is the type of a member of an event.
type kind int

const (
	str kind = iota
	strs
	integer
	seconds
	boolean
	strOrInteger
	anything
)

// A member is one of an event.
type member struct {
	name     string
	kind     kind
	optional func(version string) bool // never if nil
}

func always(string) bool { return true }

// onlyIn3 makes a member optional in version 3, to which it was added without
// a new version.
func onlyIn3(version string) bool { return version == "3" }

// commonMembers are in all events, but for the exceptions of brief streams.
var commonMembers = []member{
	{"event", str, nil},
	{"sid", str, nil},
	{"thread", str, nil},
	{"time", str, nil},
	{"file", str, nil},
	{"line", integer, nil},
}

var stopwatch = []member{
	{"category", str, nil}, {"name", str, nil}, {"intervals", integer, nil},
	{"t_total", seconds, nil}, {"t_min", seconds, nil}, {"t_max", seconds, nil},
}

var count = []member{{"category", str, nil}, {"name", str, nil}, {"count", integer, nil}}

// eventMembers are the events of Git's documentation with the members of their
// own.
var eventMembers = map[string][]member{
	"version":        {{"evt", str, nil}, {"exe", str, nil}},
	"too_many_files": {},
	"start":          {{"t_abs", seconds, nil}, {"argv", strs, nil}},
	"exit":           {{"t_abs", seconds, nil}, {"code", integer, nil}},
	"atexit":         {{"t_abs", seconds, nil}, {"code", integer, nil}},
	"signal":         {{"t_abs", seconds, nil}, {"signo", integer, nil}},
	"error":          {{"msg", str, nil}, {"fmt", str, nil}},
	"cmd_path":       {{"path", str, nil}},
	"cmd_ancestry":   {{"ancestry", strs, nil}},
	"cmd_name":       {{"name", str, nil}, {"hierarchy", str, nil}},
	"cmd_mode":       {{"name", str, nil}},
	"alias":          {{"alias", str, nil}, {"argv", strs, nil}},
	"child_start": {
		{"child_id", integer, nil}, {"child_class", str, nil}, {"use_shell", boolean, nil}, {"argv", strs, nil},
		{"hook_name", str, always}, {"cd", str, always},
	},
	"child_exit": {{"child_id", integer, nil}, {"pid", integer, nil}, {"code", integer, nil}, {"t_rel", seconds, nil}},
	"child_ready": {
		{"child_id", integer, nil}, {"pid", integer, nil}, {"ready", str, nil}, {"t_rel", seconds, nil},
	},
	"exec":         {{"exec_id", integer, nil}, {"exe", str, nil}, {"argv", strs, nil}},
	"exec_result":  {{"exec_id", integer, nil}, {"code", integer, nil}},
	"thread_start": {},
	"thread_exit":  {{"t_rel", seconds, nil}},
	"def_param":    {{"scope", str, onlyIn3}, {"param", str, nil}, {"value", str, nil}},
	"def_repo":     {{"repo", integer, nil}, {"worktree", str, nil}},
	"region_enter": {
		{"repo", integer, always}, {"nesting", integer, nil},
		{"category", str, always}, {"label", str, always}, {"msg", str, always},
	},
	"region_leave": {
		{"repo", integer, always}, {"t_rel", seconds, nil}, {"nesting", integer, nil},
		{"category", str, always}, {"label", str, always}, {"msg", str, always},
	},
	"data": {
		{"repo", integer, always}, {"t_abs", seconds, nil}, {"t_rel", seconds, nil}, {"nesting", integer, nil},
		{"category", str, nil}, {"key", str, nil}, {"value", strOrInteger, nil},
	},
	"data_json": {
		{"repo", integer, always}, {"t_abs", seconds, nil}, {"t_rel", seconds, nil}, {"nesting", integer, nil},
		{"category", str, nil}, {"key", str, nil}, {"value", anything, nil},
	},
	"th_timer":   stopwatch,
	"timer":      stopwatch,
	"th_counter": count,
	"counter":    count,
	"printf":     {{"t_abs", seconds, nil}, {"msg", str, always}},
}

// newIn4 are the events that version 3 does not have.
var newIn4 = []string{"th_timer", "timer", "th_counter", "counter"}

// briefTime are the events that may have a time in brief streams. Git's
// documentation says start and atexit, Git 2.39 does it for version and atexit,
// this package for all three.
var briefTime = []string{"version", "start", "atexit"}

var (
	integerPattern = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)
	secondsPattern = regexp.MustCompile(`^(0|[1-9][0-9]*)\.[0-9]{6}$`)
	ownSIDPattern  = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}\.[0-9]{6}Z-(H[0-9a-f]{8}|Localhost)-P[0-9a-f]{8}$`)
	threadPattern  = regexp.MustCompile(`^(main|th[0-9]{2,}:.+)$`)
)

// An Event is one as read: its members, whose values are of type string,
// json.Number, bool, []any, map[string]any, or nil.
type Event map[string]any

// Text returns the value of a member that is a string.
func (e Event) Text(name string) string {
	s, _ := e[name].(string)
	return s
}

// Int returns the value of a member that is a number.
func (e Event) Int(name string) int {
	n, _ := e[name].(json.Number)
	i, _ := n.Int64()
	return int(i)
}

// A session is what has been read of one session id.
type session struct {
	version  string
	ended    bool
	threads  map[string][]Event // the regions that have been entered in each
	children map[int]bool       // that have been started and have not ended
}

// Parse reads a stream in the event format, of any sessions, and checks
// everything that can be. With an error it returns the events before it.
func Parse(b []byte, brief bool) ([]Event, error) {
	var events []Event
	sessions := make(map[string]*session)
	for n, l := range bytes.SplitAfter(b, []byte("\n")) {
		if len(l) == 0 {
			continue
		}
		e, err := parseEvent(l)
		if err == nil {
			sid := e.Text("sid")
			s := sessions[sid]
			if s == nil {
				s = &session{threads: map[string][]Event{"main": nil}, children: make(map[int]bool)}
				sessions[sid] = s
			}
			err = s.accept(e, brief)
		}
		if err != nil {
			return events, fmt.Errorf("line %d: %w: %.300q", n+1, err, l)
		}
		events = append(events, e)
	}
	return events, nil
}

// parseEvent reads a line: one JSON object, without members of the same name.
func parseEvent(l []byte) (Event, error) {
	switch {
	case !bytes.HasSuffix(l, []byte("}\n")):
		return nil, errors.New("the line is not whole")
	case !utf8.Valid(l):
		return nil, errors.New("not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(l))
	d.UseNumber()
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return nil, fmt.Errorf("no object: %v, %w", token, err)
	}
	e := make(Event)
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		var value any
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		if _, ok := e[name.(string)]; ok {
			return nil, fmt.Errorf("two members are named %v", name)
		}
		e[name.(string)] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if token, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("%v, %w behind the object", token, err)
	}
	return e, nil
}

// accept checks an event, and that it may come after those before.
func (s *session) accept(e Event, brief bool) error {
	event := e.Text("event")
	if s.version == "" {
		s.version = e.Text("evt")
		if event != "version" || s.version != "3" && s.version != "4" {
			return errors.New("a session must begin with a version that is known")
		}
	} else if event == "version" {
		return errors.New("a session has one version")
	}
	if s.ended {
		return errors.New("nothing may follow atexit")
	}
	if err := e.check(s.version, brief); err != nil {
		return err
	}

	thread := e.Text("thread")
	if !threadPattern.MatchString(thread) {
		return errors.New("that is no name of a thread")
	}
	regions, known := s.threads[thread]
	if known == (event == "thread_start") {
		return errors.New("a thread must begin once, with thread_start")
	}
	switch nesting := e.Int("nesting"); event {
	case "region_enter":
		if nesting != len(regions)+1 {
			return fmt.Errorf("nesting is not %d", len(regions)+1)
		}
		regions = append(regions, e)
	case "region_leave":
		if nesting == 0 || nesting != len(regions) {
			return fmt.Errorf("nesting is not %d", len(regions))
		}
		entered := regions[nesting-1]
		for _, name := range []string{"category", "label", "msg"} {
			if entered[name] != e[name] {
				return fmt.Errorf("%s is not %v, as that of the region that was entered last", name, entered[name])
			}
		}
		regions = regions[:nesting-1]
	case "data", "data_json":
		if nesting != len(regions)+1 {
			return fmt.Errorf("nesting is not %d", len(regions)+1)
		}
	case "thread_exit":
		if len(regions) > 0 {
			return fmt.Errorf("region %v has not been left", regions[len(regions)-1])
		}
		delete(s.threads, thread)
		return nil
	case "child_start":
		if s.children[e.Int("child_id")] {
			return errors.New("that child has been started")
		}
		s.children[e.Int("child_id")] = true
	case "child_exit", "child_ready":
		if !s.children[e.Int("child_id")] {
			return errors.New("that child has not been started")
		}
		delete(s.children, e.Int("child_id"))
	case "atexit":
		s.ended = true
		if e.Int("code") == 0 {
			for name, regions := range s.threads {
				if len(regions) > 0 {
					return fmt.Errorf("region %v of %s has not been left", regions[len(regions)-1], name)
				}
			}
		}
	}
	s.threads[thread] = regions
	return nil
}

// check checks the members of an event.
func (e Event) check(version string, brief bool) error {
	event := e.Text("event")
	own, ok := eventMembers[event]
	if !ok || version == "3" && slices.Contains(newIn4, event) {
		return fmt.Errorf("version %s has no event %q", version, event)
	}
	checked := 0
	for _, m := range slices.Concat(commonMembers, own) {
		value, there := e[m.name]
		if brief && (m.name == "file" || m.name == "line" || m.name == "time" && event != "atexit") {
			if there && (m.name != "time" || !slices.Contains(briefTime, event)) {
				return fmt.Errorf("%s in a brief stream", m.name)
			}
			m.optional = always
		}
		if !there && m.optional != nil && m.optional(version) {
			continue
		}
		if !there {
			return fmt.Errorf("%s is missing", m.name)
		}
		checked++
		if !m.kind.matches(value) {
			return fmt.Errorf("%s has the value %v of type %T", m.name, value, value)
		}
	}
	if checked != len(e) {
		return errors.New("there are members that the documentation does not have")
	}
	if _, hook := e["hook_name"]; event == "child_start" && hook != (e["child_class"] == "hook") {
		return errors.New("a hook must have hook_name, and nothing else may")
	}
	if ready := e.Text("ready"); event == "child_ready" && ready != "ready" && ready != "timeout" && ready != "error" {
		return errors.New("ready must be ready, timeout or error")
	}
	sid := e.Text("sid")
	if !ownSIDPattern.MatchString(sid[strings.LastIndexByte(sid, '/')+1:]) {
		return errors.New("that is no session id")
	}
	if at, ok := e["time"]; ok {
		if parsed, err := time.Parse(time.RFC3339Nano, at.(string)); err != nil || parsed.Format("2006-01-02T15:04:05.000000Z") != at {
			return errors.New("that is no time")
		}
	}
	return nil
}

// matches reports whether a value is of the kind.
func (k kind) matches(value any) bool {
	number, isNumber := value.(json.Number)
	_, isText := value.(string)
	isInteger := isNumber && integerPattern.MatchString(number.String())
	switch k {
	case str:
		return isText
	case integer:
		return isInteger
	case strOrInteger:
		return isText || isInteger
	case seconds:
		return isNumber && secondsPattern.MatchString(number.String())
	case boolean:
		_, ok := value.(bool)
		return ok
	case strs:
		array, ok := value.([]any)
		return ok && !slices.ContainsFunc(array, func(v any) bool { return !str.matches(v) })
	}
	return true
}
