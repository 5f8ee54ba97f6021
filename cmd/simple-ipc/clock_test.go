package main

import (
	"testing"
	"time"
)

// The clock never goes back, and shows how long the shortest exchanges take.
func TestClock(t *testing.T) {
	finest := time.Hour
	last := clock()
	for range 10000 {
		now := clock()
		if now < last {
			t.Fatalf("%v comes after %v", now, last)
		}
		if now > last {
			finest = min(finest, now-last)
		}
		last = now
	}
	if finest > 10*time.Microsecond {
		t.Errorf("it goes in steps of %v", finest)
	}
	before := time.Now()
	began := clock()
	after := time.Now()
	<-time.After(50 * time.Millisecond)
	least := time.Since(after)
	took := clock() - began
	most := time.Since(before)
	if took < least-20*time.Millisecond || took > most+20*time.Millisecond {
		t.Errorf("%v by the clock are between %v and %v", took, least, most)
	}
}
