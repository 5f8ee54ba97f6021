//go:build linux

package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// TestFetch: Git clones and fetches from a server that wants a password.
func TestFetch(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.env = append(h.env, "no_proxy=*",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
	execPath := strings.TrimSpace(h.must(h.git("", "--exec-path")))
	for _, name := range []string{"git-remote-http", "git-http-fetch"} {
		if _, err := os.Stat(filepath.Join(execPath, name)); err != nil {
			t.Skip("Git has been installed without HTTP:", err)
		}
	}
	repository := filepath.Join(h.dir, "repository.git")
	commit := func() string {
		t.Helper()
		tree := strings.TrimSpace(h.must(h.git("", "-C", repository, "mktree")))
		id := strings.TrimSpace(h.must(h.git("message\n", "-C", repository, "commit-tree", tree)))
		h.must(h.git("", "-C", repository, "update-ref", "HEAD", id))
		h.must(h.git("", "-C", repository, "update-server-info"))
		return id
	}
	h.must(h.git("", "init", "--quiet", "--bare", repository))
	id := commit()

	var password atomic.Value
	var refused, served atomic.Int32
	files := http.FileServer(http.Dir(h.dir))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, p, _ := r.BasicAuth(); user != "bob" || p != password.Load() {
			refused.Add(1)
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		served.Add(1)
		files.ServeHTTP(w, r)
	}))
	defer server.Close()
	password.Store(newSecret())
	url := server.URL + "/repository.git"
	host := lines("protocol", "http", "host", strings.TrimPrefix(server.URL, "http://"))
	clone := filepath.Join(h.dir, "clone")

	if _, err := h.git("", "clone", "--quiet", url, clone); err == nil || !strings.Contains(err.Error(), "terminal prompts disabled") {
		t.Fatalf("clone without a password: %v", err)
	}
	h.approve(host, "bob", password.Load().(string))
	h.must(h.git("", "clone", "--quiet", url, clone))
	if got := strings.TrimSpace(h.must(h.git("", "-C", clone, "rev-parse", "HEAD"))); got != id {
		t.Errorf("the clone has %s, want %s", got, id)
	}
	if served.Load() == 0 || refused.Load() == 0 {
		t.Errorf("the server has served %d and refused %d requests", served.Load(), refused.Load())
	}
	h.want(host, password.Load().(string)) // Git has approved it again

	id = commit()
	h.must(h.git("", "-C", clone, "fetch", "--quiet"))
	if got := strings.TrimSpace(h.must(h.git("", "-C", clone, "rev-parse", "FETCH_HEAD"))); got != id {
		t.Errorf("the fetch has brought %s, want %s", got, id)
	}

	// When the password is not right any more, Git rejects it.
	password.Store(newSecret())
	if _, err := h.git("", "-C", clone, "fetch", "--quiet"); err == nil {
		t.Error("fetch with an old password has succeeded")
	}
	h.wantNone(host)
	h.wantGone()
}
