package trace2

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// repository makes an empty repository, and returns a function that runs Git
// in it, apart from what the user has set, with variables in its environment.
func repository(t *testing.T) func(variable string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is missing")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("text\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	git := func(variable string, args ...string) {
		t.Helper()
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull, "HOME="+dir,
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b", variable)
		run(t, cmd)
	}
	git("", "init", "--quiet")
	return git
}

// TestGitStream reads what the installed Git writes in the event format by the
// same rules as what this package writes.
func TestGitStream(t *testing.T) {
	git := repository(t)
	for _, brief := range []string{"false", "true"} {
		path := filepath.Join(t.TempDir(), "trace")
		t.Setenv("GIT_TRACE2_EVENT_BRIEF", brief)
		t.Setenv("GIT_TRACE2_EVENT_NESTING", "9")
		variable := "GIT_TRACE2_EVENT=" + path
		git(variable, "status")
		git(variable, "add", "file")
		git(variable, "-c", "core.editor=echo hello >", "commit", "--quiet", "--allow-empty")
		git(variable, "-c", "alias.there=!true", "there")
		git(variable, "status")
		entries := readStream(t, path, brief == "true")
		seen := make(map[string]bool)
		for _, e := range entries {
			seen[e.Text("event")] = true
		}
		for _, event := range strings.Fields("version start cmd_name region_enter region_leave data child_start child_exit alias def_repo exit atexit") {
			if !seen[event] {
				t.Errorf("Git has not told %s", event)
			}
		}
	}
}

// TestGitColumns compares the layout of what the installed Git writes for
// people with that of this package. It is not documented, and has been another
// one before.
func TestGitColumns(t *testing.T) {
	git := repository(t)
	if version, err := exec.Command("git", "version").Output(); err != nil || !bytes.Contains(version, []byte(" 2.39.")) {
		t.Skipf("the layout is that of Git 2.39, but this is %s, %v", version, err)
	}
	for variable, separator := range map[string]string{"GIT_TRACE2": " version ", "GIT_TRACE2_PERF": " | "} {
		path := filepath.Join(t.TempDir(), "trace")
		git(variable+"="+path, "version")
		ours, theirs := columns(trace(t, variable), separator), columns(contents(t, path), separator)
		if !slices.Equal(ours, theirs) {
			t.Errorf("%s: the columns end at %v, but Git's at %v", variable, ours, theirs)
		}
	}
}

// columns returns where the separators are in the first line.
func columns(s, separator string) (at []int) {
	s, _, _ = strings.Cut(s, "\n")
	for i := range s {
		if strings.HasPrefix(s[i:], separator) {
			at = append(at, i)
		}
	}
	return at
}

// TestBelowGit runs a traced program as a child of Git, and Git as a child of
// that.
func TestBelowGit(t *testing.T) {
	git := repository(t)
	path := filepath.Join(t.TempDir(), "trace")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(childEnv, "git")
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	git("GIT_TRACE2_EVENT="+path, "-c", "alias.ours=!"+filepath.ToSlash(exe), "ours")

	var sids []string // of Git, ours and Git
	var hierarchies []string
	for _, e := range readStream(t, path, false) {
		switch e.Text("event") {
		case "version":
			sids = append(sids, e.Text("sid"))
		case "cmd_name":
			hierarchies = append(hierarchies, e.Text("hierarchy"))
		}
	}
	if len(sids) != 3 || !strings.HasPrefix(sids[1], sids[0]+"/") || !strings.HasPrefix(sids[2], sids[1]+"/") {
		t.Fatalf("the sessions are not within each other: %q", sids)
	}
	if got := hierarchies[len(hierarchies)-1]; !strings.HasSuffix(got, "/_run_shell_alias_/git/version") {
		t.Errorf("the hierarchy is %s", got)
	}
	host := func(sid string) string { return strings.Split(ownSID(sid), "-")[1] }
	if host(sids[1]) != host(sids[0]) {
		t.Errorf("the host is %s, but for Git %s", host(sids[1]), host(sids[0]))
	}
}

func init() {
	childFuncs["git"] = func(ctx context.Context, _ []string) {
		cmd := exec.Command("git", "version")
		child := Child(ctx, "?", cmd)
		_ = cmd.Run() // its events say how it went
		child.Exit()
	}
}
