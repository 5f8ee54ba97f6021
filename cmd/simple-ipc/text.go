package main

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// fit returns as much of text as can be shown in n columns.
func fit(text string, n int) string {
	var b strings.Builder
	for _, r := range text {
		if !unicode.IsPrint(r) {
			r = '?' // it could do anything to the terminal
		}
		if n -= runeColumns(r); n < 0 {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

// pad returns text made as wide as n columns.
func pad(text string, n int) string {
	text = fit(text, n)
	return text + strings.Repeat(" ", n-columns(text))
}

// tail returns the end of text if that has more than n columns.
func tail(text string, n int) string {
	runes := []rune(text)
	for i := len(runes); i > 0; i-- {
		if n -= runeColumns(runes[i-1]); n < 0 {
			return "…" + string(runes[min(i+1, len(runes)):])
		}
	}
	return text
}

// columns returns how wide text is.
func columns(text string) (n int) {
	for _, r := range text {
		n += runeColumns(r)
	}
	return n
}

func runeColumns(r rune) int {
	if r >= 0x1100 && r < 0x2000 || r >= 0x2e80 { // where wide characters are, more or less
		return 2
	}
	return 1
}

// plural returns "1 thing" or "2 things".
func plural(n int64, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return strconv.FormatInt(n, 10) + " " + thing
}

func roundBytes(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}
