package stream

import (
	"strings"
	"testing"
)

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
		if _, err := Parse([]byte(good), false); err != nil {
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
		if _, err := Parse([]byte(bad), false); err == nil {
			t.Errorf("%s: no fault was found in\n%s", name, bad)
		}
	}
	brief := func(s string) []byte { return []byte(strings.ReplaceAll(s, `,"file":"a.c","line":1`, "")) }
	if _, err := Parse(brief(version), true); err != nil {
		t.Error(err)
	}
	for _, bad := range [][]byte{[]byte(version), brief(event("error", `,"msg":"m","fmt":"f"`))} {
		if _, err := Parse(bad, true); err == nil {
			t.Errorf("brief: no fault was found in\n%s", bad)
		}
	}
}
