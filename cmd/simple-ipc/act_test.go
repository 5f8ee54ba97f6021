package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// act ACTION ... is a program that does one thing after the other: what a server
// that is tested lets a command do.
func act() {
	for _, action := range os.Args[1:] {
		name, arg, _ := strings.Cut(action, "=")
		if err := actions[name](arg); err != nil {
			fmt.Fprintf(os.Stderr, "error: %s: %v\n", action, err)
			os.Exit(1)
		}
	}
}

var actions = map[string]func(arg string) error{
	// cat writes what it reads.
	"cat": func(string) error {
		_, err := io.Copy(os.Stdout, os.Stdin)
		return err
	},
	// upper writes what it reads in upper case.
	"upper": func(string) error {
		text, err := io.ReadAll(os.Stdin)
		_, _ = os.Stdout.Write(bytes.ToUpper(text))
		return err
	},
	// head=N writes so many bytes of what it reads.
	"head": func(arg string) error {
		n, err := strconv.ParseInt(arg, 10, 64)
		if err == nil {
			_, err = io.CopyN(os.Stdout, os.Stdin, n)
		}
		return err
	},
	// skip reads.
	"skip": func(string) error {
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	},
	"say":          func(arg string) error { return printLine(os.Stdout, arg) },
	"warn":         func(arg string) error { return printLine(os.Stderr, arg) },
	"env":          func(arg string) error { return printLine(os.Stdout, os.Getenv(arg)) },
	"pid":          func(string) error { return printLine(os.Stdout, os.Getpid()) },
	"close-stdin":  func(string) error { return os.Stdin.Close() },
	"close-stdout": func(string) error { return os.Stdout.Close() },
	// create=FILE makes a file, which must not be there.
	"create": func(arg string) error {
		f, err := os.OpenFile(arg, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			err = f.Close()
		}
		return err
	},
	// await=FILE waits until there is a file.
	"await": func(arg string) error {
		return await(func() bool {
			_, err := os.Lstat(arg)
			return err == nil
		})
	},
	// child starts a process that lives for long, has the output open, and is
	// named by its ID. That of quiet-child has no output.
	"child":       func(string) error { return startChild(os.Stdout) },
	"quiet-child": func(string) error { return startChild(nil) },
	"sleep": func(string) error {
		time.Sleep(1000 * time.Second)
		return nil
	},
	"exit": func(arg string) error {
		status, err := strconv.Atoi(arg)
		if err == nil {
			os.Exit(status)
		}
		return err
	},
	// kill ends this process as it stands.
	"kill": func(string) error {
		p, err := os.FindProcess(os.Getpid())
		if err == nil {
			err = p.Kill()
		}
		if err == nil {
			select {}
		}
		return err
	},
}

func printLine(w io.Writer, what any) error {
	_, err := fmt.Fprintln(w, what)
	return err
}

func startChild(stdout io.Writer) error {
	exe, err := exec.LookPath("act")
	if err != nil {
		return err
	}
	cmd := exec.Command(exe, "sleep")
	if stdout != nil {
		cmd.Stdout = stdout
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	return printLine(os.Stdout, cmd.Process.Pid)
}
