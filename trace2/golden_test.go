package trace2

import (
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"
)

// trace runs the program with a format's target being a file, and returns what
// was written.
func trace(t *testing.T, variable string, more ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "trace")
	program(newTracer(env(append(more, variable+"="+path)...), fakeClock(), fakeSID))
	return contents(t, path)
}

// compare compares lines. In those that are wanted, VERSION stands for that of
// this program, tracer.go:N for any place within the package, and · for the end
// of a line that ends with spaces.
func compare(t *testing.T, got, want string) {
	t.Helper()
	version := "(unknown)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = info.Main.Version
	}
	want = strings.ReplaceAll(strings.TrimPrefix(want, "\n"), "VERSION", version)
	want = strings.ReplaceAll(want, "·", "")
	got = regexp.MustCompile(`(tracer|golden_test)\.go:\d+ *`).ReplaceAllStringFunc(got, func(s string) string {
		const place = "tracer.go:N"
		return place + strings.Repeat(" ", len(s)-len(place))
	})
	got = regexp.MustCompile(`trace2/(tracer|golden_test)\.go","line":\d+`).ReplaceAllString(got, `trace2/tracer.go","line":N`)
	gotLines, wantLines := strings.SplitAfter(got, "\n"), strings.SplitAfter(want, "\n")
	for i := range min(len(gotLines), len(wantLines)) {
		if gotLines[i] != wantLines[i] {
			t.Fatalf("line %d is\n%q, not\n%q, in\n%s", i+1, gotLines[i], wantLines[i], got)
		}
	}
	if len(gotLines) != len(wantLines) {
		t.Fatalf("there are %d lines, not %d:\n%s", len(gotLines), len(wantLines), got)
	}
}

func TestNormal(t *testing.T) {
	compare(t, trace(t, "GIT_TRACE2"), `
00:03:07.021194 trace2/tracer.go:N                version VERSION
00:03:07.022194 trace2/program.go:13              start greet --to 'the world'
00:03:07.023194 trace2/program.go:14              cmd_name greet (greet)
00:03:07.024194 trace2/program.go:15              cmd_mode politely
00:03:07.025194 trace2/program.go:16              def_param scope:command greeting=good morning
00:03:07.035194 trace2/program.go:28              child_start[0] cd 'a directory'; no-such-program 'it'\''s'
00:03:07.036194 trace2/program.go:29              child_exit[0] pid:-1 code:-1 elapsed:0.001000
00:03:07.046194 trace2/program.go:40              child_start[1] daemon
00:03:07.047194 trace2/program.go:41              child_ready[1] pid:-1 ready:error elapsed:0.001000
00:03:07.048194 trace2/program.go:42              error cannot greet "the world"
00:03:07.049194 trace2/program.go:43              printf 100%
00:03:07.050194 trace2/program.go:44              signal elapsed:0.029000 code:13
00:03:07.051194 trace2/program.go:45              exit elapsed:0.030000 code:3
00:03:07.052194 trace2/tracer.go:N                timer greeting/time intervals:2 total:0.002000 min:0.001000 max:0.001000
00:03:07.053194 trace2/tracer.go:N                counter greeting/words value:5
00:03:07.054194 trace2/program.go:45              atexit elapsed:0.033000 code:3
`)
}

func TestNormalBrief(t *testing.T) {
	compare(t, trace(t, "GIT_TRACE2", "GIT_TRACE2_BRIEF=1"), `
version VERSION
start greet --to 'the world'
cmd_name greet (greet)
cmd_mode politely
def_param scope:command greeting=good morning
child_start[0] cd 'a directory'; no-such-program 'it'\''s'
child_exit[0] pid:-1 code:-1 elapsed:0.001000
child_start[1] daemon
child_ready[1] pid:-1 ready:error elapsed:0.001000
error cannot greet "the world"
printf 100%
signal elapsed:0.029000 code:13
exit elapsed:0.030000 code:3
timer greeting/time intervals:2 total:0.002000 min:0.001000 max:0.001000
counter greeting/words value:5
atexit elapsed:0.033000 code:3
`)
}

