package simpleipc

import (
	"context"
	"errors"
	"time"
)

// The pause between two attempts grows from the first to the second.
const (
	minPause = 1 * time.Millisecond
	maxPause = 50 * time.Millisecond
)

var errWaitedLong = errors.New("waited long enough")

// A backoff paces attempts that are repeated until a timeout.
type backoff struct {
	ctx   context.Context
	until time.Time
	pause time.Duration
}

// newBackoff returns a backoff whose timeout runs from now.
func newBackoff(ctx context.Context, timeout time.Duration) *backoff {
	return &backoff{ctx: ctx, until: time.Now().Add(timeout), pause: minPause}
}

// next waits before another attempt. It returns errWaitedLong when the
// timeout has passed, and the context's error when that has ended.
func (b *backoff) next() error {
	if err := b.ctx.Err(); err != nil {
		return err
	}
	left := time.Until(b.until)
	if left <= 0 {
		return errWaitedLong
	}
	t := time.NewTimer(min(b.pause, left))
	defer t.Stop()
	b.pause = min(2*b.pause, maxPause)
	select {
	case <-t.C:
		return nil
	case <-b.ctx.Done():
		return b.ctx.Err()
	}
}
