package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// runShell runs a script in a shell, in a directory with a few files, and
// returns what it prints. It skips the test if there is no such shell.
func runShell(t *testing.T, shell, script string, args ...string) string {
	t.Helper()
	exe, err := exec.LookPath(shell)
	if err != nil {
		t.Skipf("there is no %s", shell)
	}
	dir := t.TempDir()
	for _, name := range []string{"a file", "other", "dir/in it"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), testPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe, append(args, "-c", script)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "LC_ALL=C", "GORACE=atexit_sleep_ms=0") // shells complain of missing locales
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", shell, err, out)
	}
	return string(out)
}

// What is typed, with what is offered for its last word. Each shell has its own
// way to offer the flags.
var completionTests = []struct{ line, bash, fish string }{
	{"sendb", "sendbytes", "sendbytes"},
	{"is", "is-active", "is-active"},
	{"--v", "--version", "--version"},
	{"send --f", "--file=", "--file"},
	{"send --re", "--repeat=", "--repeat"},
	{"is-active --j", "--json", "--json"},
	{"is-active --threads", "", ""},
	{"send --file o", "other", "other"},
	{"send --file=o", "--file=other", "--file=other"},
	{"send --file = o", "other", ""}, // that is how bash sees the one above
	{"proxy --listen d", "dir", "dir/"},
	{"send o", "", ""},
	{"send --token o", "", ""},
	{"completion ", "bash|zsh|fish", "bash|fish|zsh"},
	{"demo ", "a file|dir|other", "a file|dir/|other"},
	{"run-daemon --exec simple-ip", "simple-ipc", "simple-ipc"},
	{"run-daemon --exec cat o", "other", "other"},
	{"run-daemon o", "", ""},
	{"start-daemon --threads 3 --ve", "--verbose", "--verbose"},
}

func TestCompletionBash(t *testing.T) {
	t.Parallel()
	var script strings.Builder
	script.WriteString(`bash -n <(simple-ipc completion bash)
source <(simple-ipc completion bash)
offered() {
	COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
	_simple_ipc simple-ipc "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
	(IFS='|'; echo "${COMPREPLY[*]}")
}
`)
	var want strings.Builder
	for _, tt := range completionTests {
		script.WriteString("offered simple-ipc '" + strings.ReplaceAll(tt.line, " ", "' '") + "'\n")
		want.WriteString(tt.bash + "\n")
	}
	script.WriteString("complete -p simple-ipc\n")
	want.WriteString("complete -F _simple_ipc simple-ipc\n")
	if got := runShell(t, "bash", script.String(), "--norc"); got != want.String() {
		t.Errorf("it offers:\n%s\nwant:\n%s", got, want.String())
	}
}

func TestCompletionFish(t *testing.T) {
	t.Parallel()
	script := "simple-ipc completion fish | source\n"
	var want strings.Builder
	for _, tt := range completionTests {
		script += "echo (complete -C 'simple-ipc " + tt.line + "' | string replace -r '\\t.*' '' | sort | string join '|')\n"
		want.WriteString(tt.fish + "\n")
	}
	if got := runShell(t, "fish", script, "--no-config"); got != want.String() {
		t.Errorf("it offers:\n%s\nwant:\n%s", got, want.String())
	}
}

// zsh completes only in its line editor, so a terminal is made for it.
func TestCompletionZsh(t *testing.T) {
	t.Parallel()
	script := `simple-ipc completion zsh >script && zsh -n script || exit
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'PS1=; autoload -Uz compinit; compinit -u -D; source script; simple-ipc() echo "<$*>"; echo rea""dy'
zpty -r -m shell out '*ready*'
typed() {
	zpty -n -w shell "simple-ipc $1"$'\t\n'
	zpty -r -m shell out '*<*>*'
	out=${out##*<}
	print -r - ${out%%>*}
}
`
	var want strings.Builder
	for _, tt := range []struct{ line, becomes string }{
		{"sendb", "sendbytes"},
		{"is", "is-active"},
		{"send --fi", "send --file"},
		{"is-active --j", "is-active --json"},
		{"send --file o", "send --file other"},
		{"send --file=o", "send --file=other"},
		{"send --file=a", "send --file=a file"},
		{"send --file x --rep", "send --file x --repeat"},
		{"send --token o", "send --token o"},
		{"completion z", "completion zsh"},
		{"demo o", "demo other"},
		{"run-daemon --exec simple-ip", "run-daemon --exec simple-ipc"},
		{"run-daemon --exec cat o", "run-daemon --exec cat other"},
		{"run-daemon o", "run-daemon o"},
	} {
		script += "typed '" + tt.line + "'\n"
		want.WriteString(tt.becomes + "\n")
	}
	if got := runShell(t, "zsh", script, "-f"); got != want.String() {
		t.Errorf("it becomes:\n%s\nwant:\n%s", got, want.String())
	}
}
