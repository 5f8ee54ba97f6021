// Package files tests the server that is a shell script.
package files

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"example.com/simpleipc"
)

// TestFiles starts the script as its comment says.
func TestFiles(t *testing.T) {
	script, err := filepath.Abs("files.sh")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	tool := filepath.Join(dir, "simple-ipc")
	if out, err := exec.Command("go", "build", "-o", tool, "example.com/simpleipc/cmd/simple-ipc").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	work := filepath.Join(dir, "work")
	path := filepath.Join(dir, "ipc")
	logFile := filepath.Join(dir, "log")
	for name, content := range map[string]string{
		"a.go": "1\n2\n", "sub/b.go": strings.Repeat("x", 1000), "c": "", "with  blanks": "\n\n\n",
	} {
		name = filepath.Join(work, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	simpleIPC := func(args ...string) {
		t.Helper()
		cmd := exec.Command(tool, args...)
		cmd.Dir = work
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	simpleIPC("start-daemon", "--name="+path, "--log="+logFile, "--exec", script)
	t.Cleanup(func() { simpleIPC("stop-daemon", "--name="+path) })

	var all sync.WaitGroup
	for request, want := range map[string]string{
		"count .go":            "2",
		"count":                "4",
		"lines a.go\n":         "2",
		"lines with  blanks":   "3",
		"who":                  "process " + strconv.Itoa(os.Getpid()) + ", user " + strconv.Itoa(os.Geteuid()) + ", group " + strconv.Itoa(os.Getegid()),
		"largest":              "1000 ./sub/b.go\n4 ./a.go\n3 ./with  blanks\n0 ./c",
		"lines ../log":         "error",
		"lines nothing":        "error",
		"remove everything":    "error",
		"":                     "error",
		"lines a.go; rm -r *":  "error",
		"lines $(touch hello)": "error",
	} {
		all.Go(func() {
			answer, err := simpleipc.Call(t.Context(), path, []byte(request))
			if want == "error" {
				if !errors.Is(err, simpleipc.ErrConnClosed) {
					t.Errorf("%q is answered with %q, %v", request, answer, err)
				}
				return
			}
			if err != nil || strings.TrimSpace(string(answer)) != want {
				t.Errorf("%q is answered with %q, %v", request, answer, err)
			}
		})
	}
	all.Wait()
	log, err := os.ReadFile(logFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"files.sh: unknown command 'remove', from process " + strconv.Itoa(os.Getpid()),
		"files.sh: no name of a file: '../log'",
		"files.sh: an empty request",
	} {
		if !strings.Contains(string(log), want) {
			t.Errorf("the log does not have %q:\n%s", want, log)
		}
	}
	if _, err := os.Stat(filepath.Join(work, "hello")); err == nil {
		t.Error("a request was run as a command")
	}
}
