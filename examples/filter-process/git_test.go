package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"example.com/simpleipc/internal/race"
)

// A repo is a repository of real Git's, in which the folder "data" is filtered.
type repo struct {
	t   *testing.T
	dir string
	env []string
	tmp string // where the filter has its temporary files
}

// newRepo makes a repository. The filter is required, and gets these flags.
func newRepo(t *testing.T, flags string) *repo {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skipf("this test needs Git: %v", err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	home, tmp := t.TempDir(), t.TempDir()
	r := &repo{t: t, dir: filepath.Join(t.TempDir(), "repo"), tmp: tmp}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "GIT_") {
			r.env = append(r.env, v)
		}
	}
	r.env = append(r.env, "HOME="+home, "LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+filepath.Join(home, "config"),
		"GIT_AUTHOR_NAME=A U Thor", "GIT_AUTHOR_EMAIL=author@example.com",
		"GIT_COMMITTER_NAME=C O Mitter", "GIT_COMMITTER_EMAIL=committer@example.com",
		"TMPDIR="+tmp, roleEnv+"=main", "GORACE=atexit_sleep_ms=0")
	r.git("init", "--quiet", r.dir)
	r.git("config", "--global", "core.compression", "0") // for speed
	r.git("config", "--global", "filter.gzip.process", "'"+exe+"' "+flags)
	r.git("config", "--global", "filter.gzip.required", "true")
	r.write(".gitattributes", "/data/** filter=gzip\n")
	return r
}

// try runs Git in the repository, with more in its environment.
func (r *repo) try(env []string, args ...string) (stdout, stderr string, err error) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.WaitDelay = time.Second
	if _, err := os.Stat(r.dir); err == nil {
		cmd.Dir = r.dir
	}
	cmd.Env = append(append([]string(nil), r.env...), env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if ctx.Err() != nil {
		r.t.Fatalf("git %s hangs: %s", args, &errs)
	}
	return out.String(), errs.String(), err
}

// git runs Git, which must succeed and have nothing to say, and returns its
// output.
func (r *repo) git(args ...string) string {
	r.t.Helper()
	stdout, stderr, err := r.try(nil, args...)
	if err != nil || stderr != "" {
		r.t.Fatalf("git %.100q: %v\n%s", args, err, stderr)
	}
	return stdout
}

// fail runs Git, which must fail, and returns what it says.
func (r *repo) fail(env []string, args ...string) string {
	r.t.Helper()
	_, stderr, err := r.try(env, args...)
	if err == nil {
		r.t.Fatalf("git %.100q succeeds", args)
	}
	return stderr
}

// traced runs Git, which must succeed, and returns the lines of text that it
// exchanged with the filter, as "git> command=clean".
func (r *repo) traced(args ...string) (lines []string) {
	r.t.Helper()
	trace := filepath.Join(r.t.TempDir(), "trace")
	if _, stderr, err := r.try([]string{"GIT_TRACE_PACKET=" + trace}, args...); err != nil {
		r.t.Fatalf("git %.100q: %v\n%s", args, err, stderr)
	}
	b, err := os.ReadFile(trace)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, m := range traceLine.FindAllSubmatch(b, -1) {
		lines = append(lines, string(m[1]))
	}
	return lines
}

var traceLine = regexp.MustCompile(`(?m)packet: +(git[<>] [a-z_-]+=.*)$`)

// count returns how many of the lines begin with prefix.
func count(lines []string, prefix string) (n int) {
	for _, l := range lines {
		if strings.HasPrefix(l, prefix) {
			n++
		}
	}
	return n
}

func (r *repo) write(name, content string) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		r.t.Fatal(err)
	}
}

// commit writes files into the folder "data" and commits them.
func (r *repo) commit(files map[string]string) {
	r.t.Helper()
	for name, content := range files {
		r.write(filepath.Join("data", name), content)
	}
	r.git("add", ".")
	r.git("commit", "--quiet", "--message=x")
}

// check compares the files in the work tree. Nothing must be modified.
func (r *repo) check(files map[string]string) {
	r.t.Helper()
	for name, content := range files {
		path := filepath.Join(r.dir, "data", name)
		got, err := os.ReadFile(path)
		if err != nil || string(got) != content {
			r.t.Errorf("%q has not the %d bytes that it should have, but %d: %v", name, len(content), len(got), err)
		}
	}
	if found, _ := os.ReadDir(filepath.Join(r.dir, "data")); len(found) != len(files) {
		r.t.Errorf("there are %d files, want %d", len(found), len(files))
	}
	if status := r.git("status", "--porcelain"); status != "" {
		r.t.Errorf("modified: %.1000s", status)
	}
	r.checkTemporary()
}

