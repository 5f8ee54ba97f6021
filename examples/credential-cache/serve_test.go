package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/simpleipc"
)

// startServing serves in a new directory, until the test ends.
func startServing(t *testing.T) (socket string, ended <-chan error) {
	t.Helper()
	dir, err := os.MkdirTemp("", "cache") // t.TempDir has a long name
	if err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(dir, "socket")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		done <- serve(ctx, socket)
	}()
	t.Cleanup(func() {
		cancel()
		<-returned
		os.RemoveAll(dir)
	})
	dialer := simpleipc.Dialer{WaitNotFound: true, Timeout: time.Minute}
	if _, err := dialer.Call(t.Context(), socket, []byte("version")); err != nil {
		t.Fatal(err)
	}
	return socket, done
}

// TestHostileRequests: whatever is sent, the server goes on and nothing is mixed
// up.
func TestHostileRequests(t *testing.T) {
	socket, ended := startServing(t)
	call := func(request string) (string, error) {
		answer, err := simpleipc.Call(t.Context(), socket, []byte(request))
		return string(answer), err
	}
	const about = "protocol=https\nhost=h\n"
	const user = "username=u\npassword=p\n"
	if answer, err := call("store 1h\n" + about + user); answer != "" || err != nil {
		t.Fatalf("store: %q, %v", answer, err)
	}
	for _, request := range []string{
		"",
		"\n",
		"get",
		"get\n",
		"get\nprotocol=https\n",
		"get\nhost=h\n",
		"get\n" + about + "x",
		"get\n" + about + "\x00=\x00\n",
		"get\n\n" + about,
		" get\n" + about,
		"GET\n" + about,
		"erase\n",
		"erase\nhost=h",
		"erase\n" + about + "\x00",
		"store\n" + about + user,
		"store 900\n" + about + user,
		"store -\n" + about + user,
		"store 1e9h\n" + about + user,
		"store 1h\n" + about,
		"store 1h\n" + about + "username=u\n",
		"store 1h\n" + user,
		"serve\n" + about,
		"store 1h\n" + about + "username=u\npassword=" + strings.Repeat("x", maxRequest),
		strings.Repeat("get", 1<<20),
		strings.Repeat("\x00", 1000),
	} {
		if answer, err := call(request); err == nil {
			t.Errorf("%.40q was answered %q", request, answer)
		}
	}
	if answer, err := call("get\n" + about); answer != user || err != nil {
		t.Errorf("get: %q, %v", answer, err)
	}
	if answer, err := call("exit"); answer != "" || err != nil {
		t.Errorf("exit: %q, %v", answer, err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestConcurrentRequests: every client gets what it has stored itself.
func TestConcurrentRequests(t *testing.T) {
	socket, _ := startServing(t)
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			about := fmt.Sprintf("protocol=https\nhost=%d\nusername=%d\n", i%2, i)
			for n := range 20 {
				secret := strings.Repeat(fmt.Sprintf("%d.%d ", i, n), 1000)
				answer := fmt.Sprintf("username=%d\npassword=%s\n", i, secret)
				for _, c := range []struct{ request, want string }{
					{"store 1h\n" + about + "password=" + secret, ""},
					{"get\n" + about, answer},
					{"erase\n" + about + "password=other", ""},
					{"get\n" + about, answer},
				} {
					got, err := simpleipc.Call(t.Context(), socket, []byte(c.request))
					if string(got) != c.want || err != nil {
						t.Errorf("%.60q was answered %.60q, %v", c.request, got, err)
						return
					}
				}
			}
		})
	}
	clients.Wait()
}

// TestStoreInClosedCache: who stores when the daemon has decided to end is told.
func TestStoreInClosedCache(t *testing.T) {
	c := newCache(func() {})
	c.close()
	dir := t.TempDir()
	srv := &simpleipc.Server{Handler: c}
	path := filepath.Join(dir, "s")
	l, err := simpleipc.Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(context.Background(), l) }()
	answer, err := simpleipc.Call(t.Context(), path, []byte("store 1h\nprotocol=https\nhost=h\nusername=u\npassword=p\n"))
	if string(answer) != closing || err != nil {
		t.Errorf("store: %q, %v", answer, err)
	}
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, simpleipc.ErrServerClosed) {
		t.Error(err)
	}
}

// TestRequestIsOverwritten: of a request, nothing is left but what is kept.
func TestRequestIsOverwritten(t *testing.T) {
	c := newCache(func() {})
	defer c.close()
	for request, wantErr := range map[string]bool{
		"store 1h\nprotocol=https\nhost=h\nusername=u\npassword=p\n": false,
		"erase\nprotocol=https\nhost=h\npassword=q\n":                false,
		"store 1h\nprotocol=https\nhost=h\npassword\n":               true,
	} {
		body := []byte(request)
		if err := c.ServeIPC(t.Context(), nil, &simpleipc.Request{Body: body}); (err != nil) != wantErr {
			t.Errorf("%q: %v", request, err)
		}
		if !bytes.Equal(body, make([]byte, len(body))) {
			t.Errorf("%q became %q", request, body)
		}
	}
	if answer := c.get(about(t, "protocol=https\nhost=h")); string(answer) != "username=u\npassword=p\n" {
		t.Errorf("get: %q", answer)
	}
}
