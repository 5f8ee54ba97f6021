package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/simpleipc"
)

// A testDaemon is a daemon in this process.
type testDaemon struct {
	*simpleipc.Server
	store *store
	path  string
}

// startDaemon serves a new cache until the test ends.
func startDaemon(t testing.TB, maxSize int64) *testDaemon {
	t.Helper()
	s, err := openStore(t.TempDir(), maxSize)
	if err != nil {
		t.Fatal(err)
	}
	srv := newServer(s)
	return &testDaemon{srv, s, serve(t, srv)}
}

// serve serves a path until the test ends.
func serve(t testing.TB, srv *simpleipc.Server) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "socket")
	l, err := simpleipc.Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		srv.Serve(context.Background(), l)
	}()
	t.Cleanup(func() {
		srv.Close()
		<-served
	})
	return path
}

// client returns a client that is closed when the test ends.
func (d *testDaemon) client(t testing.TB, conns int) *client { return clientOf(t, d.path, conns) }

func clientOf(t testing.TB, path string, conns int) *client {
	return newTestClient(t, conns, func(ctx context.Context) (*simpleipc.Conn, error) {
		return new(simpleipc.Dialer).Dial(ctx, path)
	})
}

func newTestClient(t testing.TB, conns int, dial func(context.Context) (*simpleipc.Conn, error)) *client {
	c := newClient(conns, dial)
	t.Cleanup(c.close)
	return c
}

// wantFiles checks how many entries and objects there are, and that there is
// nothing else.
func (d *testDaemon) wantFiles(t testing.TB, actions, objects int) {
	t.Helper()
	files, err := d.store.files()
	if err != nil {
		t.Fatal(err)
	}
	n := make(map[string]int)
	for _, f := range files {
		if _, err := parseID(f.Name()); err != nil {
			t.Errorf("a file %s", f.path)
		}
		n[filepath.Dir(f.path)]++
	}
	if a, o := n[d.store.actions], n[string(d.store.objects)]; a != actions || o != objects {
		t.Errorf("%d entries and %d objects; want %d and %d", a, o, actions, objects)
	}
}

func objectOf(b []byte) object { return object{sha256.Sum256(b), int64(len(b))} }

func mustPut(t testing.TB, c *client, key string, b []byte) {
	t.Helper()
	if err := c.put(t.Context(), keyID(key), objectOf(b), bytes.NewReader(b)); err != nil {
		t.Errorf("put %s: %v", key, err)
	}
}

// read gets what is stored for a key, checked.
func read(t testing.TB, c *client, key string) (b []byte, found bool, err error) {
	var buf bytes.Buffer
	found, err = c.get(t.Context(), keyID(key), func(e entry, body io.Reader) error {
		buf.Reset()
		if age := time.Since(e.time); age < -time.Minute || age > time.Hour {
			t.Errorf("get %s: it is of %v", key, e.time)
		}
		return copyObject(&buf, body, e.object)
	})
	return buf.Bytes(), found, err
}

func wantGet(t testing.TB, c *client, key string, want []byte) {
	t.Helper()
	got, found, err := read(t, c, key)
	if err != nil || !found || !bytes.Equal(got, want) {
		t.Errorf("get %s: %d bytes, %v, %v; want %d", key, len(got), found, err, len(want))
	}
}

func wantMiss(t testing.TB, c *client, key string) {
	t.Helper()
	if b, found, err := read(t, c, key); err != nil || found {
		t.Errorf("get %s: %d bytes, %v; want a miss", key, len(b), err)
	}
}

// random returns n bytes that are always the same for a seed.
func random(seed uint64, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}

func TestPutAndGet(t *testing.T) {
	d := startDaemon(t, 1<<30)
	c := d.client(t, 2)
	for i, n := range []int{0, 1, 4095, 4096, 4097, 65516, 65517, 1 << 20} {
		key := fmt.Sprint(n)
		wantMiss(t, c, key)
		b := random(uint64(i), n)
		mustPut(t, c, key, b)
		wantGet(t, c, key, b)
	}
	// Another object takes the place of the first, and one is there once.
	mustPut(t, c, "1", random(7, 1<<20))
	wantGet(t, c, "1", random(7, 1<<20))
	d.wantFiles(t, 8, 8)
	var stat strings.Builder
	if err := c.stat(t.Context(), &stat); err != nil || !strings.HasPrefix(stat.String(), "hits 9\nmisses 8\nputs 9\nevicted 0\nbytes ") {
		t.Errorf("stat: %q, %v", stat.String(), err)
	}
	if n := d.Stats().Accepted; n > 2 {
		t.Errorf("%d connections were made; want them kept", n)
	}
}

