package trace2

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// A line is one event in one format, in the making.
type line []byte

func (l *line) Write(p []byte) (int, error) {
	*l = append(*l, p...)
	return len(p), nil
}

func (l *line) text(parts ...string) {
	for _, s := range parts {
		*l = append(*l, s...)
	}
}

// column appends s and spaces until it is as wide as the column.
func (l *line) column(s string, width int) {
	*l = append(*l, s...)
	for range width - utf8.RuneCountInString(s) {
		*l = append(*l, ' ')
	}
}

// seconds appends a time in seconds, with spaces before it until it is as wide
// as the column.
func (l *line) seconds(d time.Duration, width int) {
	const fraction = 6
	µs := max(0, d.Microseconds())
	var digits [24]byte
	s := strconv.AppendInt(digits[:0], µs/1e6, 10)
	for range width - len(s) - 1 - fraction {
		*l = append(*l, ' ')
	}
	*l = append(append(*l, s...), '.')
	s = strconv.AppendInt(digits[:0], 1e6+µs%1e6, 10) // with zeros, behind a 1
	*l = append(*l, s[1:]...)
}

// arguments appends a command line as one would type it into a shell.
func (l *line) arguments(argv []string) {
	for i, arg := range argv {
		if i > 0 {
			*l = append(*l, ' ')
		}
		if isPlain(arg) {
			*l = append(*l, arg...)
			continue
		}
		*l = append(*l, '\'')
		for _, c := range []byte(arg) {
			if c == '\'' || c == '!' { // an interactive shell expands ! within quotes, too
				*l = append(*l, '\'', '\\', c, '\'')
			} else {
				*l = append(*l, c)
			}
		}
		*l = append(*l, '\'')
	}
}

// isPlain reports whether a shell would take s as it is.
func isPlain(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '+' <= c && c <= ':':
		case c == '=', c == '@', c == '^', c == '_':
		default:
			return false
		}
	}
	return s != ""
}

// JSON members. Each is preceded by a comma: the first of an event is written
// otherwise.

func (l *line) key(key string) {
	l.text(`,"`, key, `":`)
}

func (l *line) jsonString(key, value string) {
	l.key(key)
	l.quote(value)
}

func (l *line) jsonStrings(key string, values []string) {
	l.key(key)
	*l = append(*l, '[')
	for i, s := range values {
		if i > 0 {
			*l = append(*l, ',')
		}
		l.quote(s)
	}
	*l = append(*l, ']')
}

func (l *line) jsonInt(key string, value int64) {
	l.key(key)
	*l = strconv.AppendInt(*l, value, 10)
}

func (l *line) jsonBool(key string, value bool) {
	l.key(key)
	*l = strconv.AppendBool(*l, value)
}

func (l *line) jsonSeconds(key string, d time.Duration) {
	l.key(key)
	l.seconds(d, 0)
}

// quote appends s as a JSON string, as encoding/json does when it does not
// escape HTML. What is not UTF-8 becomes U+FFFD.
func (l *line) quote(s string) {
	const hex = "0123456789abcdef"
	b := append(*l, '"')
	done := 0 // what is before is in b
	for i := 0; i < len(s); {
		c := s[i]
		if ' ' <= c && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		unescaped := c >= utf8.RuneSelf && r != '\u2028' && r != '\u2029' && (r != utf8.RuneError || size > 1)
		if unescaped {
			i += size
			continue
		}
		b = append(append(b, s[done:i]...), '\\')
		switch c {
		case '"', '\\':
			b = append(b, c)
		case '\b':
			b = append(b, 'b')
		case '\f':
			b = append(b, 'f')
		case '\n':
			b = append(b, 'n')
		case '\r':
			b = append(b, 'r')
		case '\t':
			b = append(b, 't')
		default:
			b = append(b, 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		}
		i += size
		done = i
	}
	*l = append(append(b, s[done:]...), '"')
}