// touch lets Git believe that all files in "data" have changed, so that it has
// them cleaned again to know whether they are modified.
func (r *repo) touch() {
	r.t.Helper()
	paths, err := filepath.Glob(filepath.Join(r.dir, "data", "*"))
	if err != nil {
		r.t.Fatal(err)
	}
	for _, path := range paths {
		if err := os.Chtimes(path, time.Time{}, time.Unix(1e9, 0)); err != nil {
			r.t.Fatal(err)
		}
	}
}

// checkTemporary fails if the filter has left anything.
func (r *repo) checkTemporary() {
	r.t.Helper()
	if left, err := os.ReadDir(r.tmp); len(left) > 0 || err != nil {
		r.t.Errorf("the filter leaves %v (%v)", left, err)
	}
}

// nameless reports whether temporary files never have a name here, not even for
// the moment in which the filter may be killed.
func nameless(t *testing.T) bool {
	t.Helper()
	f, err := openTemporary()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return f.Name() == os.TempDir()
}

// empty removes the folder "data".
func (r *repo) empty() {
	r.t.Helper()
	if err := os.RemoveAll(filepath.Join(r.dir, "data")); err != nil {
		r.t.Fatal(err)
	}
}

// clone makes another repository from r.
func (r *repo) clone(args ...string) *repo {
	r.t.Helper()
	c := *r
	c.dir = filepath.Join(r.t.TempDir(), "clone")
	if _, stderr, err := r.try(nil, append(args, "clone", "--quiet", r.dir, c.dir)...); err != nil || stderr != "" {
		r.t.Fatalf("git clone: %v\n%s", err, stderr)
	}
	return &c
}

// damage stores another blob for a file in data, with a byte near its end that
// is wrong, and commits that.
func (r *repo) damage(name string) {
	r.t.Helper()
	blob := []byte(r.git("cat-file", "blob", "HEAD:data/"+name))
	blob[len(blob)-6] ^= 1
	path := filepath.Join(r.t.TempDir(), "blob")
	if err := os.WriteFile(path, blob, 0o666); err != nil {
		r.t.Fatal(err)
	}
	id := strings.TrimSpace(r.git("hash-object", "-w", "--no-filters", path))
	r.git("update-index", "--cacheinfo", "100644,"+id+",data/"+name)
	r.git("commit", "--quiet", "--message=damaged")
}

func TestGit(t *testing.T) {
	t.Parallel()
	huge := 50_000_000
	if race.Enabled {
		huge /= 10 // it would take more than ten seconds
	}
	files := map[string]string{
		"empty":                 "",
		"one":                   "x",
		"nul":                   "\x00",
		"lines":                 "a\nb\r\nc",
		"packet - 1":            random(1, 65515),
		"packet":                random(2, 65516),
		"packet + 1":            random(3, 65517),
		"two packets":           random(4, 131032),
		"two packets + 1":       random(5, 131033),
		"huge":                  random(6, huge),
		"huge, compressible":    strings.Repeat("All work and no play\x00", huge/21),
		"ends with a newline\n": random(7, 70_000),
		"-n\t\"\\ = größe 日本":   random(8, 70_000),
		"gzip file":             foreign(t, random(9, 1000)),
		"stored":                stored,
		"stored twice":          blobOf(t, stored),
		"stored, corrupt":       stored[:len(stored)-1],
	}
	for i := range 450 {
		files[fmt.Sprintf("small %d", i)] = strings.Repeat(fmt.Sprintf("small file %d\n", i), i)
	}
	r := newRepo(t, "")
	r.commit(files)

	for _, name := range []string{"empty", "packet", "huge, compressible", "stored", "small 449"} {
		blob := r.git("cat-file", "blob", "HEAD:data/"+name)
		if len(files[name]) > 1000 && len(blob) > len(files[name])+len(storedHead)+30 {
			t.Errorf("%q of %d bytes is stored as %d bytes", name, len(files[name]), len(blob))
		}
		z, err := gzip.NewReader(strings.NewReader(blob))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(z); string(got) != files[name] || err != nil {
			t.Errorf("the blob of %q has %d bytes of content, want %d: %v", name, len(got), len(files[name]), err)
		}
	}
	if size := r.git("cat-file", "-s", "HEAD:data/huge, compressible"); len(size) > len("999999\n") {
		t.Errorf("a compressible file of %d bytes is stored as %s bytes", huge, size)
	}

	r.empty()
	r.git("checkout", "--quiet", ".")
	r.touch()
	r.check(files)

	exe, _ := os.Executable()
	c := r.clone("-c", "filter.gzip.process='"+exe+"' --no-delay")
	c.check(files)
}