// TestConcurrent has many clients put and get the same things. What they get is
// always whole, and one of what was put for the key.
func TestConcurrent(t *testing.T) {
	const clients, keys, versions, rounds = 16, 5, 3, 30
	d := startDaemon(t, 1<<30)
	objects := make(map[string][][]byte)
	for k := range keys {
		for v := range versions {
			key := fmt.Sprint(k)
			objects[key] = append(objects[key], random(uint64(k*versions+v), 1<<(3*k+v)))
		}
	}
	shared := d.client(t, 4) // half of them take turns on four connections
	var wg sync.WaitGroup
	for i := range clients {
		c := shared
		if i%2 == 0 {
			c = d.client(t, 1)
		}
		wg.Go(func() {
			for n := range rounds {
				key := fmt.Sprint((i + n) % keys)
				all := objects[key]
				mustPut(t, c, key, all[(i*n)%versions])
				got, found, err := read(t, c, key)
				known := false
				for _, b := range all {
					known = known || bytes.Equal(got, b)
				}
				if err != nil || !found || !known {
					t.Errorf("get %s: %d bytes, %v, %v", key, len(got), found, err)
				}
			}
		})
	}
	wg.Wait()
	if hits, puts := d.store.hits.Load(), d.store.puts.Load(); hits != clients*rounds || puts != clients*rounds {
		t.Errorf("%d hits and %d puts; want %d", hits, puts, clients*rounds)
	}
	if err := d.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	seen := make(map[id]bool)
	for _, all := range objects {
		for _, b := range all {
			seen[objectOf(b).id] = true
		}
	}
	d.wantFiles(t, keys, len(seen))
}

// TestBrokenOffPut lets puts end early or be of something else. Nothing of
// them is left, and what was there before is there still.
func TestBrokenOffPut(t *testing.T) {
	d := startDaemon(t, 1<<30)
	c := d.client(t, 1)
	old, b := random(1, 1000), random(2, 200000)
	mustPut(t, c, "old", old)

	broken := errors.New("broken")
	for _, key := range []string{"old", "new"} {
		for _, n := range []int{0, 10, 70000, len(b)} {
			line := fmt.Sprintf("put %v %v\n", keyID(key), objectOf(b))
			request := io.MultiReader(strings.NewReader(line), bytes.NewReader(b[:n]), brokenReader{broken})
			_, err := new(simpleipc.Dialer).CallStream(t.Context(), d.path, request)
			if !errors.Is(err, broken) {
				t.Errorf("a put of %d bytes that breaks off: %v", n, err)
			}
		}
		announced := objectOf(b)
		for name, o := range map[string]object{
			"shorter":    {announced.id, announced.size + 1},
			"longer":     {announced.id, announced.size - 1},
			"another":    {objectOf(old).id, announced.size},
			"empty":      {announced.id, 0},
			"very large": {announced.id, 1 << 61},
			"too large":  {announced.id, 1<<29 + 1},
		} {
			_, err := call1(t, d.path, fmt.Sprintf("put %v %v\n%s", keyID(key), o, b))
			if err == nil || !strings.HasPrefix(err.Error(), "the daemon says: ") {
				t.Errorf("a put of an object that is %s: %v", name, err)
			}
		}
	}
	wantGet(t, c, "old", old)
	wantMiss(t, c, "new")
	if err := d.Shutdown(t.Context()); err != nil { // it waits for all handlers
		t.Error(err)
	}
	d.wantFiles(t, 1, 1)
}

type brokenReader struct{ err error }

func (r brokenReader) Read([]byte) (int, error) { return 0, r.err }

// call1 sends one request as it is, and returns the answer's first line.
func call1(t testing.TB, path, request string) (line string, err error) {
	conn, err := new(simpleipc.Dialer).Dial(t.Context(), path)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	err = call(t.Context(), conn, strings.NewReader(request), func(verb, args string, _ io.Reader) error {
		line = strings.TrimSpace(verb + " " + args)
		return nil
	})
	return line, err
}

