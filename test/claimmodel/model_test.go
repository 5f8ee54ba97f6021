// Package claimmodel checks the protocol by which processes claim a path, keep
// it and give it up (docs/design.md), by trying every interleaving of a model
// of it: a few processes, and a file system that consists of what they touch.
// A step of the model is one system call. Every process may be killed before
// and after each step, and started again any number of times. A process that
// is stopped is one that takes no step for a while, so that is covered, too.
//
// The steps, and the code that they stand for; TestModelFollowsCode compares
// the order of the calls there with what was modelled:
//
//	firstLook, look, lookAgain      checkFree, called by claim and lockPath
//	wsMkdir ... wsLeave             newWorkspace, workspace.take and find
//	candidate                       newCandidate
//	link, dropName, wait            lockPath
//	lockOpen ... lockLeave          adoptLock
//	readDir ... debrisLeave         removeDebris, isDebris, workspace.close and leave
//	bind ... published              publish
//	unlockIsAt ... unlockClose      pathLock.unlock
//	wsEmpty ... wsClose             workspace.close
//	serving, owns                   Serve; Listener.remove, called by drain and Close
//	ownsAgain, removeSock           removeLocked
//	closeSock                       closeSocket
//	git...                          a server of Git, as it can be observed
//
// Some calls are one step together, because nobody can tell their order: what
// a process does with a file that nobody else can reach by a name. Those are
// the making of the candidate, its closing, and the emptying of a workspace.
// Without workspaces (field workspaces of model) link makes the lock file in
// the step in which it names it, for the same reason.
//
// What is left out: several directories, links and mounts; users and modes;
// file systems that do not do as they should; clocks (an empty lock file is
// young or old); two workspaces that get the same random name; the connections
// that wait at a socket (one that listens answers); names that are removed by
// nobody of the above, except the socket's (field outsider).
package claimmodel

type step uint8

const (
	idle  step = iota // not running; may start
	done              // not running, and will not start again
	dying             // killed; its descriptors are being closed

	firstLook
	wsMkdir
	wsOpen
	wsFind
	wsFlock
	wsIsAt
	wsLeave
	candidate
	look
	link
	wait
	lockOpen
	lockFlock
	lockIsAt
	lockRead
	lockLeave
	staleUnlink // a mutation has this step

	dropName // from here to unlockUnlink a process holds the lock
	lookAgain
	readDir
	debrisOpen
	debrisIsAt
	debrisFlock
	debrisEmpty
	debrisIsAt2
	debrisRmdir
	debrisLeave
	bind
	listen
	unlinkOld // a mutation has this step
	rename
	published
	ownsAgain
	removeSock
	unlockIsAt
	unlockUnlink

	unlockClose
	wsEmpty
	wsIsAt2
	wsRmdir
	wsClose
	serving
	owns
	closeSock

	gitCreate
	gitLook // from here to gitUnlock Git holds the lock
	gitUnlinkOld
	gitBind
	gitListen
	gitUnlock
	gitServing
	gitCompare
	gitRemove
	gitClose
)

// An inode is an index into state.kind; 0 is none.
type inode uint8

type kind uint8

const (
	unused kind = iota
	socket
	ourLock
	youngLock // empty, as Git makes it
	oldLock   // the same, after a while
)

type flags uint8

const (
	held       flags = 1 << iota // lock is flocked by this process
	openHeld                     // so is opened
	dirHeld                      // so is the workspace
	debrisHeld                   // so is the workspace that is looked at
	listens                      // sock accepts connections
	owner                        // the process believes that the path is its own
	ending                       // it is giving it up
)

// A process is where it is in its program, and what it has open.
type process struct {
	at     step
	flags  flags
	lock   inode // its lock file, from when it has made or adopted it
	opened inode // the lock file that it is looking at
	sock   inode
	dir    uint8 // its workspace, 1 + an index into state.dirs
	debris uint8 // the workspace that it is looking at
	todo   uint8 // a bit for each workspace it has yet to look at
}

