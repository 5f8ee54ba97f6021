package claimmodel

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"strings"
)

// What must hold.
type property int

const (
	// The path of a process that lives and has published its socket leads to
	// it, until it removes the socket itself. (If the outsider removes it, the
	// process is told.) So no two processes ever have the same path.
	noTheft property = iota
	// At most one process holds the lock.
	exclusion
	// Only who holds the lock file at the lock's name removes the name.
	ownUnlock
	// A workspace that is in use is not taken for debris.
	ownWorkspace
	// If something is at the path, our servers leave it there or replace it by
	// a socket that listens, in one step; but they do remove their own.
	noGap
	// Whenever all are killed, one of our servers that starts then gets the
	// path, and nothing stays behind but its socket.
	recovery
	// When nobody is killed and nobody gives up, then of all that start one
	// gets the path, and nothing stays behind but its socket.
	outcome

	properties
)

func (p property) String() string {
	return [...]string{"noTheft", "exclusion", "ownUnlock", "ownWorkspace", "noGap", "recovery", "outcome"}[p]
}

// A result is what explore has found.
type result struct {
	states, steps int
	left          int                 // different file systems that the dead left
	longest       int                 // steps that a server needed with one of these
	reached       [gitClose + 1]bool  // the steps that were taken
	broken        map[property]string // with the shortest way there
}

// An origin says how a state was reached first.
type origin struct {
	parent int32
	choice int16
}

type explorer struct {
	*model
	result
	states  []state
	origins []origin
	known   map[state]int32
	left    map[state]bool // what the dead left, and whether one recovers from it
}

// explore visits every state that can be reached, breadth first.
func (m *model) explore() result {
	e := &explorer{model: m, known: map[state]int32{}, left: map[state]bool{}}
	e.broken = map[property]string{}
	e.visit(state{}, origin{parent: -1})
	for at := int32(0); int(at) < len(e.states); at++ {
		s, choice, settled := e.states[at], int16(0), true
		e.all(s, func(who int, what string, n state) {
			o := origin{at, choice}
			choice++
			settled = false
			e.checkStep(s, n, who, o)
			e.visit(n, o)
		})
		if settled && m.once && !m.settledWell(s) {
			e.breaks(outcome, e.origins[at])
		}
	}
	e.result.states = len(e.states)
	return e.result
}

// all tells emit everything that can happen next; who is a process or -1.
func (m *model) all(s state, emit func(who int, what string, n state)) {
	for i := range m.ours + m.git {
		by := func(what string, n state) { emit(i, what, n) }
		m.step(s, i, by)
		m.die(s, i, by)
	}
	m.environment(s, func(what string, n state) { emit(-1, what, n) })
}

// visit takes note of a state, and checks it if it is new.
func (e *explorer) visit(n state, o origin) {
	e.steps++
	c, _ := e.canonical(n)
	if _, ok := e.known[c]; ok {
		return
	}
	e.known[c] = int32(len(e.states))
	e.states = append(e.states, c)
	e.origins = append(e.origins, o)

	holders := 0
	for _, p := range c.p {
		e.reached[p.at] = true
		if p.flags&owner != 0 && p.sock != c.sock {
			e.breaks(noTheft, o)
		}
		if p.dir != 0 && p.at >= candidate && p.at <= wsRmdir && c.dirs[p.dir-1]&named == 0 {
			e.breaks(ownWorkspace, o)
		}
		if p.at >= dropName && p.at <= unlockUnlink || p.at >= gitLook && p.at <= gitUnlock {
			holders++
		}
	}
	if holders > 1 {
		e.breaks(exclusion, o)
	}
	if e.crashes && !e.recovers(c) {
		e.breaks(recovery, o)
	}
}

// checkStep checks what who did, from s to n.
func (e *explorer) checkStep(s, n state, who int, o origin) {
	if who < 0 {
		return
	}
	p := s.p[who]
	ours := who < e.ours
	holds := p.lock == s.lock && (p.flags&held != 0 || !ours) || p.opened == s.lock && p.flags&openHeld != 0
	if s.lock != 0 && n.lock != s.lock && !holds {
		e.breaks(ownUnlock, o)
	}
	if !ours || n.sock == s.sock {
		return
	}
	if n.sock == 0 && p.sock != s.sock || n.sock != 0 && p.flags&listens == 0 {
		e.breaks(noGap, o)
	}
}

// recovers kills all processes, and lets one start.
func (e *explorer) recovers(s state) bool {
	s.p = [maxProcesses]process{}
	if s.lock != 0 && s.kind[s.lock] == youngLock {
		s.kind[s.lock] = oldLock
	}
	s, _ = e.canonical(s)
	ok, known := e.left[s]
	if known {
		return ok
	}
	m := *e.model
	m.ours, m.git = 1, 0
	if m.workspaces > 0 {
		m.workspaces = maxDirs
	}
	left := s
	for n := range 100 {
		if s.p[0].at == serving {
			e.longest = max(e.longest, n)
			ok = s.sock == s.p[0].sock && s.lock == 0 && s.dirs == [maxDirs]uint8{}
			break
		}
		next := s
		m.step(s, 0, func(_ string, n state) {
			if next == s {
				next = n
			}
		})
		s, _ = m.canonical(next)
		if s.p[0] == (process{}) {
			break // it has given up
		}
	}
	e.left[left] = ok
	e.result.left++
	return ok
}