func TestPerf(t *testing.T) {
	compare(t, trace(t, "GIT_TRACE2_PERF"), `
00:03:07.021194 trace2/tracer.go:N           | d0 | main                     | version      |     |           |           |              | VERSION
00:03:07.022194 trace2/program.go:13         | d0 | main                     | start        |     |  0.001000 |           |              | greet --to 'the world'
00:03:07.023194 trace2/program.go:14         | d0 | main                     | cmd_name     |     |           |           |              | greet (greet)
00:03:07.024194 trace2/program.go:15         | d0 | main                     | cmd_mode     |     |           |           |              | politely
00:03:07.025194 trace2/program.go:16         | d0 | main                     | def_param    |     |           |           | scope:comman | greeting:good morning
00:03:07.026194 trace2/program.go:17         | d0 | main                     | region_enter |     |  0.005000 |           | greeting     | label:compose for all
00:03:07.027194 trace2/program.go:18         | d0 | main                     | data         |     |  0.006000 |  0.001000 | greeting     | ..length:12
00:03:07.028194 trace2/program.go:19         | d0 | main                     | region_enter |     |  0.007000 |           | a long categ | ..label:inner
00:03:07.029194 trace2/program.go:20         | d0 | main                     | data         |     |  0.008000 |  0.001000 | a long categ | ....text:"größer"

00:03:07.030194 trace2/program.go:21         | d0 | main                     | region_enter |     |  0.009000 |           | deep         | ....label:deep
00:03:07.031194 trace2/program.go:22         | d0 | main                     | data         |     |  0.010000 |  0.001000 | deep         | ......deep:true
00:03:07.032194 trace2/program.go:23         | d0 | main                     | region_leave |     |  0.011000 |  0.002000 | deep         | ....label:deep
00:03:07.033194 trace2/program.go:24         | d0 | main                     | region_leave |     |  0.012000 |  0.005000 | a long categ | ..label:inner
00:03:07.034194 trace2/program.go:25         | d0 | main                     | data_json    |     |  0.013000 |  0.008000 | greeting     | ..words:["hello","world"]
00:03:07.035194 trace2/program.go:28         | d0 | main                     | child_start  |     |  0.014000 |           |              | ..[ch0] class:editor cd:'a directory' argv:[no-such-program 'it'\''s']
00:03:07.036194 trace2/program.go:29         | d0 | main                     | child_exit   |     |  0.015000 |  0.001000 |              | ..[ch0] pid:-1 code:-1
00:03:07.037194 trace2/program.go:30         | d0 | main                     | region_leave |     |  0.016000 |  0.011000 | greeting     | label:compose for all
00:03:07.038194 trace2/program.go:31         | d0 | th01:worker              | thread_start |     |  0.017000 |           |              | ·
00:03:07.039194 trace2/program.go:32         | d0 | th01:worker              | region_enter |     |  0.018000 |           | greeting     | label:print
00:03:07.044194 trace2/program.go:38         | d0 | th01:worker              | region_leave |     |  0.023000 |  0.005000 | greeting     | label:print
00:03:07.045194 trace2/program.go:39         | d0 | th01:worker              | thread_exit  |     |  0.024000 |  0.007000 |              | ·
00:03:07.046194 trace2/program.go:40         | d0 | main                     | child_start  |     |  0.025000 |           |              | [ch1] class:? argv:[daemon]
00:03:07.047194 trace2/program.go:41         | d0 | main                     | child_ready  |     |  0.026000 |  0.001000 |              | [ch1] pid:-1 ready:error
00:03:07.048194 trace2/program.go:42         | d0 | main                     | error        |     |           |           |              | cannot greet "the world"
00:03:07.049194 trace2/program.go:43         | d0 | main                     | printf       |     |  0.028000 |           |              | 100%
00:03:07.050194 trace2/program.go:44         | d0 | main                     | signal       |     |  0.029000 |           |              | signo:13
00:03:07.051194 trace2/program.go:45         | d0 | main                     | exit         |     |  0.030000 |           |              | code:3
00:03:07.052194 trace2/tracer.go:N           | d0 | main                     | timer        |     |           |           | greeting     | name:time intervals:2 total:0.002000 min:0.001000 max:0.001000
00:03:07.053194 trace2/tracer.go:N           | d0 | main                     | counter      |     |           |           | greeting     | name:words value:5
00:03:07.054194 trace2/program.go:45         | d0 | main                     | atexit       |     |  0.033000 |           |              | code:3
`)
}

