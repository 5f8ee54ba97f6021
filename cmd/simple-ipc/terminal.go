package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// terminalWidth returns how many columns the terminal has that f is, and
// whether it is one.
func terminalWidth(f *os.File) (int, bool) {
	columns, ok := columnsOf(f)
	if !ok || os.Getenv("TERM") == "dumb" {
		return 0, false
	}
	if columns == 0 {
		return 80, true
	}
	return columns, true
}

// A painter colours text, if its output is a terminal that may have colours.
type painter bool

func newPainter(f *os.File) painter {
	_, ok := terminalWidth(f)
	return painter(ok && os.Getenv("NO_COLOR") == "")
}

// What ANSI escape sequences can make of text.
const (
	bold  = 1
	red   = 31
	green = 32
	cyan  = 36
)

func (p painter) paint(colour int, text string) string {
	if !p {
		return text
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[m", colour, text)
}

// A progressBar is a line at the bottom of a terminal that tells how far the
// work is. On anything but a terminal it writes nothing.
type progressBar struct {
	out   *os.File
	paint painter
	shown bool
	last  time.Time // when it was drawn
}

// redrawPause is how often the bar is updated; more nobody could see.
const redrawPause = 40 * time.Millisecond

// update draws the bar if that was long enough ago.
func (b *progressBar) update(done, total int64, text string) {
	if time.Since(b.last) >= redrawPause {
		b.draw(done, total, text)
	}
}

// draw shows that done parts of total are done, and what is going on.
func (b *progressBar) draw(done, total int64, text string) {
	width, ok := terminalWidth(b.out)
	if !ok {
		return
	}
	b.shown, b.last = true, time.Now()
	percent := int64(100)
	if done < total {
		percent = 100 * done / total
	}
	const cells = 24
	filled := int(cells * percent / 100)
	_, _ = fmt.Fprintf(b.out, "\r%s%s%s\x1b[K",
		b.paint.paint(cyan, strings.Repeat("█", filled)), strings.Repeat("░", cells-filled),
		fit(fmt.Sprintf(" %3d%%  %s", percent, text), width-cells-1))
}

// clear takes the bar away.
func (b *progressBar) clear() {
	if b.shown {
		b.shown = false
		_, _ = fmt.Fprint(b.out, "\r\x1b[K")
	}
}
