package trace2

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
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

// An entry is an event as read: its members, whose values are of type string,
// json.Number, bool, []any, map[string]any, or nil.
type entry map[string]any

func (e entry) string(name string) string {
	s, _ := e[name].(string)
	return s
}

func (e entry) int(name string) int {
	n, _ := e[name].(json.Number)
	i, _ := n.Int64()
	return int(i)
}

// A session is what has been read of one session id.
type session struct {
	version  string
	ended    bool
	threads  map[string][]entry // the regions that have been entered in each
	children map[int]bool       // that have been started and have not ended
}

// parseStream reads a stream in the event format, of any sessions, and checks
// everything that can be.
func parseStream(b []byte, brief bool) ([]entry, error) {
	var entries []entry
	sessions := make(map[string]*session)
	for n, l := range bytes.SplitAfter(b, []byte("\n")) {
		if len(l) == 0 {
			continue
		}
		e, err := parseEntry(l)
		if err == nil {
			sid := e.string("sid")
			s := sessions[sid]
			if s == nil {
				s = &session{threads: map[string][]entry{"main": nil}, children: make(map[int]bool)}
				sessions[sid] = s
			}
			err = s.accept(e, brief)
		}
		if err != nil {
			return entries, fmt.Errorf("line %d: %w: %.300q", n+1, err, l)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// parseEntry reads a line: one JSON object, without members of the same name.
func parseEntry(l []byte) (entry, error) {
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
	e := make(entry)
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
func (s *session) accept(e entry, brief bool) error {
	event := e.string("event")
	if s.version == "" {
		s.version = e.string("evt")
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

	thread := e.string("thread")
	if !threadPattern.MatchString(thread) {
		return errors.New("that is no name of a thread")
	}
	regions, known := s.threads[thread]
	if known == (event == "thread_start") {
		return errors.New("a thread must begin once, with thread_start")
	}
	switch nesting := e.int("nesting"); event {
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
		if s.children[e.int("child_id")] {
			return errors.New("that child has been started")
		}
		s.children[e.int("child_id")] = true
	case "child_exit", "child_ready":
		if !s.children[e.int("child_id")] {
			return errors.New("that child has not been started")
		}
		delete(s.children, e.int("child_id"))
	case "atexit":
		s.ended = true
		if e.int("code") == 0 {
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
func (e entry) check(version string, brief bool) error {
	event := e.string("event")
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
	if ready := e.string("ready"); event == "child_ready" && ready != "ready" && ready != "timeout" && ready != "error" {
		return errors.New("ready must be ready, timeout or error")
	}
	if !ownSIDPattern.MatchString(ownSID(e.string("sid"))) {
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

// readStream parses what is in a file.
func readStream(t *testing.T, path string, brief bool) []entry {
	t.Helper()
	b := contents(t, path)
	entries, err := parseStream([]byte(b), brief)
	if err != nil {
		t.Fatalf("%v, in\n%s", err, b[:min(len(b), 4000)])
	}
	return entries
}

// eventsOf returns the names of events, without those that are the same as the
// one before.
func eventsOf(entries []entry) string {
	var names []string
	for _, e := range entries {
		names = append(names, e.string("event"))
	}
	return strings.Join(slices.Compact(names), " ")
}

// TestParser makes sure that what reads the streams finds faults.
func TestParser(t *testing.T) {
	const common = `"sid":"20261121T220200.740376Z-H0a7c9cdf-P00003e9d","thread":"main","time":"2026-11-21T22:02:00.740841Z","file":"a.c","line":1`
	const version = `{"event":"version",` + common + `,"evt":"4","exe":"1"}` + "\n"
	event := func(name, members string) string {
		return version + `{"event":"` + name + `",` + common + members + "}\n"
	}
	enter := event("region_enter", `,"nesting":1,"category":"c","label":"l"`)
	leave := `{"event":"region_leave",` + common + `,"t_rel":0.000001,"nesting":1,"category":"c","label":"l"}` + "\n"
	for _, good := range []string{
		"",
		version,
		event("error", `,"msg":"m","fmt":"f"`),
		event("counter", `,"category":"c","name":"n","count":23`),
		event("data", `,"t_abs":0.000001,"t_rel":0.000001,"nesting":1,"category":"c","key":"k","value":3`),
		enter + leave,
	} {
		if _, err := parseStream([]byte(good), false); err != nil {
			t.Errorf("%s\n%v", good, err)
		}
	}
	for name, bad := range map[string]string{
		"cut":             strings.TrimSuffix(version, "\n"),
		"two at once":     strings.TrimSuffix(version, "\n") + version,
		"no JSON":         version + "x}\n",
		"not UTF-8":       event("error", `,"msg":"`+"\xff"+`","fmt":"f"`),
		"same name":       event("error", `,"msg":"m","fmt":"f","fmt":"f"`),
		"no version":      strings.TrimPrefix(enter, version),
		"two versions":    version + version,
		"old":             strings.Replace(version, `"4"`, `"2"`, 1),
		"too new for 3":   strings.Replace(event("counter", `,"category":"c","name":"n","count":23`), `"4"`, `"3"`, 1),
		"event":           event("errors", `,"msg":"m","fmt":"f"`),
		"member":          event("error", `,"msg":"m","fmt":"f","more":"m"`),
		"missing":         event("error", `,"msg":"m"`),
		"type":            event("error", `,"msg":"m","fmt":1`),
		"seconds":         event("exit", `,"t_abs":0.1,"code":1`),
		"integer":         event("exit", `,"t_abs":0.000001,"code":1.5`),
		"nesting":         event("region_enter", `,"nesting":2,"category":"c","label":"l"`),
		"not entered":     version + leave,
		"not left":        enter + strings.TrimPrefix(event("atexit", `,"t_abs":0.000001,"code":0`), version),
		"label":           enter + strings.Replace(leave, `"l"`, `"m"`, 1),
		"thread":          strings.Replace(version, `"main"`, `"th1"`, 1),
		"thread unknown":  version + strings.Replace(strings.TrimPrefix(enter, version), `"main"`, `"th01:x"`, 1),
		"after the end":   event("atexit", `,"t_abs":0.000001,"code":1`) + leave,
		"sid":             strings.Replace(version, "-P", "-Q", 1),
		"time":            strings.Replace(version, "T22", " 22", 1),
		"hook":            event("child_start", `,"child_id":0,"child_class":"hook","use_shell":false,"argv":[]`),
		"child not begun": event("child_exit", `,"child_id":0,"pid":1,"code":0,"t_rel":0.000001`),
	} {
		if _, err := parseStream([]byte(bad), false); err == nil {
			t.Errorf("%s: no fault was found in\n%s", name, bad)
		}
	}
	brief := func(s string) []byte { return []byte(strings.ReplaceAll(s, `,"file":"a.c","line":1`, "")) }
	if _, err := parseStream(brief(version), true); err != nil {
		t.Error(err)
	}
	for _, bad := range [][]byte{[]byte(version), brief(event("error", `,"msg":"m","fmt":"f"`))} {
		if _, err := parseStream(bad, true); err == nil {
			t.Errorf("brief: no fault was found in\n%s", bad)
		}
	}
}
