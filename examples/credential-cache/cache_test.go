package main

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// about returns a credential with these keys and values.
func about(t *testing.T, text string) credential {
	t.Helper()
	c, err := parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCacheExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed := make(chan struct{})
		c := newCache(func() { close(closed) })
		has := func(host string, want bool) {
			t.Helper()
			if got := c.get(about(t, "protocol=https\nhost="+host)); (got != nil) != want {
				t.Errorf("get of %s: %q", host, got)
			}
		}
		store := func(host string, timeout time.Duration) credential {
			t.Helper()
			if !c.store(about(t, "protocol=https\nhost="+host+"\nusername=u\npassword=secret"), timeout) {
				t.Errorf("%s was not stored", host)
			}
			return c.entries[len(c.entries)-1].credential
		}
		begin := time.Now()
		first := store("a", time.Second)
		second := store("b", 10*time.Second)
		store("c", time.Second)
		store("c", 5*time.Minute) // which counts anew
		time.Sleep(time.Second - time.Nanosecond)
		has("a", true)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if got := string(first["password"]); got != "\x00\x00\x00\x00\x00\x00" {
			t.Errorf("the expired password is %q", got)
		}
		has("a", false)
		has("b", true)
		c.erase(about(t, "protocol=https\nhost=b\npassword=other"))
		has("b", true)
		c.erase(about(t, "protocol=https\nhost=b\npassword=secret"))
		has("b", false)
		if got := string(second["password"]); got != "\x00\x00\x00\x00\x00\x00" {
			t.Errorf("the erased password is %q", got)
		}
		has("c", true)
		<-closed
		if took := time.Since(begin); took != 5*time.Minute {
			t.Errorf("closed after %v", took)
		}
		if c.store(about(t, "protocol=https\nhost=d\nusername=u\npassword=secret"), time.Hour) {
			t.Error("stored in a closed cache")
		}
		c.close()
	})
}

func TestCacheCloses(t *testing.T) {
	for name, end := range map[string]struct {
		by   func(*cache)
		took time.Duration
	}{
		"nothing comes":   {func(c *cache) {}, firstWait},
		"nothing to find": {func(c *cache) { c.get(credential{}); c.erase(credential{}) }, firstWait},
		"close":           {func(c *cache) { c.close() }, 0},
		"erased": {func(c *cache) {
			c.store(credential{"host": []byte("h")}, time.Hour)
			c.erase(credential{})
		}, 0},
		"expired on arrival": {func(c *cache) { c.store(credential{}, 0) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				closed := make(chan struct{})
				begin := time.Now()
				c := newCache(func() { close(closed) })
				end.by(c)
				<-closed
				if took := time.Since(begin); took != end.took {
					t.Errorf("closed after %v, want %v", took, end.took)
				}
				c.close()
			})
		})
	}
}

// TestExpiredByEitherClock: the machine may have slept, or its clock been set.
func TestExpiredByEitherClock(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		expires, latest time.Duration
		want            bool
	}{
		{time.Minute, time.Minute, false},
		{time.Nanosecond, time.Nanosecond, false},
		{0, 0, true},
		{time.Minute, -time.Minute, true}, // it has slept
		{-time.Minute, time.Hour, true},   // the clock was set back
	} {
		e := entry{expires: now.Add(c.expires), latest: now.Add(c.latest).Round(0)}
		if got := e.hasExpired(now); got != c.want {
			t.Errorf("%v, %v: %v", c.expires, c.latest, got)
		}
	}
	e := newEntry(nil, time.Minute)
	if e.expires == e.expires.Round(0) || e.latest != e.expires.Round(0) {
		t.Errorf("the entry expires at %v and %v", e.expires, e.latest)
	}
}

func TestCacheIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(func() {})
		defer c.close()
		for i := range maxEntries + 10 {
			timeout := time.Hour
			if i == 100 {
				timeout = time.Minute
			}
			time.Sleep(time.Nanosecond)
			c.store(about(t, fmt.Sprintf("protocol=https\nhost=%d\nusername=u\npassword=%d", i, i)), timeout)
		}
		if n := len(c.entries); n != maxEntries {
			t.Errorf("there are %d entries", n)
		}
		for i := range maxEntries + 10 {
			got := c.get(about(t, fmt.Sprintf("protocol=https\nhost=%d", i)))
			if want := i > 8 && i != 100; (got != nil) != want {
				t.Errorf("credential %d: %q", i, got)
			}
		}
	})
}