func TestPerfBrief(t *testing.T) {
	compare(t, trace(t, "GIT_TRACE2_PERF", "GIT_TRACE2_PERF_BRIEF=true", "GIT_TRACE2_PARENT_SID=a/b", "GIT_TRACE2_PARENT_NAME=one/two"), `
d2 | main                     | version      |     |           |           |              | VERSION
d2 | main                     | start        |     |  0.001000 |           |              | greet --to 'the world'
d2 | main                     | cmd_name     |     |           |           |              | greet (one/two/greet)
d2 | main                     | cmd_mode     |     |           |           |              | politely
d2 | main                     | def_param    |     |           |           | scope:comman | greeting:good morning
d2 | main                     | region_enter |     |  0.005000 |           | greeting     | label:compose for all
d2 | main                     | data         |     |  0.006000 |  0.001000 | greeting     | ..length:12
d2 | main                     | region_enter |     |  0.007000 |           | a long categ | ..label:inner
d2 | main                     | data         |     |  0.008000 |  0.001000 | a long categ | ....text:"größer"

d2 | main                     | region_enter |     |  0.009000 |           | deep         | ....label:deep
d2 | main                     | data         |     |  0.010000 |  0.001000 | deep         | ......deep:true
d2 | main                     | region_leave |     |  0.011000 |  0.002000 | deep         | ....label:deep
d2 | main                     | region_leave |     |  0.012000 |  0.005000 | a long categ | ..label:inner
d2 | main                     | data_json    |     |  0.013000 |  0.008000 | greeting     | ..words:["hello","world"]
d2 | main                     | child_start  |     |  0.014000 |           |              | ..[ch0] class:editor cd:'a directory' argv:[no-such-program 'it'\''s']
d2 | main                     | child_exit   |     |  0.015000 |  0.001000 |              | ..[ch0] pid:-1 code:-1
d2 | main                     | region_leave |     |  0.016000 |  0.011000 | greeting     | label:compose for all
d2 | th01:worker              | thread_start |     |  0.017000 |           |              | ·
d2 | th01:worker              | region_enter |     |  0.018000 |           | greeting     | label:print
d2 | th01:worker              | region_leave |     |  0.023000 |  0.005000 | greeting     | label:print
d2 | th01:worker              | thread_exit  |     |  0.024000 |  0.007000 |              | ·
d2 | main                     | child_start  |     |  0.025000 |           |              | [ch1] class:? argv:[daemon]
d2 | main                     | child_ready  |     |  0.026000 |  0.001000 |              | [ch1] pid:-1 ready:error
d2 | main                     | error        |     |           |           |              | cannot greet "the world"
d2 | main                     | printf       |     |  0.028000 |           |              | 100%
d2 | main                     | signal       |     |  0.029000 |           |              | signo:13
d2 | main                     | exit         |     |  0.030000 |           |              | code:3
d2 | main                     | timer        |     |           |           | greeting     | name:time intervals:2 total:0.002000 min:0.001000 max:0.001000
d2 | main                     | counter      |     |           |           | greeting     | name:words value:5
d2 | main                     | atexit       |     |  0.033000 |           |              | code:3
`)
}