// The content of a directory beside the path: whether it is there, and what is
// in it. Whose files these are does not matter to anyone but their makers.
const (
	named uint8 = 1 << iota
	hasLock
	hasSock
)

const (
	maxProcesses = 3
	maxDirs      = 5
)

// A state is that of everything. It is comparable, and small.
type state struct {
	sock, lock inode // what the two names lead to
	kind       [12]kind
	dirs       [maxDirs]uint8
	p          [maxProcesses]process
}

// A model says who takes part, and what can happen.
type model struct {
	ours, git  int  // how many processes there are
	workspaces int  // how many there may be; 0 leaves them out
	crashes    bool // processes can be killed
	giveUp     bool // they may stop waiting for the lock
	shutdown   bool // our servers may end in order
	gitEnds    bool // so may Git's, which take no lock for it
	outsider   bool // somebody may remove the socket at any time
	stoppedGit bool // Git's lock may get old while its maker is alive
	refusing   bool // a server that listens may refuse, as if it were dead
	once       bool // each process starts once

	mutation
}

// A mutation leaves a step out, or does it wrong.
type mutation struct {
	noLock        bool
	noIsAt        bool // after the flock of a lock file that was found
	recreate      bool // a dead process's lock is closed, removed and made anew
	recreateHeld  bool // the same, but it is removed before it is closed
	unlinkFirst   bool // the old socket is removed before the new one is renamed
	lateListen    bool // the socket is published before it listens
	freeRemoval   bool // removal at shutdown takes no lock
	blindRemoval  bool // removal does not compare the inode
	noFlock       bool // our lock file is not flocked
	noSecondLook  bool // under the lock
	earlyClose    bool // unlock closes the file and then removes its name
	blindUnlock   bool // unlock removes the name without looking
	wsNoIsAt      bool // after the flock of a new workspace
	wsNoFlock     bool // a new workspace is not flocked
	noDebris      bool // the workspaces of the dead are not cleared away
	gitLockIsDead bool // an empty lock file is adopted while it is young
}

// answers reports whether someone who connects to the path gets an answer.
func (s *state) answers() bool {
	for _, p := range s.p {
		if p.sock != 0 && p.sock == s.sock && p.flags&listens != 0 {
			return true
		}
	}
	return false
}

// flocked reports whether a process other than i has flocked f.
func (s *state) flocked(f inode, i int) bool {
	for j, p := range s.p {
		if j != i && (p.lock == f && p.flags&held != 0 || p.opened == f && p.flags&openHeld != 0) {
			return true
		}
	}
	return false
}

// dirFlocked reports whether workspace d is flocked.
func (s *state) dirFlocked(d uint8) bool {
	for _, p := range s.p {
		if p.dir == d && p.flags&dirHeld != 0 || p.debris == d && p.flags&debrisHeld != 0 {
			return true
		}
	}
	return false
}

// create returns a new inode.
func (s *state) create(k kind) inode {
	for i := 1; i < len(s.kind); i++ {
		if s.kind[i] == unused {
			s.kind[i] = k
			return inode(i)
		}
	}
	panic("too few inodes")
}

// mkdir returns a name that nobody knows, or 0 if there are enough.
func (s *state) mkdir(limit int) uint8 {
	for d := range limit {
		free := s.dirs[d] == 0
		for _, p := range s.p {
			free = free && p.dir != uint8(d+1) && p.debris != uint8(d+1) && p.todo&(1<<d) == 0
		}
		if free {
			s.dirs[d] = named
			return uint8(d + 1)
		}
	}
	return 0
}

// An emit function gets what happened and the state after it.
type emit func(what string, n state)

// step tells emit what process i can do next.
func (m *model) step(s state, i int, emit emit) {
	t := turn{model: m, i: i, s: s, n: s, emit: emit}
	if i < m.ours {
		t.stepOurs()
	} else {
		t.stepGit()
	}
}