// settledWell looks at a state in which nothing can happen any more.
func (m *model) settledWell(s state) bool {
	serve := 0
	for _, p := range s.p[:m.ours+m.git] {
		switch {
		case (p.at == serving || p.at == gitServing) && p.sock == s.sock:
			serve++
		case p.at != done:
			return false
		}
	}
	return serve == 1 && s.lock == 0 && s.dirs == [maxDirs]uint8{}
}

// breaks notes the first way to break a property, which is a shortest one.
func (e *explorer) breaks(p property, o origin) {
	if e.broken[p] == "" {
		e.broken[p] = e.trace(o)
	}
}

// trace tells how the state with this origin was reached.
func (e *explorer) trace(o origin) string {
	var way []origin
	for ; o.parent >= 0; o = e.origins[o.parent] {
		way = append(way, o)
	}
	slices.Reverse(way)
	names := [maxProcesses]string{"A", "B", "C"}
	for i := range e.git {
		names[e.ours+i] = "Git" + strings.Repeat("'", i)
	}
	var b strings.Builder
	for n, o := range way {
		choice := int16(0)
		e.all(e.states[o.parent], func(who int, what string, next state) {
			if choice == o.choice {
				name := "-"
				if who >= 0 {
					name = names[who]
				}
				fmt.Fprintf(&b, "\n%4d. %-5s%s", n+1, name, what)
				_, order := e.canonical(next)
				var renamed [maxProcesses]string
				for to, from := range order {
					renamed[to] = names[from]
				}
				names = renamed
			}
			choice++
		})
	}
	return b.String()
}

// canonical returns a state that differs from s in nothing but the order of
// like processes and the numbers of inodes and workspaces, and is the same for
// most of such states. (If it were not for some, they would be visited more
// than once.) It drops the inodes that nothing leads to. The order tells which
// process of s each one was.
func (m *model) canonical(s state) (state, [maxProcesses]int) {
	var order [maxProcesses]int
	var key [maxProcesses]uint64
	for i, p := range s.p {
		order[i] = i
		same := func(a, b inode) uint64 {
			switch a {
			case 0:
				return 0
			case b:
				return 1
			}
			return 2
		}
		key[i] = uint64(p.at)<<32 | uint64(p.flags)<<24 | uint64(s.kind[p.opened])<<20 |
			same(p.lock, s.lock)<<18 | same(p.opened, s.lock)<<16 | same(p.sock, s.sock)<<14 |
			uint64(bits.OnesCount8(p.todo))<<10
		if p.dir != 0 {
			key[i] |= uint64(s.dirs[p.dir-1]) | 8
		}
		if p.debris != 0 {
			key[i] |= uint64(s.dirs[p.debris-1])<<4 | 128
		}
	}
	like := func(ids []int) {
		slices.SortStableFunc(ids, func(a, b int) int { return cmp.Compare(key[a], key[b]) })
	}
	like(order[:m.ours])
	like(order[m.ours : m.ours+m.git])

	c := state{}
	var inodes [len(s.kind)]inode
	last := inode(0)
	renumber := func(f inode) inode {
		if f != 0 && inodes[f] == 0 {
			last++
			inodes[f] = last
			c.kind[last] = s.kind[f]
		}
		return inodes[f]
	}
	var dirs [maxDirs]uint8
	count := uint8(0)
	place := func(d uint8) uint8 { // d and the result count from 1
		if d == 0 {
			return 0
		}
		if dirs[d-1] == 0 {
			count++
			dirs[d-1] = count
			c.dirs[count-1] = s.dirs[d-1]
		}
		return dirs[d-1]
	}
	c.sock, c.lock = renumber(s.sock), renumber(s.lock)
	for i, from := range order {
		p := s.p[from]
		p.lock, p.opened, p.sock = renumber(p.lock), renumber(p.opened), renumber(p.sock)
		p.dir, p.debris = place(p.dir), place(p.debris)
		c.p[i] = p
	}
	if m.workspaces == 0 {
		return c, order
	}
	// The workspaces that no process has open: by what is in them, and by who
	// is going to look at them.
	var rest [maxDirs]int
	for d := range s.dirs {
		rest[d] = int(s.dirs[d]) << maxProcesses
		for i, from := range order {
			rest[d] |= int(s.p[from].todo>>d&1) << i
		}
		rest[d] = rest[d]<<8 | d
	}
	slices.Sort(rest[:])
	for i := range rest {
		if r := rest[maxDirs-1-i]; r>>8 != 0 {
			place(uint8(r&255) + 1)
		}
	}
	for i := range c.p {
		todo := uint8(0)
		for d, to := range dirs {
			if c.p[i].todo&(1<<d) != 0 {
				todo |= 1 << (to - 1)
			}
		}
		c.p[i].todo = todo
	}
	return c, order
}