func TestEvent(t *testing.T) {
	compare(t, trace(t, "GIT_TRACE2_EVENT"), `
{"event":"version","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","time":"2026-11-21T22:03:07.021194Z","file":"trace2/tracer.go","line":N,"evt":"4","exe":"VERSION"}
{"event":"start","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","time":"2026-11-21T22:03:07.022194Z","file":"trace2/program.go","line":13,"t_abs":0.001000,"argv":["greet","--to","the world"]}
{"event":"cmd_name","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","time":"2026-11-21T22:03:07.023194Z","file":"trace2/program.go","line":14,"name":"greet","hierarchy":"greet"}
{"event":"cmd_mode","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","time":"2026-11-21T22:03:07.024194Z","file":"trace2/program.go","line":15,"name":"politely"}
{"event":"def_param","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","time":"2026-11-21T22:03:07.025194Z","file":"trace2/program.go","line":16,"scope":"command","param":"greeting","value":"good morning"}
{"event":"region_enter","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","time":"2026-11-21T22:03:07.026194Z","file":"trace2/program.go","line":17,"nesting":1,"category":"greeting","label":"compose","msg":"for all"}
{"event":"data","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","time":"2026-11-21T22:03:07.027194Z","file":"trace2/program.go","line":18,"t_abs":0.006000,"t_rel":0.001000,"nesting":2,"category":"greeting","key":"length","value":"12"}
{"event":"region_enter","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","time":"2026-11-21T22:03:07.028194Z","file":"trace2/program.go","line":19,"nesting":2,"category":"a long category","label":"inner"}
{"event":"region_leave","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","time":"2026-11-21T22:03:07.033194Z","file":"trace2/program.go","line":24,"t_rel":0.005000,"nesting":2,"category":"a long category","label":"inner"}
{"event":"data_json","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","time":"2026-11-21T22:03:07.034194Z","file":"trace2/program.go","line":25,"t_abs":0.013000,"t_rel":0.008000,"nesting":2,"category":"greeting","key":"words","value":["hello","world"]}
{"event":"child_start","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","time":"2026-11-21T22:03:07.035194Z","file":"trace2/program.go","line":28,"child_id":0,"child_class":"editor","cd":"a directory","use_shell":false,"argv":["no-such-program","it's"]}
{"event":"child_exit","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","time":"2026-11-21T22:03:07.036194Z","file":"trace2/program.go","line":29,"t_rel":0.001000,"child_id":0,"pid":-1,"code":-1}
{"event":"region_leave","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","time":"2026-11-21T22:03:07.037194Z","file":"trace2/program.go","line":30,"t_rel":0.011000,"nesting":1,"category":"greeting","label":"compose","msg":"for all"}
{"event":"thread_start","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"th01:worker","time":"2026-11-21T22:03:07.038194Z","file":"trace2/program.go","line":31}
{"event":"region_enter","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"th01:worker","time":"2026-11-21T22:03:07.039194Z","file":"trace2/program.go","line":32,"nesting":1,"category":"greeting","label":"print"}
{"event":"region_leave","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"th01:worker","time":"2026-11-21T22:03:07.044194Z","file":"trace2/program.go","line":38,"t_rel":0.005000,"nesting":1,"category":"greeting","label":"print"}
{"event":"thread_exit","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"th01:worker","time":"2026-11-21T22:03:07.045194Z","file":"trace2/program.go","line":39,"t_rel":0.007000}
{"event":"child_start","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","time":"2026-11-21T22:03:07.046194Z","file":"trace2/program.go","line":40,"child_id":1,"child_class":"?","use_shell":false,"argv":["daemon"]}
{"event":"child_ready","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","time":"2026-11-21T22:03:07.047194Z","file":"trace2/program.go","line":41,"t_rel":0.001000,"child_id":1,"pid":-1,"ready":"error"}
{"event":"error","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","time":"2026-11-21T22:03:07.048194Z","file":"trace2/program.go","line":42,"msg":"cannot greet \"the world\"","fmt":"cannot greet %q"}
{"event":"printf","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","time":"2026-11-21T22:03:07.049194Z","file":"trace2/program.go","line":43,"t_abs":0.028000,"msg":"100%"}
{"event":"signal","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","time":"2026-11-21T22:03:07.050194Z","file":"trace2/program.go","line":44,"t_abs":0.029000,"signo":13}
{"event":"exit","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","time":"2026-11-21T22:03:07.051194Z","file":"trace2/program.go","line":45,"t_abs":0.030000,"code":3}
{"event":"timer","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","time":"2026-11-21T22:03:07.052194Z","file":"trace2/tracer.go","line":N,"category":"greeting","name":"time","intervals":2,"t_total":0.002000,"t_min":0.001000,"t_max":0.001000}
{"event":"counter","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","time":"2026-11-21T22:03:07.053194Z","file":"trace2/tracer.go","line":N,"category":"greeting","name":"words","count":5}
{"event":"atexit","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","time":"2026-11-21T22:03:07.054194Z","file":"trace2/program.go","line":45,"t_abs":0.033000,"code":3}
`)
}