func TestRefused(t *testing.T) {
	d := startDaemon(t, 1<<30)
	action, other := keyID("key"), keyID("other")
	for _, request := range []string{
		"", "\n", "nonsense", "get", "get ", "get key", "get\n" + action.String(),
		"get " + action.String() + " ", "get " + strings.Repeat("x", 64), "get " + strings.Repeat("0", 66),
		"put", "put " + action.String(), fmt.Sprintf("put %v %v", action, action),
		fmt.Sprintf("put %v %v -1\n", action, action), fmt.Sprintf("put %v %v x\n", action, action),
		fmt.Sprintf("put %v %v 99999999999999999999\n", action, action),
		fmt.Sprintf("put %v ../../etc/passwd 1\nx", action), fmt.Sprintf("put %v %v  1\nx", action, action),
		strings.Repeat("x", 4095), strings.Repeat("x", 4096), strings.Repeat("get ", 1<<20),
	} {
		line, err := call1(t, d.path, request)
		if err == nil || !strings.HasPrefix(err.Error(), "the daemon says: ") {
			t.Errorf("%.100q: %q, %v", request, line, err)
		}
	}
	for request, want := range map[string]string{
		"get " + other.String():         "miss",
		"get " + other.String() + "\n":  "miss",
		"get " + other.String() + "\nx": "miss",
		"stat":                          "stat",
		fmt.Sprintf("put %v %v\n", action, objectOf(nil)): "stored",
		fmt.Sprintf("put %v %v", action, objectOf(nil)):   "stored",
	} {
		if line, err := call1(t, d.path, request); err != nil || line != want {
			t.Errorf("%q: %q, %v; want %q", request, line, err, want)
		}
	}
	d.wantFiles(t, 1, 1)
}

