package main

import (
	"slices"
	"sync"
	"time"
)

const (
	// maxEntries is how many credentials are kept at most.
	maxEntries = 256

	// firstWait is how long a cache waits for its first credential, which who
	// has started the daemon is about to store.
	firstWait = 30 * time.Second

	// maxPause is how often expired credentials are looked for, at least:
	// timers stand still while the machine sleeps.
	maxPause = time.Minute
)

// A cache keeps credentials until they expire. It closes when the last one has
// gone, and stays closed.
type cache struct {
	onClose func()

	mu      sync.Mutex
	entries []entry // the latest one last
	timer   *time.Timer
	closed  bool
}

// An entry expires by two clocks: one stands still while the machine sleeps, and
// the other can be set back.
type entry struct {
	credential
	expires time.Time // by the monotonic clock
	latest  time.Time // by the wall clock alone
}

func newEntry(c credential, timeout time.Duration) entry {
	expires := time.Now().Add(timeout)
	return entry{c, expires, expires.Round(0)}
}

func (e entry) hasExpired(now time.Time) bool {
	return !now.Before(e.expires) || !now.Before(e.latest)
}

// newCache returns an empty cache. It calls onClose when it closes.
func newCache(onClose func()) *cache {
	c := &cache{onClose: onClose}
	c.mu.Lock() // expire needs the timer
	defer c.mu.Unlock()
	c.timer = time.AfterFunc(firstWait, c.expire)
	return c
}

// get returns what answers the query, as lines, or nothing.
func (c *cache) get(query credential) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(nil)
	for _, e := range slices.Backward(c.entries) {
		if answer := e.answer(query); answer != nil {
			return answer
		}
	}
	return nil
}

// store keeps a copy of a credential, instead of what was kept for the same. It
// reports false if the cache has closed.
func (c *cache) store(cred credential, timeout time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.forget(func(e entry) bool { return e.matches(cred) && cred.matches(e.credential) })
	if len(c.entries) == maxEntries {
		first := slices.MinFunc(c.entries, func(a, b entry) int { return a.expires.Compare(b.expires) })
		c.forget(func(e entry) bool { return e.expires.Equal(first.expires) })
	}
	c.entries = append(c.entries, newEntry(cred.clone(storedKeys), timeout))
	c.schedule()
	return true
}

// erase forgets what matches the query, in its secrets, too, if it has any.
func (c *cache) erase(query credential) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(func(e entry) bool { return e.matches(query) && e.agrees(query, secretKeys) })
}

// close forgets everything and closes the cache.
func (c *cache) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(func(entry) bool { return true })
	c.shut()
}

// expire forgets what has expired.
func (c *cache) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(nil)
	if len(c.entries) == 0 {
		c.shut()
	} else {
		c.schedule()
	}
}

// The rest is called with the lock held.

// forget forgets what has expired, and what is unwanted unless that is nil.
func (c *cache) forget(unwanted func(entry) bool) {
	now, before := time.Now(), len(c.entries)
	c.entries = slices.DeleteFunc(c.entries, func(e entry) bool {
		if !e.hasExpired(now) && (unwanted == nil || !unwanted(e)) {
			return false
		}
		e.overwrite()
		return true
	})
	if len(c.entries) < before {
		c.schedule()
	}
}

// schedule says when expire is to be called: at once if nothing is left.
func (c *cache) schedule() {
	pause := maxPause
	if len(c.entries) == 0 {
		pause = 0
	}
	for _, e := range c.entries {
		pause = min(pause, time.Until(e.expires))
	}
	c.timer.Reset(pause)
}

func (c *cache) shut() {
	if !c.closed {
		c.closed = true
		c.timer.Stop()
		c.onClose()
	}
}
