//line program.go:1
package trace2

import (
	"context"
	"errors"
	"os/exec"
	"syscall"
)

// program makes every event once. The golden lines name lines of it.
func program(t *Tracer) {
	ctx := t.Context(context.Background())
	t.Start([]string{"greet", "--to", "the world"})
	CmdName(ctx, "greet")
	CmdMode(ctx, "politely")
	DefParam(ctx, "command", "greeting", "good morning")
	ctx1, outer := Region(ctx, "greeting", "compose", "for", "all")
	Data(ctx1, "greeting", "length", 12)
	ctx2, inner := Region(ctx1, "a long category", "inner")
	Data(ctx2, "a long category", "text", "\"größer\"\n")
	ctx3, deep := Region(ctx2, "deep", "deep")
	Data(ctx3, "deep", "deep", true)
	deep.End()
	inner.End()
	DataJSON(ctx1, "greeting", "words", []string{"hello", "world"})
	cmd := exec.Command("no-such-program", "it's")
	cmd.Dir = "a directory"
	child := Child(ctx1, "editor", cmd)
	child.Exit()
	outer.End()
	thread, end := Thread(ctx, "worker")
	_, region := Region(thread, "greeting", "print")
	watch := Timer(thread, "greeting", "time")
	watch.Stop()
	Timer(thread, "greeting", "time").Stop()
	Count(thread, "greeting", "words", 2)
	Count(thread, "greeting", "words", 3)
	region.End()
	end()
	child = Child(ctx, "?", exec.Command("daemon"))
	child.Ready(errors.New("no answer"))
	Error(ctx, "cannot greet %q", "the world")
	Printf(ctx, "%d%%", 100)
	t.Signal(syscall.SIGPIPE)
	t.Exit(3)
	Error(ctx, "it is too late")
}