// TestEvict fills a cache. What was used last stays.
func TestEvict(t *testing.T) {
	const size, count = 10000, 10
	d := startDaemon(t, size*count)
	c := d.client(t, 1)
	then := time.Now().Add(-time.Hour)
	for i := range count - 1 {
		key := fmt.Sprint(i)
		b := random(uint64(i), size)
		mustPut(t, c, key, b)
		then = then.Add(time.Minute)
		for _, path := range []string{d.store.objects.path(objectOf(b).id), d.store.entryPath(keyID(key))} {
			if err := os.Chtimes(path, then, then); err != nil {
				t.Fatal(err)
			}
		}
	}
	d.wantFiles(t, count-1, count-1)
	writing := filepath.Join(string(d.store.objects), unfinished+"1") // by another put
	if err := os.WriteFile(writing, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(writing, time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	wantGet(t, c, "0", random(0, size))
	mustPut(t, c, "new", random(100, size))
	wantGet(t, c, "0", random(0, size))
	wantGet(t, c, "new", random(100, size))
	wantGet(t, c, "3", random(3, size))
	wantMiss(t, c, "1")
	if err := os.Remove(writing); err != nil {
		t.Error(err)
	}
	files, err := d.store.files()
	if err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	for _, f := range files {
		total += f.Size()
	}
	if total > size*count/10*9 || total < size*count/10*7 || total != d.store.size {
		t.Errorf("%d bytes are left, and it says %d", total, d.store.size)
	}
}

// TestReopen opens a cache that a daemon has left which was killed in a put.
func TestReopen(t *testing.T) {
	dir := t.TempDir()
	s, err := openStore(dir, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		b := random(uint64(i), 10000)
		if err := s.put(keyID(fmt.Sprint(i)), objectOf(b), bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range s.dirs() {
		if err := os.WriteFile(filepath.Join(dir, unfinished+"1"), make([]byte, 5000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again, err := openStore(dir, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	d := &testDaemon{store: again}
	d.wantFiles(t, 10, 10)
	if again.size != s.size {
		t.Errorf("%d bytes, and %d before", again.size, s.size)
	}
	if again, err = openStore(dir, 50000); err != nil || again.size > 45000 {
		t.Errorf("%d bytes in a smaller cache, %v", again.size, err)
	}
}

// TestDamaged changes what is on disk. Nothing wrong comes out of it, and the
// next put heals it.
func TestDamaged(t *testing.T) {
	d := startDaemon(t, 1<<30)
	c := d.client(t, 1)
	b := random(1, 100000)
	objectPath, entryPath := d.store.objects.path(objectOf(b).id), d.store.entryPath(keyID("key"))
	for name, damage := range map[string]func() error{
		"no object":     func() error { return os.Remove(objectPath) },
		"short object":  func() error { return os.Truncate(objectPath, 5000) },
		"long object":   func() error { return os.Truncate(objectPath, 100001) },
		"empty entry":   func() error { return os.Truncate(entryPath, 0) },
		"short entry":   func() error { return os.Truncate(entryPath, 70) },
		"foreign entry": func() error { return os.WriteFile(entryPath, []byte("one two three"), 0o600) },
	} {
		mustPut(t, c, "key", b)
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if got, found, err := read(t, c, "key"); found || err != nil {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	mustPut(t, c, "key", b)
	if err := os.WriteFile(objectPath, random(2, len(b)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, found, err := read(t, c, "key"); found || err == nil || !strings.Contains(err.Error(), "announced") {
		t.Errorf("other bytes: %v, %v", found, err)
	}
	if err := os.Remove(objectPath); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(objectPath, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, found, err := read(t, c, "key"); found {
		t.Errorf("a directory: %v, %v", found, err)
	}
	if err := os.Remove(objectPath); err != nil {
		t.Fatal(err)
	}
	mustPut(t, c, "key", b)
	wantGet(t, c, "key", b)
}

// TestDaemonEnds ends the daemon between requests, in order and not. A client
// that has kept its connections starts another one.
func TestDaemonEnds(t *testing.T) {
	exe, err := exec.LookPath("build-cache")
	if err != nil {
		t.Fatal(err)
	}
	o := &options{dir: t.TempDir(), maxSize: 1 << 30}
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	t.Cleanup(func() { endDaemons(t, o.dir) })
	d := o.daemon()
	d.Program = exe
	c := newTestClient(t, 4, d.Dial)
	var wg sync.WaitGroup
	each := func(f func(key string, b []byte)) {
		t.Helper()
		for i := range 8 {
			wg.Go(func() { f(fmt.Sprint(i), random(uint64(i), 100000)) })
		}
		wg.Wait()
	}
	each(func(key string, b []byte) { mustPut(t, c, key, b) })
	for _, end := range []func(pid int) error{
		func(pid int) error { return sendSignal(pid, syscall.SIGKILL) },
		func(pid int) error { return sendSignal(pid, syscall.SIGTERM) },
		func(int) error { return d.Stop(t.Context()) },
	} {
		pid, err := daemonPID(o.dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := end(pid); err != nil {
			t.Fatal(err)
		}
		// It may be about to end yet.
		each(func(key string, b []byte) { wantGet(t, c, key, b) })
		if err := awaitEnd(pid); err != nil {
			t.Fatal(err)
		}
		each(func(key string, b []byte) { wantGet(t, c, key, b) })
	}
}

// TestSilentDaemon has a daemon that does not answer, one that hangs up and one
// that is something else.
func TestSilentDaemon(t *testing.T) {
	for name, answer := range map[string]simpleipc.HandlerFunc{
		"silent": func(ctx context.Context, _ *simpleipc.ResponseWriter, _ *simpleipc.Request) error {
			<-ctx.Done()
			return context.Cause(ctx)
		},
		"hangs up": func(context.Context, *simpleipc.ResponseWriter, *simpleipc.Request) error {
			return errors.New("hangs up")
		},
		"breaks off": func(_ context.Context, w *simpleipc.ResponseWriter, _ *simpleipc.Request) error {
			fmt.Fprintf(w, "hit %v\nabc", entry{object: objectOf([]byte("abcdef")), time: time.Now()})
			w.Send()
			return errors.New("breaks off")
		},
		"short": func(_ context.Context, w *simpleipc.ResponseWriter, _ *simpleipc.Request) error {
			_, err := fmt.Fprintf(w, "hit %v\nabc", entry{object: objectOf([]byte("abcdef")), time: time.Now()})
			return err
		},
		"nothing": func(context.Context, *simpleipc.ResponseWriter, *simpleipc.Request) error { return nil },
		"another": func(_ context.Context, w *simpleipc.ResponseWriter, _ *simpleipc.Request) error {
			_, err := w.WriteString("unhandled command")
			return err
		},
		"endless": func(_ context.Context, w *simpleipc.ResponseWriter, _ *simpleipc.Request) error {
			_, err := w.WriteString(strings.Repeat("x", 1<<20))
			return err
		},
		"bad hit": func(_ context.Context, w *simpleipc.ResponseWriter, _ *simpleipc.Request) error {
			_, err := w.WriteString("hit ../../x 10 10\nx")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := clientOf(t, serve(t, &simpleipc.Server{Handler: answer}), 2)
			if name == "silent" {
				c.patience = 20 * time.Millisecond
			}
			if _, found, err := read(t, c, "key"); found || err == nil {
				t.Errorf("get: %v, %v", found, err)
			}
			if err := c.put(t.Context(), keyID("key"), objectOf(nil), strings.NewReader("")); err == nil {
				t.Error("put: no error")
			}
			if err := c.stat(t.Context(), io.Discard); err == nil {
				t.Error("stat: no error")
			}
		})
	}
}

func sendSignal(pid int, s os.Signal) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return p.Signal(s)
}
