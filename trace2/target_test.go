package trace2

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// appended is how many lines a process appends.
const appended = 300

func init() {
	childFuncs["lines"] = func(ctx context.Context, _ []string) {
		for i := range appended {
			Printf(ctx, "%s", strings.Repeat("x", i*i%20000))
		}
	}
	childFuncs["targets"] = func(ctx context.Context, _ []string) {
		for range 100 {
			Printf(ctx, "again")
		}
	}
}

// TestAppend has two processes with several goroutines append to one file.
func TestAppend(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows appends at once, but Wine, with which this is tested, does not")
	}
	path := filepath.Join(t.TempDir(), "trace")
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 2 {
		cmd := child(t, "lines", "GIT_TRACE2_EVENT="+path)
		wg.Go(func() {
			if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	wg.Wait()
	sids := make(map[string]int)
	for _, e := range readStream(t, path, false) {
		if e.Text("event") == "printf" {
			sids[e.Text("sid")]++
		}
	}
	for sid, n := range sids {
		if n != appended {
			t.Errorf("%s has %d lines", sid, n)
		}
	}
	if len(sids) != 2 {
		t.Errorf("the sessions are %v", sids)
	}
}

// TestLongLines has goroutines write lines that are longer than any buffer.
func TestLongLines(t *testing.T) {
	path, ctx, exit := traceFile(t)
	text := strings.Repeat("long", 1<<16)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 3 {
				Printf(ctx, "%s", text)
			}
		})
	}
	wg.Wait()
	exit()
	for _, e := range readStream(t, path, false) {
		if e.Text("event") == "printf" && e.Text("msg") != text {
			t.Fatalf("a text of %d bytes became one of %d", len(text), len(e.Text("msg")))
		}
	}
}

func TestAllTargets(t *testing.T) {
	dir := t.TempDir()
	var each []string
	for i, name := range variables {
		each = append(each, name+"="+filepath.Join(dir, fmt.Sprint(i)))
	}
	tracer := New(env(each...))
	Printf(tracer.Context(context.Background()), "to all")
	tracer.Exit(0)
	for i, want := range []string{" printf to all\n", " | to all\n", `"msg":"to all"}` + "\n"} {
		if got := contents(t, filepath.Join(dir, fmt.Sprint(i))); !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
}

// files returns the names of a directory's files.
func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	newTracer(env("GIT_TRACE2="+dir, "GIT_TRACE2_PERF="+dir, "GIT_TRACE2_EVENT="+dir, parentSID+"=a/b"), fakeClock(), fakeSID).Exit(0)
	const name = "20261121T220307.021194Z-H0a7c9cdf-P000070a8"
	if got, want := files(t, dir), []string{name, name + ".1", name + ".2"}; !slices.Equal(got, want) {
		t.Fatalf("the files are %q, not %q", got, want)
	}
	if sid := readStream(t, filepath.Join(dir, name+".2"), false)[0].Text("sid"); sid != "a/b/"+name {
		t.Errorf("the session is %s", sid)
	}
}

func TestMaxFiles(t *testing.T) {
	dir := t.TempDir()
	session := func(max string) []string {
		New(env("GIT_TRACE2_EVENT="+dir, "GIT_TRACE2_MAX_FILES="+max)).Exit(0)
		return files(t, dir)
	}
	for _, max := range []string{"", "0", "-1", "x", "5", "6"} {
		if got := session(max); slices.Contains(got, discardName) {
			t.Fatalf("%q: the directory is full already: %q", max, got)
		}
	}
	full := session("6")
	if len(full) != 7 || !slices.Contains(full, discardName) {
		t.Fatalf("the directory is not full: %q", full)
	}
	discard := filepath.Join(dir, discardName)
	if got, want := eventsOf(readStream(t, discard, false)), "version too_many_files exit atexit"; got != want {
		t.Errorf("what is told there is %s, not %s", got, want)
	}
	before := contents(t, discard)
	if got := session("6"); !slices.Equal(got, full) || contents(t, discard) != before {
		t.Errorf("something was written to the full directory: %q", got)
	}
	if got := session("100"); !slices.Equal(got, full) {
		t.Errorf("it is not full for those who may write more: %q", got)
	}
	if got := session(""); len(got) != 8 {
		t.Errorf("it is full for those without a limit: %q", got)
	}
	if err := os.Remove(discard); err != nil {
		t.Fatal(err)
	}
	if got := session("100"); len(got) != 8 {
		t.Errorf("it has not been opened again: %q", got)
	}
}

func TestNamesTaken(t *testing.T) {
	dir := t.TempDir()
	sid := fakeSID(fakeClock()())
	for i := range maxSameName {
		name := filepath.Join(dir, sid)
		if i > 0 {
			name += fmt.Sprintf(".%d", i)
		}
		if err := os.WriteFile(name, nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if tracer := newTracer(env("GIT_TRACE2="+dir), fakeClock(), fakeSID); tracer.alive.Load() {
		t.Error("it goes on")
		tracer.Exit(0)
	}
	if got := files(t, dir); len(got) != maxSameName {
		t.Errorf("%d files", len(got))
	}
}

// TestValues checks what the variables may be. Each is that of a process of its
// own, which complains once about what does not work, and otherwise not.
func TestValues(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing", "file")
	for value, want := range map[string]string{
		"":                 "",
		"0":                "",
		"False":            "",
		"True":             "version ",
		"1":                "version ",
		"2":                "version ",
		"10":               "GIT_TRACE2=10: it is none of",
		"yes":              "GIT_TRACE2=yes: it is none of",
		"relative/path":    "GIT_TRACE2=relative/path: it is none of",
		missing:            "GIT_TRACE2=" + missing + ": open ",
		"af_unix:relative": "GIT_TRACE2=af_unix:relative: it is none of",
		"af_unix:dgram:x":  "GIT_TRACE2=af_unix:dgram:x: it is none of",
	} {
		for _, debug := range []string{"0", "1"} {
			stderr := run(t, child(t, "targets", "GIT_TRACE2="+value, "GIT_TRACE2_BRIEF=1", "GIT_TRACE2_DST_DEBUG="+debug))
			first, rest, _ := strings.Cut(stderr, "\n")
			switch {
			case strings.HasPrefix(want, "version"):
				if !strings.HasPrefix(first, want) {
					t.Errorf("%q: %q", value, stderr)
				}
			case want == "" || debug == "0":
				if stderr != "" {
					t.Errorf("%q: there is a complaint: %q", value, stderr)
				}
			default:
				if !strings.HasPrefix(first, "warning: trace2: cannot write to "+want) || rest != "" {
					t.Errorf("%q: the complaint is %q", value, stderr)
				}
			}
		}
	}
}