// Git fetches what was delayed later, and as many blobs as there is room for
// are.
func TestGitDelays(t *testing.T) {
	t.Parallel()
	files := make(map[string]string)
	const n = maxDelayed + 6
	for i := range n {
		files[fmt.Sprintf("large %d", i)] = random(uint64(i), delayFrom)
		files[fmt.Sprintf("small %d", i)] = "hello"
	}
	r := newRepo(t, "")
	r.commit(files)
	r.empty()
	lines := r.traced("checkout", "--quiet", ".")
	for prefix, want := range map[string]int{
		"git< capability=delay":  1,
		"git> can-delay=1":       2 * n,
		"git< status=delayed":    maxDelayed,
		"git< pathname=":         maxDelayed,
		"git> command=smudge":    2*n + maxDelayed,
		"git< status=error":      0,
		"git< status=abort":      0,
		"git< pathname=data/sma": 0,
	} {
		if got := count(lines, prefix); got != want {
			t.Errorf("%d lines %q, want %d", got, prefix, want)
		}
	}
	if count(lines, "git> command=list_available_blobs") < 2 {
		t.Error("Git has not asked for what was delayed to the end")
	}
	r.check(files)

	exe, _ := os.Executable()
	r.git("config", "filter.gzip.process", "'"+exe+"' --no-delay")
	r.empty()
	lines = r.traced("checkout", "--quiet", "data/large 1", "data/small 1", "data/large 2")
	for _, word := range []string{"capability=delay", "can-delay", "status=delayed", "command=list_available_blobs"} {
		if want := min(1, strings.Count(word, "capability")); count(lines, "git> "+word)+count(lines, "git< "+word) != want {
			t.Errorf("more or less than %d lines %q with --no-delay", want, word)
		}
	}
	r.git("checkout", "--quiet", ".")
	r.check(files)
}

// What was there before the filter comes out as it is, until it is added again.
func TestGitCommittedWithout(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"empty":     "",
		"text":      "hello\n",
		"gzip file": foreign(t, "hello"),
		"large":     random(1, 3*delayFrom),
	}
	r := newRepo(t, "")
	r.write(".gitattributes", "")
	r.commit(files)
	r.write(".gitattributes", "/data/** filter=gzip\n")
	r.git("add", ".gitattributes")
	r.git("commit", "--quiet", "--message=filter")
	for range 2 {
		r.empty()
		r.git("checkout", "--quiet", ".")
		for name, content := range files {
			if got, err := os.ReadFile(filepath.Join(r.dir, "data", name)); string(got) != content || err != nil {
				t.Errorf("%q has %d bytes, want %d: %v", name, len(got), len(content), err)
			}
		}
		r.git("add", "--renormalize", ".")
		r.git("commit", "--quiet", "--allow-empty", "--message=stored")
	}
	r.check(files)
	if blob := r.git("cat-file", "blob", "HEAD:data/text"); !strings.HasPrefix(blob, storedHead) {
		t.Errorf("the blob is %q", blob)
	}

	// A work tree from before the filter, set right as the documentation says.
	c := r.clone("-c", "filter.gzip.process=", "-c", "filter.gzip.required=false")
	got, err := os.ReadFile(filepath.Join(c.dir, "data", "text"))
	if err != nil || !strings.HasPrefix(string(got), storedHead) {
		t.Errorf("without the filter the file is %q: %v", got, err)
	}
	c.git("rm", "-r", "--cached", "--quiet", ".")
	c.git("reset", "--quiet", "--hard")
	c.check(files)
}

// A corrupt blob is an error with its name, and the other files are right.
func TestGitCorrupt(t *testing.T) {
	files := map[string]string{"a": "hello", "b": "world", "c": "again"}
	large := make(map[string]string)
	for i, name := range []string{"a", "b", "c"} {
		large[name] = random(uint64(i), 3*delayFrom)
	}
	for _, tt := range []struct {
		name, flags string
		files       map[string]string
		stops       bool // Git stops at the corrupt file
	}{
		{"at once", "", files, true},
		{"large", "--no-delay", large, true},
		{"delayed", "", large, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRepo(t, tt.flags)
			r.commit(tt.files)
			r.damage("b")
			r.empty()
			stderr := r.fail(nil, "checkout", ".")
			if want := "filter-process: smudge \"data/b\": the stored blob is corrupt: gzip: invalid checksum\n"; !strings.Contains(stderr, want) {
				t.Errorf("it says %q", stderr)
			}
			if _, err := os.Stat(filepath.Join(r.dir, "data", "b")); err == nil {
				t.Error("the corrupt file was written")
			}
			if tt.stops {
				r.git("checkout", "--quiet", "data/a", "data/c")
			}
			for _, name := range []string{"a", "c"} {
				if got, err := os.ReadFile(filepath.Join(r.dir, "data", name)); string(got) != tt.files[name] || err != nil {
					t.Errorf("%s has %d bytes, want %d: %v", name, len(got), len(tt.files[name]), err)
				}
			}

			// Where the filter is not required, Git goes on in any case. A
			// file that was delayed must not become an empty one.
			r.git("config", "filter.gzip.required", "false")
			r.empty()
			_, stderr, _ = r.try(nil, "checkout", ".")
			if !strings.Contains(stderr, "the stored blob is corrupt") {
				t.Errorf("it says %q", stderr)
			}
			for _, name := range []string{"a", "c"} {
				if got, err := os.ReadFile(filepath.Join(r.dir, "data", name)); string(got) != tt.files[name] || err != nil {
					t.Errorf("%s has %d bytes, want %d: %v", name, len(got), len(tt.files[name]), err)
				}
			}
			if got, err := os.ReadFile(filepath.Join(r.dir, "data", "b")); err == nil && len(got) == 0 {
				t.Error("the corrupt file is empty")
			}
			r.checkTemporary()
		})
	}
}

