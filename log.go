package simpleipc

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"
)

// How many lines are logged about one cause within how long.
const (
	maxLogLines = 10
	logPeriod   = 1 * time.Minute
)

// A serverLog is where a server logs to. What clients can bring about, they can
// bring about often: of each cause it writes the first lines of a period, and at
// the end of that how many there were besides. Debug lines are for who wants
// all of them.
type serverLog struct {
	*slog.Logger

	mu     sync.Mutex
	bursts map[string]*burst // by cause
	closed bool
}

// A burst is what is logged about one cause within a period.
type burst struct {
	level slog.Level
	lines int // logged or not
	over  *time.Timer
}

func newServerLog(l *slog.Logger) *serverLog {
	if l == nil {
		l = slog.New(slog.DiscardHandler)
	}
	return &serverLog{Logger: l, bursts: make(map[string]*burst)}
}

// limited logs what has happened for a cause, unless that was logged too often.
func (l *serverLog) limited(level slog.Level, cause, message string, attrs ...any) {
	ctx := context.Background()
	if !l.Enabled(ctx, level) || level > slog.LevelDebug && !l.admit(level, cause) {
		return
	}
	l.Log(ctx, level, message, append([]any{"cause", cause}, attrs...)...)
}

// admit reports whether one more line about a cause is to be written.
func (l *serverLog) admit(level slog.Level, cause string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return true // by a handler that the server has not waited for
	}
	b := l.bursts[cause]
	if b == nil {
		b = &burst{level: level}
		b.over = time.AfterFunc(logPeriod, func() { l.end(cause, b) })
		l.bursts[cause] = b
	}
	b.lines++
	return b.lines <= maxLogLines
}

// end ends the period of a burst.
func (l *serverLog) end(cause string, b *burst) {
	l.mu.Lock()
	current := l.bursts[cause] == b
	if current {
		delete(l.bursts, cause)
	}
	l.mu.Unlock()
	if current && b.lines > maxLogLines {
		l.Log(context.Background(), b.level, "there was more than was logged", "cause", cause, "suppressed", b.lines-maxLogLines, "within", logPeriod)
	}
}

// close ends all periods.
func (l *serverLog) close() {
	l.mu.Lock()
	l.closed = true
	bursts := maps.Clone(l.bursts)
	l.mu.Unlock()
	for cause, b := range bursts {
		b.over.Stop()
		l.end(cause, b)
	}
}
