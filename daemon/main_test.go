package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"example.com/simpleipc"
)

// patience is how long a test waits for what must happen. It is long, because
// it is only used up by a failure.
const patience = 30 * time.Second

// roleEnv names the function of roles that this process is to run instead of
// the tests.
const roleEnv = "DAEMON_TEST_ROLE"

// roles are what the tests need processes for.
var roles = map[string]func(args []string) error{
	"server": serverRole,
	"asker":  askerRole,
	"fail":   failRole,
	"stuck":  stuckRole,
	"client": clientRole,
}

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		if err := roles[role](os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// serverRole serves the path args[0]. The others are options.
func serverRole(args []string) error {
	path, opts := args[0], map[string]string{}
	for _, o := range args[1:] {
		k, v, _ := strings.Cut(o, "=")
		opts[k] = v
	}
	if name := opts["census"]; name != "" { // one line for each process
		if err := addLine(name, strconv.Itoa(os.Getpid())); err != nil {
			return err
		}
	}
	if other := opts["after"]; other != "" { // it takes until that one listens to get ready
		d := simpleipc.Dialer{WaitNotFound: true, Timeout: 2 * patience}
		c, err := d.Dial(context.Background(), other)
		if err != nil {
			return err
		}
		c.Close()
	}
	l, err := Listen(context.Background(), path)
	if err != nil {
		return err
	}
	idle, _ := time.ParseDuration(opts["idle"])
	srv := &simpleipc.Server{IdleExit: idle, Handler: simpleipc.HandlerFunc(func(ctx context.Context, w *simpleipc.ResponseWriter, r *simpleipc.Request) error {
		verb, rest, _ := strings.Cut(string(r.Body), " ")
		switch verb {
		case "quit":
			return simpleipc.Quit
		case "pid":
			fmt.Fprint(w, os.Getpid())
		case "version":
			fmt.Fprint(w, opts["version"])
		case "env":
			fmt.Fprint(w, os.Getenv(rest))
		case "dir":
			dir, _ := os.Getwd()
			fmt.Fprint(w, dir)
		case "session":
			fmt.Fprint(w, session())
		case "file": // what a descriptor is
			fmt.Fprint(w, fileOfDescriptor(rest))
		case "say":
			fmt.Fprintln(os.Stdout, "stdout", rest)
			fmt.Fprintln(os.Stderr, "stderr", rest)
		case "wait":
			w.WriteString("wait")
			w.Send()
			<-ctx.Done()
		}
		return nil
	})}
	if opts["log"] != "" {
		srv.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	fmt.Fprintln(os.Stderr, "getting ready")
	return Serve(context.Background(), srv, l)
}

// addLine appends a line to a file, in one piece.
func addLine(name, line string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(line + "\n")
	return err
}

// failRole ends like a program that cannot serve. It says as many lines as
// args[0] says, and exits with the status args[1].
func failRole(args []string) error {
	n, _ := strconv.Atoi(args[0])
	for i := range n {
		fmt.Fprintf(os.Stderr, "line %d\n", i+1)
	}
	status, _ := strconv.Atoi(args[1])
	os.Exit(status)
	return nil
}

// stuckRole never listens. It leaves its process ID in a file, and says so then.
func stuckRole(args []string) error {
	if err := os.WriteFile(args[0], []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "waiting for Godot")
	time.Sleep(2 * patience)
	return nil
}

// askerRole asks for the server at args[0], which it starts as it was started
// itself, and says so in the file args[1].
func askerRole(args []string) error {
	if err := addLine(args[1], strconv.Itoa(os.Getpid())); err != nil {
		return err
	}
	d := Daemon{Path: args[0], Args: args}
	_, err := d.Call(context.Background(), []byte("pid"))
	return err
}

// clientRole asks the server at args[0] for its process ID, when standard
// input ends.
func clientRole(args []string) error {
	var b [1]byte
	os.Stdin.Read(b[:])
	d := Daemon{Path: args[0], Args: args, Env: roleOf("server")}
	begin := time.Now()
	pid, err := d.Call(context.Background(), []byte("pid"))
	fmt.Println(string(pid), time.Since(begin).Microseconds())
	return err
}

// roleOf returns the environment for a role.
func roleOf(role string) []string {
	return append(os.Environ(), roleEnv+"="+role, "GORACE=atexit_sleep_ms=0")
}

// server returns the Daemon of a server at a temporary path. Whatever serves it
// at the end of the test is ended.
func server(t testing.TB, options ...string) *Daemon {
	t.Helper()
	dir, err := os.MkdirTemp("", "daemon")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s", "ipc") // whose directory is to be made
	d := &Daemon{
		Path: path,
		Args: append([]string{path}, options...),
		Env:  roleOf("server"),
		Quit: []byte("quit"),
	}
	t.Cleanup(func() {
		stop(t, d)
		os.RemoveAll(dir)
	})
	return d
}

// stop ends the server if there is one, and waits until its process has gone.
func stop(t testing.TB, d *Daemon) {
	t.Helper()
	c, err := d.dial(context.Background())
	if err != nil {
		return
	}
	pid := c.Peer().PID
	c.Close()
	if err := d.Stop(context.Background()); err != nil && !isAbsent(err) {
		t.Error(err)
	}
	gone(t, pid)
}

// gone waits until a process has ended.
func gone(t testing.TB, pid int) {
	t.Helper()
	eventually(t, fmt.Sprintf("process %d is gone", pid), func() bool { return !alive(pid) })
}

// kill ends a process as it stands.
func kill(t testing.TB, pid int) {
	t.Helper()
	p, err := os.FindProcess(pid)
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		t.Error(err)
	}
}

// eventually waits until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); !ok(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("never: %s", what)
		}
	}
}

// ask asks the server at d, which is started if there is none.
func ask(t testing.TB, d *Daemon, request string) string {
	t.Helper()
	answer, err := d.Call(t.Context(), []byte(request))
	if err != nil {
		t.Fatalf("%q: %v", request, err)
	}
	return string(answer)
}
