package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
)

// printHelp writes what the tool can do.
func printHelp(w io.Writer) error {
	var b strings.Builder
	b.WriteString("Usage: simple-ipc COMMAND [FLAGS] [ARGUMENTS]\n\n" +
		"Serve Simple IPC at a path of this machine, or ask the server there.\n\n" +
		"Commands:\n")
	for _, c := range commands {
		fmt.Fprintf(&b, "  %-20s %s\n", c.name, c.summary)
	}
	b.WriteString("\nFlags:\n" +
		"  --help               show this, or the help of the command before it\n" +
		"  --version [--json]   show the version\n\n" +
		"Examples:\n" +
		"  simple-ipc demo\n" +
		"  simple-ipc start-daemon --threads=8\n" +
		"  simple-ipc send ping\n" +
		"  simple-ipc bench\n" +
		"  simple-ipc stop-daemon\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// printHelp writes what the command does and which flags it has.
func (c *command) printHelp(w io.Writer, fs *flag.FlagSet) error {
	var b strings.Builder
	b.WriteString("Usage: simple-ipc " + c.name)
	if c.flags != nil {
		b.WriteString(" [FLAGS]")
	}
	if c.args != "" {
		b.WriteString(" " + c.args)
	}
	fmt.Fprintf(&b, "\n\n%s.\n", strings.ToUpper(c.summary[:1])+c.summary[1:])
	if c.details != "" {
		fmt.Fprintf(&b, "\n%s\n", c.details)
	}
	b.WriteString("\nFlags:\n")
	row := func(name, text string) { fmt.Fprintf(&b, "  %-20s %s\n", name, text) }
	fs.VisitAll(func(f *flag.Flag) {
		_, text := flag.UnquoteUsage(f)
		if f.DefValue != "" && !isSwitch(f) {
			text += fmt.Sprintf(" (default %s)", f.DefValue)
		}
		row(flagUsage(f), text)
	})
	row("--help", "show this")
	b.WriteString("\nExamples:\n")
	for _, e := range c.examples {
		fmt.Fprintf(&b, "  %s\n", e)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printVersion writes the version that the tool was built from, or more of what
// is known of that as a JSON object.
func printVersion(w io.Writer, asJSON bool) error {
	var v struct {
		Version  string `json:"version"`
		Revision string `json:"revision,omitempty"`
		Modified bool   `json:"modified,omitempty"` // since that revision
		Go       string `json:"go"`
		OS       string `json:"os"`
		Arch     string `json:"arch"`
	}
	v.Version, v.Go, v.OS, v.Arch = "(unknown)", runtime.Version(), runtime.GOOS, runtime.GOARCH
	if info, ok := debug.ReadBuildInfo(); ok {
		v.Version = info.Main.Version
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				v.Revision = s.Value
			case "vcs.modified":
				v.Modified = s.Value == "true"
			}
		}
	}
	if asJSON {
		return json.NewEncoder(w).Encode(v)
	}
	_, err := fmt.Fprintf(w, "simple-ipc %s %s\n", v.Version, v.Go)
	return err
}
