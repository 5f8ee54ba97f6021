package main

import (
	_ "embed"
	"flag"
	"fmt"
	"os"
	"strings"
)

// The scripts, in which the commands are still missing.
var (
	//go:embed completion/bash
	bashScript string
	//go:embed completion/zsh
	zshScript string
	//go:embed completion/fish
	fishScript string
)

// runCompletion prints the completion script for a shell.
func runCompletion(o *options, args []string) error {
	const shells = "use one of bash, zsh and fish"
	if len(args) == 0 {
		return &usageError{"no shell is named", shells}
	}
	var script string
	switch all := completions(o.commands); args[0] {
	case "bash":
		script = completeBash(all)
	case "zsh":
		script = completeZsh(all)
	case "fish":
		script = completeFish(all)
	default:
		return &usageError{fmt.Sprintf("there is no completion for '%s'", args[0]), shells}
	}
	_, err := os.Stdout.WriteString(script)
	return err
}

// A completion is what can stand behind the name of a command.
type completion struct {
	name, summary string
	flags         []flagCompletion
	files         bool     // there are arguments that are files
	words         []string // or these
}

// A flagCompletion is a flag of a command.
type flagCompletion struct {
	name, usage string
	value       string // empty if it is a switch
	files       bool   // the value is a file
	rest        bool   // the value is all that follows, a command
}

// completions reads the table of commands. As in the help, the name of a value
// tells whether it is a file.
func completions(table []command) []completion {
	var all []completion
	for _, c := range table {
		this := completion{name: c.name, summary: c.summary, files: isFile(c.args)}
		if c.args != "" && c.args == strings.ToLower(c.args) {
			this.words = strings.Split(c.args, "|")
		}
		fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
		if c.flags != nil {
			c.flags(fs, new(options))
		}
		fs.VisitAll(func(f *flag.Flag) {
			value, usage := flag.UnquoteUsage(f)
			if isSwitch(f) {
				value = ""
			}
			_, rest := f.Value.(*commandLine)
			this.flags = append(this.flags, flagCompletion{f.Name, usage, value, isFile(value), rest})
		})
		this.flags = append(this.flags, flagCompletion{name: "help", usage: "show the help"})
		all = append(all, this)
	}
	return all
}

func isFile(value string) bool {
	return strings.Contains(value, "FILE") || strings.Contains(value, "PATH")
}

// fill puts lines into a script.
func fill(script, place string, lines []string) string {
	return strings.Replace(script, place, strings.Join(lines, "\n"), 1)
}

func completeBash(all []completion) string {
	var cases, names []string
	for _, c := range all {
		var flags, files []string
		for _, f := range c.flags {
			usage := dashes(f.name) + f.name
			if f.files {
				files = append(files, usage)
			}
			if f.value != "" && !f.rest {
				usage += "="
			}
			flags = append(flags, usage)
		}
		line := fmt.Sprintf("\t%s)\n\t\tflags='%s' files='%s'", c.name, strings.Join(flags, " "), strings.Join(files, " "))
		switch {
		case c.files:
			line += " args=files"
		case c.words != nil:
			line += " words='" + strings.Join(c.words, " ") + "'"
		}
		cases = append(cases, line+" ;;")
		names = append(names, c.name)
	}
	script := fill(bashScript, "@commands@", cases)
	return fill(script, "@names@", []string{strings.Join(names, " ")})
}

func completeZsh(all []completion) string {
	quote := strings.NewReplacer(`\`, `\\`, `'`, `'\''`, `[`, `\[`, `]`, `\]`, `:`, `\:`)
	var cases, names []string
	for _, c := range all {
		specs := []string{"\t" + c.name + ")\n\t\t_arguments"}
		for _, f := range c.flags {
			spec := dashes(f.name) + f.name
			switch what := "[" + quote.Replace(f.usage) + "]"; {
			case f.rest:
				spec += what + ":*::" + quote.Replace(f.value) + ":_normal"
			case f.files:
				spec += "=" + what + ":" + f.value + ":_files"
			case f.value != "":
				spec += "=" + what + ":" + f.value + ": "
			default:
				spec += what
			}
			specs = append(specs, "'"+spec+"'")
		}
		switch {
		case c.files:
			specs = append(specs, "'*:file:_files'")
		case c.words != nil:
			specs = append(specs, "'1:argument:("+strings.Join(c.words, " ")+")'")
		}
		cases = append(cases, strings.Join(specs, " \\\n\t\t\t")+" ;;")
		names = append(names, "\t\t\t'"+c.name+":"+quote.Replace(c.summary)+"'")
	}
	return fill(fill(zshScript, "@commands@", cases), "@names@", names)
}

func completeFish(all []completion) string {
	quote := func(s string) string { return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'" }
	var lines []string
	for _, c := range all {
		lines = append(lines, "complete -c simple-ipc -n __fish_use_subcommand -a "+c.name+" -d "+quote(c.summary))
		line := "complete -c simple-ipc -n '__fish_seen_subcommand_from " + c.name + "'"
		for _, f := range c.flags {
			l := line + " -l " + f.name + " -d " + quote(f.usage)
			if len(f.name) == 1 {
				l = line + " -s " + f.name + " -d " + quote(f.usage)
			}
			switch {
			case f.rest:
				l += " -x -a '(__fish_complete_command)'"
			case f.files:
				l += " -r -F"
			case f.value != "":
				l += " -x"
			}
			lines = append(lines, l)
			if f.rest {
				lines = append(lines, "complete -c simple-ipc -n '__fish_seen_subcommand_from "+c.name+"; and __fish_contains_opt "+f.name+"' -F")
			}
		}
		switch {
		case c.files:
			lines = append(lines, line+" -F")
		case c.words != nil:
			lines = append(lines, line+" -a "+quote(strings.Join(c.words, " ")))
		}
	}
	return fill(fishScript, "@commands@", lines)
}
