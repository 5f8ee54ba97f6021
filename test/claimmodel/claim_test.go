package claimmodel

import (
	"flag"
	"slices"
	"testing"
	"time"

	"example.com/simpleipc/internal/race"
)

var long = flag.Bool("long", false, "check the largest model, too: two minutes, and 5 GB")

// ours returns a model in which all can happen that concerns our servers.
func ours(n, workspaces int) model {
	return model{ours: n, workspaces: workspaces, crashes: true, giveUp: true, shutdown: true, outsider: true}
}

// TestProtocol checks that the protocol does what it is meant to.
func TestProtocol(t *testing.T) {
	var all [gitClose + 1]bool
	most := 1 // second, or so
	switch {
	case *long:
		most = 100
	case testing.Short() || race.Enabled:
		most = 0
	}
	for _, tt := range []struct {
		name    string
		seconds int
		model
	}{
		{"two", 0, ours(2, 0)},
		{"three", 0, ours(3, 0)},
		{"two with workspaces", 0, ours(2, 3)},
		{"three with workspaces", 1, model{ours: 3, workspaces: 3, crashes: true, giveUp: true, shutdown: true}},
		{"three with workspaces, outsider", 100, ours(3, 4)},
		{"two and Git", 0, model{ours: 2, git: 1, crashes: true, giveUp: true, shutdown: true, gitEnds: true}},
		{"two and Git, outsider", 0, model{ours: 2, git: 1, crashes: true, giveUp: true, shutdown: true, outsider: true}},
		{"one and two of Git", 0, model{ours: 1, git: 2, crashes: true, giveUp: true, shutdown: true, gitEnds: true}},
		{"two with workspaces, and Git", 1, model{ours: 2, git: 1, workspaces: 3, crashes: true, giveUp: true, shutdown: true, gitEnds: true}},
		{"three once", 0, model{ours: 3, workspaces: 3, once: true}},
		{"two and Git once", 0, model{ours: 2, git: 1, workspaces: 2, once: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.seconds > most {
				t.Skip("takes long")
			}
			for s, reached := range check(t, tt.model).reached {
				all[s] = all[s] || reached
			}
		})
	}
	for s, reached := range all {
		if s := step(s); !reached && s != staleUnlink && s != unlinkOld {
			t.Errorf("no process has reached step %d", s)
		}
	}
}

// check explores a model, and expects that it breaks these properties only.
func check(t *testing.T, m model, breaks ...property) result {
	t.Helper()
	began := time.Now()
	r := m.explore()
	t.Logf("%d states, %d steps, %v; %d states left by the dead, %d steps to recover",
		r.states, r.steps, time.Since(began).Round(time.Millisecond), r.left, r.longest)
	for p := range properties {
		way, broken := r.broken[p]
		switch expected := slices.Contains(breaks, p); {
		case broken && !expected:
			t.Errorf("%v is broken:%s", p, way)
		case broken:
			t.Logf("%v is broken, as expected:%s", p, way)
		case expected:
			t.Errorf("%v was not found to be broken", p)
		}
	}
	return r
}

// TestMutations checks that the checker finds what is wrong when something is,
// and so what each part of the protocol is for.
func TestMutations(t *testing.T) {
	plain, workspaces := ours(2, 0), ours(2, 2)
	git := model{ours: 2, git: 1, crashes: true, giveUp: true}
	for _, tt := range []struct {
		name   string
		in     model
		change mutation
		breaks []property
	}{
		{"no lock at all", plain, mutation{noLock: true}, []property{noTheft, exclusion, noGap}},
		{"no isAt after the flock", plain, mutation{noIsAt: true}, []property{noTheft, exclusion, noGap}},
		{"stale lock removed, not adopted", plain, mutation{recreate: true}, []property{noTheft, exclusion, ownUnlock, noGap}},
		{"old socket removed, not replaced", plain, mutation{unlinkFirst: true}, []property{noGap}},
		{"socket published before listen", plain, mutation{lateListen: true}, []property{noGap}},
		{"lock file not flocked", plain, mutation{noFlock: true}, []property{noTheft, exclusion, ownUnlock, noGap}},
		{"no look under the lock", plain, mutation{noSecondLook: true}, []property{noTheft}},
		{"no look under the lock, once", model{ours: 2, workspaces: 2, once: true}, mutation{noSecondLook: true}, []property{noTheft, outcome}},
		{"lock closed before its name is removed", plain, mutation{earlyClose: true}, []property{noTheft, exclusion, ownUnlock, noGap}},
		{"empty lock adopted at once", git, mutation{gitLockIsDead: true}, []property{noTheft, exclusion, ownUnlock}},
		{"workspace not flocked", workspaces, mutation{wsNoFlock: true}, []property{ownWorkspace, recovery}},
		{"no isAt after the workspace's flock", workspaces, mutation{wsNoIsAt: true}, []property{ownWorkspace}},
		{"workspaces of the dead left there", workspaces, mutation{noDebris: true}, []property{recovery}},

		// These matter only if somebody removes the socket without the lock:
		// without that, a server that listens is not replaced.
		{"removal without the lock", plain, mutation{freeRemoval: true}, []property{noTheft, exclusion, noGap}},
		{"removal without a comparison", plain, mutation{blindRemoval: true}, []property{noTheft, noGap}},

		// These do no harm, as far as the model goes. A dead lock could be
		// removed by who holds its flock, and contended for anew. And unlock
		// need not look, if nobody removes the lock of another.
		{"stale lock removed under its flock", plain, mutation{recreateHeld: true}, nil},
		{"stale lock removed under its flock, Git", git, mutation{recreateHeld: true}, nil},
		{"unlock without isAt", plain, mutation{blindUnlock: true}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.in.mutation = tt.change
			check(t, tt.in, tt.breaks...)
		})
	}
}

// TestKnownLimits shows what the protocol does not protect from. If a test of
// these fails because nothing is broken, the documentation can be changed.
func TestKnownLimits(t *testing.T) {
	for _, tt := range []struct {
		name   string
		in     model
		breaks []property
	}{
		{"Git stopped while it holds the lock", model{ours: 2, git: 1, shutdown: true, stoppedGit: true},
			[]property{noTheft, exclusion, ownUnlock, noGap}},
		{"Git removes its socket without the lock, and so does somebody else", model{ours: 1, git: 1, outsider: true, gitEnds: true},
			[]property{noTheft}},
		{"full backlogs refuse, as on macOS and the BSDs", model{ours: 2, refusing: true},
			[]property{noTheft}},
	} {
		t.Run(tt.name, func(t *testing.T) { check(t, tt.in, tt.breaks...) })
	}
}