func TestEventBrief(t *testing.T) {
	compare(t, trace(t, "GIT_TRACE2_EVENT", "GIT_TRACE2_EVENT_BRIEF=yes", "GIT_TRACE2_EVENT_NESTING=9"), `
{"event":"version","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","time":"2026-11-21T22:03:07.021194Z","evt":"4","exe":"VERSION"}
{"event":"start","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","time":"2026-11-21T22:03:07.022194Z","t_abs":0.001000,"argv":["greet","--to","the world"]}
{"event":"cmd_name","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","name":"greet","hierarchy":"greet"}
{"event":"cmd_mode","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","name":"politely"}
{"event":"def_param","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","scope":"command","param":"greeting","value":"good morning"}
{"event":"region_enter","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","nesting":1,"category":"greeting","label":"compose","msg":"for all"}
{"event":"data","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","t_abs":0.006000,"t_rel":0.001000,"nesting":2,"category":"greeting","key":"length","value":"12"}
{"event":"region_enter","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","nesting":2,"category":"a long category","label":"inner"}
{"event":"data","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","t_abs":0.008000,"t_rel":0.001000,"nesting":3,"category":"a long category","key":"text","value":"\"größer\"\n"}
{"event":"region_enter","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","nesting":3,"category":"deep","label":"deep"}
{"event":"data","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","t_abs":0.010000,"t_rel":0.001000,"nesting":4,"category":"deep","key":"deep","value":"true"}
{"event":"region_leave","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","t_rel":0.002000,"nesting":3,"category":"deep","label":"deep"}
{"event":"region_leave","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","t_rel":0.005000,"nesting":2,"category":"a long category","label":"inner"}
{"event":"data_json","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","t_abs":0.013000,"t_rel":0.008000,"nesting":2,"category":"greeting","key":"words","value":["hello","world"]}
{"event":"child_start","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","child_id":0,"child_class":"editor","cd":"a directory","use_shell":false,"argv":["no-such-program","it's"]}
{"event":"child_exit","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","t_rel":0.001000,"child_id":0,"pid":-1,"code":-1}
{"event":"region_leave","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","t_rel":0.011000,"nesting":1,"category":"greeting","label":"compose","msg":"for all"}
{"event":"thread_start","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"th01:worker"}
{"event":"region_enter","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"th01:worker","nesting":1,"category":"greeting","label":"print"}
{"event":"region_leave","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"th01:worker","t_rel":0.005000,"nesting":1,"category":"greeting","label":"print"}
{"event":"thread_exit","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"th01:worker","t_rel":0.007000}
{"event":"child_start","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","child_id":1,"child_class":"?","use_shell":false,"argv":["daemon"]}
{"event":"child_ready","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","t_rel":0.001000,"child_id":1,"pid":-1,"ready":"error"}
{"event":"error","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","msg":"cannot greet \"the world\"","fmt":"cannot greet %q"}
{"event":"printf","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","t_abs":0.028000,"msg":"100%"}
{"event":"signal","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","t_abs":0.029000,"signo":13}
{"event":"exit","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","t_abs":0.030000,"code":3}
{"event":"timer","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","category":"greeting","name":"time","intervals":2,"t_total":0.002000,"t_min":0.001000,"t_max":0.001000}
{"event":"counter","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","category":"greeting","name":"words","count":5}
{"event":"atexit","sid":"20261121T220307.021194Z-H0a7c9cdf-P000070a8","thread":"main","time":"2026-11-21T22:03:07.054194Z","t_abs":0.033000,"code":3}
`)
}