// stepGit emits what a server of Git can do next.
func (t *turn) stepGit() {
	p := &t.n.p[t.i]
	switch p.at {
	case idle:
		t.next(gitCreate, "starts")
	case gitCreate:
		if t.s.lock == 0 {
			p.lock = t.n.create(youngLock)
			t.n.lock = p.lock
			t.next(gitLook, "creates the lock")
		} else if t.giveUp {
			t.stop("the lock exists; ends")
		}
	case gitLook:
		if t.s.answers() {
			t.next(gitUnlock, "looks: in use")
		} else {
			t.next(gitUnlinkOld, "looks: free")
		}
	case gitUnlinkOld:
		t.n.sock = 0
		t.next(gitBind, "unlinks the old socket")
	case gitBind:
		if t.s.sock != 0 {
			t.next(gitUnlock, "bind: path exists")
			return
		}
		p.sock = t.n.create(socket)
		p.flags |= owner
		t.n.sock = p.sock
		t.next(gitListen, "bind: its socket is at the path")
	case gitListen:
		p.flags |= listens
		t.next(gitUnlock, "listen")
	case gitUnlock:
		t.n.lock, p.lock = 0, 0
		if p.sock != 0 {
			t.next(gitServing, "removes the lock")
		} else {
			t.stop("removes the lock; ends")
		}
	case gitServing:
		if t.gitEnds {
			t.next(gitCompare, "shuts down")
		}
	case gitCompare:
		if t.s.sock == p.sock {
			t.next(gitRemove, "the path is its own")
		} else {
			t.next(gitClose, "the path is not its own")
		}
	case gitRemove:
		t.n.sock = 0
		p.flags &^= owner
		t.next(gitClose, "unlinks the socket")
	case gitClose:
		t.stop("closes its socket; ends")
	}
}

// die tells emit what the kernel can do with process i: kill it, and then
// close its descriptors, in any order.
func (m *model) die(s state, i int, emit emit) {
	p := &s.p[i]
	if !m.crashes || p.at == idle || p.at == done {
		return
	}
	close := func(p *process, what flags) {
		p.flags &^= what
		switch what {
		case held:
			p.lock = 0
		case openHeld:
			p.opened = 0
		case listens:
			p.sock = 0
		case dirHeld:
			p.dir = 0
		case debrisHeld:
			p.debris = 0
		}
		if *p == (process{at: dying}) {
			*p = process{}
		}
	}
	if p.at == dying {
		for what := held; what <= listens; what <<= 1 {
			if n := s; p.flags&what != 0 {
				close(&n.p[i], what)
				emit(closes[what], n)
			}
		}
		return
	}
	p.at, p.todo, p.flags = dying, 0, p.flags&^(owner|ending)
	for what := held; what <= listens; what <<= 1 {
		if p.flags&what == 0 {
			close(p, what) // nobody can see when
		}
	}
	emit("is killed", s)
}

var closes = map[flags]string{
	held:       "is dead: its lock is closed",
	openHeld:   "is dead: the lock that it found is closed",
	dirHeld:    "is dead: its workspace is closed",
	debrisHeld: "is dead: the workspace that it found is closed",
	listens:    "is dead: its socket is closed",
}

// environment tells emit what can happen by itself.
func (m *model) environment(s state, emit emit) {
	if m.outsider && s.sock != 0 {
		n := s
		n.sock = 0
		for i := range n.p {
			if n.p[i].sock == s.sock {
				n.p[i].flags &^= owner // it will notice
			}
		}
		emit("somebody removes the socket", n)
	}
	if s.lock != 0 && s.kind[s.lock] == youngLock {
		for _, p := range s.p {
			if p.lock == s.lock && p.at >= gitLook && !m.stoppedGit {
				return
			}
		}
		n := s
		n.kind[n.lock] = oldLock
		emit("the lock gets old", n)
	}
}