// When the filter is killed, Git ends with an error, and nothing is left of the
// filter.
func TestGitFilterKilled(t *testing.T) {
	files := make(map[string]string)
	for i := range 4 {
		files[fmt.Sprint(i)] = random(uint64(i), 3*spoolMemory)
	}
	for _, tt := range []struct {
		name, role, command string
	}{
		{"in the handshake", fmt.Sprintf(dieReading, 1), "checkout"},
		{"before it answers", fmt.Sprintf(dieWriting, 1), "checkout"},
		{"reading a blob", fmt.Sprintf(dieReading, 5*spoolMemory), "checkout"},
		{"listing", fmt.Sprintf(dieWriting, len(helloAnswer)+4*len(delayedAnswer)+1), "checkout"},
		{"sending a file", fmt.Sprintf(dieWriting, 2*spoolMemory), "checkout"},
		{"reading a file", fmt.Sprintf(dieReading, 5*spoolMemory), "add"},
		{"sending a blob", fmt.Sprintf(dieWriting, 4*spoolMemory), "add"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRepo(t, "")
			if tt.command == "add" {
				for name, content := range files {
					r.write(filepath.Join("data", name), content)
				}
			} else {
				r.commit(files)
				r.empty()
			}
			stderr := r.fail([]string{roleEnv + "=" + tt.role}, tt.command, ".")
			if stderr == "" || strings.Contains(stderr, "filter-process: ") {
				t.Errorf("it says %q", stderr)
			}
			if nameless(t) {
				r.checkTemporary()
			} else if err := os.RemoveAll(r.tmp); err != nil || os.Mkdir(r.tmp, 0o777) != nil {
				t.Fatal(err)
			}
			for name, content := range files { // nothing half
				got, err := os.ReadFile(filepath.Join(r.dir, "data", name))
				if err == nil && string(got) != content {
					t.Errorf("%s has %d bytes, want %d", name, len(got), len(content))
				}
			}
			if tt.command == "add" {
				r.commit(nil)
			} else {
				r.git("checkout", "--quiet", ".")
			}
			r.check(files)
		})
	}
}

// A filter that cannot work says why, and Git asks for nothing more.
func TestGitAborted(t *testing.T) {
	t.Parallel()
	files := map[string]string{"a": "hello", "b": random(1, 2*spoolMemory), "c": "again", "d": random(2, 2*spoolMemory)}
	r := newRepo(t, "")
	r.commit(files)
	nowhere := "TMPDIR=" + filepath.Join(r.tmp, "nowhere")
	const reason = " \"data/b\": cannot use a temporary file in the folder that TMPDIR names: "

	r.empty()
	if stderr := r.fail([]string{nowhere}, "checkout", "."); !strings.Contains(stderr, "filter-process: smudge"+reason) {
		t.Errorf("it says %q", stderr)
	}
	r.git("checkout", "--quiet", ".")
	r.check(files)
	r.touch()
	if stderr := r.fail([]string{nowhere}, "add", "--renormalize", "."); !strings.Contains(stderr, "filter-process: clean"+reason) {
		t.Errorf("it says %q", stderr)
	}
	r.check(files)

	// Not required, it is left out from then on.
	r.git("config", "filter.gzip.required", "false")
	r.empty()
	good := r.env
	r.env = append(r.env, nowhere)
	lines := r.traced("checkout", "--quiet", ".")
	r.env = good
	if smudged, aborted := count(lines, "git> command=smudge"), count(lines, "git< status=abort"); smudged != 2 || aborted != 1 {
		t.Errorf("%d requests, and %d times abort: %q", smudged, aborted, lines)
	}
}
