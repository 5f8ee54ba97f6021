package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"unicode/utf8"
)

// changes are what the daemon answers.
type changes struct {
	Token      string   `json:"token"`      // for the next question
	Everything bool     `json:"everything"` // may have changed
	Paths      []string `json:"paths"`      // empty if everything may have
}

// everything is the path that stands for all others.
const everything = "/"

// parse reads a response: a token and any number of paths, each with a NUL
// behind it.
func parse(response []byte) (c changes, err error) {
	if len(response) == 0 {
		return c, errors.New("it is empty")
	}
	token, rest, ok := bytes.Cut(response, []byte{0})
	if !ok {
		return c, errors.New("there is no NUL after the token")
	}
	if len(token) == 0 {
		return c, errors.New("the token is empty")
	}
	paths := make([]string, 0, bytes.Count(rest, []byte{0}))
	for len(rest) > 0 {
		var path []byte
		if path, rest, ok = bytes.Cut(rest, []byte{0}); !ok {
			return c, fmt.Errorf("there is no NUL after the last path, %.200q", path)
		}
		switch p := string(path); {
		case p == "":
			return c, errors.New("a path is empty")
		case p != everything && !filepath.IsLocal(p):
			return c, fmt.Errorf("a path leads out of the worktree: %.200q", p)
		default:
			paths = append(paths, p)
		}
	}
	c.Token, c.Paths = string(token), paths
	if slices.Contains(paths, everything) {
		c.Everything, c.Paths = true, []string{}
	}
	return c, nil
}

// lines returns the token and the paths in the daemon's form.
func (c changes) lines() []string {
	if c.Everything {
		return []string{c.Token, everything}
	}
	return append([]string{c.Token}, c.Paths...)
}

func (c changes) writeText(w io.Writer) error {
	b := bufio.NewWriter(w)
	for _, line := range c.lines() {
		_, _ = b.WriteString(quote(line) + "\n") // Flush tells the error
	}
	return b.Flush()
}

func (c changes) writeNUL(w io.Writer) error {
	b := bufio.NewWriter(w)
	for _, line := range c.lines() {
		_, _ = b.WriteString(line + "\x00") // Flush tells the error
	}
	return b.Flush()
}

func (c changes) writeJSON(w io.Writer) error {
	for _, line := range c.lines() {
		if !utf8.ValidString(line) {
			return fmt.Errorf("%q is not UTF-8, which JSON cannot tell: use -z", line)
		}
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(c)
}

// quote returns s, as a Go string if something in it needs that.
func quote(s string) string {
	if q := strconv.Quote(s); q != `"`+s+`"` {
		return q
	}
	return s
}
