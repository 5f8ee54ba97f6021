package claimmodel

// A turn is that of one process to take a step.
type turn struct {
	*model
	i    int   // the process
	s    state // before the step
	n    state // after it
	emit emit
}

// next emits the state after the step, with the process at a new place in its
// program. More ways to go on may follow.
func (t *turn) next(at step, what string) {
	t.n.p[t.i].at = at
	t.emit(what, t.n)
	t.n = t.s
}

// stop ends the process.
func (t *turn) stop(what string) {
	t.n.p[t.i] = process{}
	if t.once {
		t.next(done, what)
	} else {
		t.next(idle, what)
	}
}

// tryLock goes to where lockPath tries to take the lock.
func (t *turn) tryLock(what string) {
	switch {
	case t.noLock:
		t.locked(what)
	case t.s.p[t.i].flags&ending != 0:
		t.next(link, what)
	default:
		t.next(look, what)
	}
}

// locked goes to where the lock is held.
func (t *turn) locked(what string) {
	switch {
	case t.s.p[t.i].flags&ending != 0:
		t.next(ownsAgain, what)
	case t.noSecondLook:
		t.next(readDir, what)
	default:
		t.next(lookAgain, what)
	}
}

// cleanUp goes to where the lock has been given up, or was not to be had.
func (t *turn) cleanUp(what string) {
	p := &t.n.p[t.i]
	p.lock, p.flags = 0, p.flags&^held
	if t.workspaces > 0 {
		t.next(wsEmpty, what)
	} else {
		t.finish(what)
	}
}

// finish goes to where the workspace has been given up.
func (t *turn) finish(what string) {
	switch p := t.n.p[t.i]; {
	case p.flags&ending != 0:
		n := t.n
		t.next(closeSock, what)
		if t.n = n; p.flags&owner != 0 {
			t.next(owns, what+"; tries once more")
		}
	case p.sock != 0:
		t.next(serving, what)
	default:
		t.stop(what)
	}
}

// stepOurs emits what one of our servers can do next. The first way is the one
// that leads it to its aim.
func (t *turn) stepOurs() {
	p := &t.n.p[t.i]
	var dir *uint8 // the workspace
	if p.dir != 0 {
		dir = &t.n.dirs[p.dir-1]
	}
	switch p.at {
	case idle:
		t.next(firstLook, "starts")

	case firstLook:
		if t.s.answers() {
			t.stop("looks: in use; ends")
			if !t.refusing {
				return
			}
		}
		if t.workspaces > 0 {
			t.next(wsMkdir, "looks: free")
		} else {
			t.tryLock("looks: free")
		}

	case wsMkdir:
		if p.dir = t.n.mkdir(t.workspaces); p.dir != 0 {
			t.next(wsOpen, "workspace: mkdir")
		}
	case wsOpen:
		if *dir&named == 0 {
			p.dir = 0
			t.next(wsMkdir, "workspace: has gone")
		} else {
			t.next(wsFind, "workspace: open")
		}
	case wsFind:
		if *dir&named != 0 {
			t.next(wsFlock, "workspace: is there")
		} else {
			t.next(wsLeave, "workspace: has gone")
		}
	case wsFlock:
		switch {
		case t.wsNoFlock:
			t.next(candidate, "workspace: no flock")
		case t.s.dirFlocked(p.dir):
			t.next(wsLeave, "workspace: flock fails")
		case t.wsNoIsAt:
			p.flags |= dirHeld
			t.next(candidate, "workspace: flock")
		default:
			p.flags |= dirHeld
			t.next(wsIsAt, "workspace: flock")
		}
	case wsIsAt:
		if *dir&named != 0 {
			t.next(candidate, "workspace: still there")
		} else {
			t.next(wsLeave, "workspace: has gone")
		}
	case wsLeave:
		p.dir, p.flags = 0, p.flags&^dirHeld
		t.next(wsMkdir, "workspace: closes it")

	case candidate:
		if *dir&named == 0 {
			t.cleanUp("cannot make a lock file; gives up")
			return
		}
		*dir |= hasLock
		p.lock = t.n.create(ourLock)
		if !t.noFlock {
			p.flags |= held
		}
		t.tryLock("makes a lock file")

	case look:
		if t.s.answers() {
			t.cleanUp("looks: in use")
			if !t.refusing {
				return
			}
		}
		t.next(link, "looks: free")
	case link:
		if t.s.lock != 0 {
			t.next(lockOpen, "link: lock exists")
			return
		}
		if t.workspaces > 0 {
			if *dir&hasLock == 0 {
				t.cleanUp("link: the lock file has gone; gives up")
				return
			}
			t.n.lock = p.lock
			t.next(dropName, "link: has the lock")
			return
		}
		p.lock = t.n.create(ourLock)
		if !t.noFlock {
			p.flags |= held
		}
		t.n.lock = p.lock
		t.locked("link: has the lock")
	case dropName:
		*dir &^= hasLock
		t.locked("removes the lock file's first name")

	case lockOpen:
		if t.s.lock == 0 {
			t.next(wait, "open: lock has gone")
		} else {
			p.opened = t.s.lock
			t.next(lockFlock, "opens the lock")
		}
	case lockFlock:
		switch {
		case t.s.flocked(p.opened, t.i):
			t.next(lockLeave, "flock: held")
		case t.noIsAt:
			p.flags |= openHeld
			t.next(lockRead, "flocks the lock")
		default:
			p.flags |= openHeld
			t.next(lockIsAt, "flocks the lock")
		}
	case lockIsAt:
		if p.opened == t.s.lock {
			t.next(lockRead, "the lock is still at its name")
		} else {
			t.next(lockLeave, "the lock is no longer at its name")
		}
	case lockRead:
		switch {
		case t.s.kind[p.opened] == youngLock && !t.gitLockIsDead:
			t.next(lockLeave, "the lock is young")
		case t.recreate:
			p.opened, p.flags = 0, p.flags&^openHeld
			t.next(staleUnlink, "the lock is dead; closes it")
		case t.recreateHeld:
			t.next(staleUnlink, "the lock is dead")
		default:
			p.lock, p.opened = p.opened, 0
			p.flags = p.flags&^openHeld | held
			t.locked("adopts the lock")
		}
	case staleUnlink:
		t.n.lock = 0
		if t.recreateHeld {
			t.next(lockLeave, "removes the lock's name")
		} else {
			t.tryLock("removes the lock's name")
		}
	case lockLeave:
		p.opened, p.flags = 0, p.flags&^openHeld
		t.next(wait, "closes the lock that it found")
	case wait:
		t.tryLock("tries again")
		if t.giveUp {
			t.cleanUp("has waited for too long")
		}

	case lookAgain:
		if t.s.answers() {
			t.next(unlockIsAt, "looks under the lock: in use")
			if !t.refusing {
				return
			}
		}
		t.next(readDir, "looks under the lock: free")
	case readDir:
		for d := range t.s.dirs {
			if t.s.dirs[d]&named != 0 && !t.noDebris {
				p.todo |= 1 << d
			}
		}
		if p.todo == 0 { // so without workspaces
			t.next(bind, "looks for workspaces: none")
		} else {
			t.next(debrisOpen, "looks for workspaces")
		}
	case debrisOpen:
		if t.s.p[t.i].todo == 0 {
			t.next(bind, "no more workspaces")
			return
		}
		for d := range uint8(maxDirs) {
			if t.s.p[t.i].todo&(1<<d) == 0 {
				continue
			}
			p.todo &^= 1 << d
			if t.s.dirs[d]&named == 0 {
				t.next(debrisOpen, "a workspace has gone")
			} else {
				p.debris = d + 1
				t.next(debrisIsAt, "opens a workspace")
			}
		}
	case debrisIsAt:
		if t.s.dirs[p.debris-1]&named == 0 {
			t.next(debrisLeave, "the workspace has gone")
		} else {
			t.next(debrisFlock, "the workspace is there")
		}
	case debrisFlock:
		if t.s.dirFlocked(p.debris) {
			t.next(debrisLeave, "flock of the workspace: held")
		} else {
			p.flags |= debrisHeld
			t.next(debrisEmpty, "flocks the workspace")
		}
	case debrisEmpty:
		t.n.dirs[p.debris-1] &= named
		t.next(debrisIsAt2, "empties the workspace")
	case debrisIsAt2:
		if t.s.dirs[p.debris-1]&named != 0 {
			t.next(debrisRmdir, "the workspace is still there")
		} else {
			t.next(debrisLeave, "the workspace has gone")
		}
	case debrisRmdir:
		if t.s.dirs[p.debris-1] == named {
			t.n.dirs[p.debris-1] = 0
		}
		t.next(debrisLeave, "rmdir of the workspace")
	case debrisLeave:
		p.debris, p.flags = 0, p.flags&^debrisHeld
		t.next(debrisOpen, "closes the workspace")

	case bind:
		if t.workspaces > 0 {
			if *dir&named == 0 {
				t.next(unlockIsAt, "cannot bind; gives up")
				return
			}
			*dir |= hasSock
		}
		p.sock = t.n.create(socket)
		if t.lateListen {
			t.next(rename, "bind")
		} else {
			t.next(listen, "bind")
		}
	case listen:
		p.flags |= listens
		switch {
		case t.lateListen:
			t.next(published, "listen")
		case t.unlinkFirst:
			t.next(unlinkOld, "listen")
		default:
			t.next(rename, "listen")
		}
	case unlinkOld:
		t.n.sock = 0
		t.next(rename, "unlinks the old socket")
	case rename:
		if t.workspaces > 0 {
			*dir &^= hasSock
		}
		t.n.sock = p.sock
		p.flags |= owner
		switch {
		case t.lateListen:
			t.next(listen, "rename: its socket is at the path")
		case t.noLock:
			t.cleanUp("rename: its socket is at the path")
		default:
			t.next(published, "rename: its socket is at the path")
		}
	case published:
		if t.s.sock != p.sock {
			p.sock, p.flags = 0, p.flags&^(owner|listens)
			t.next(unlockIsAt, "its socket has gone; closes it")
		} else {
			t.next(unlockIsAt, "its socket is still there")
		}

	case unlockIsAt:
		switch {
		case t.noLock:
			t.cleanUp("has no lock")
		case t.earlyClose && t.s.lock == p.lock:
			p.lock, p.flags = 0, p.flags&^held
			t.next(unlockUnlink, "unlock: the lock is its own; closes it")
		case t.s.lock == p.lock || t.blindUnlock:
			t.next(unlockUnlink, "unlock: the lock is its own")
		default:
			t.next(unlockClose, "unlock: the lock is not its own")
		}
	case unlockUnlink:
		t.n.lock = 0
		if t.earlyClose {
			t.cleanUp("unlock: removes the lock's name")
		} else {
			t.next(unlockClose, "unlock: removes the lock's name")
		}
	case unlockClose:
		t.cleanUp("unlock: closes the lock")

	case wsEmpty:
		*dir &= named
		t.next(wsIsAt2, "workspace: empties it")
	case wsIsAt2:
		if *dir&named != 0 {
			t.next(wsRmdir, "workspace: is its own")
		} else {
			t.next(wsClose, "workspace: has gone")
		}
	case wsRmdir:
		*dir = 0
		t.next(wsClose, "workspace: rmdir")
	case wsClose:
		p.dir, p.flags = 0, p.flags&^dirHeld
		t.finish("workspace: close")

	case serving:
		if t.shutdown {
			p.flags |= ending
			t.next(owns, "shuts down")
		}
	case owns:
		switch {
		case t.s.sock != p.sock && !t.blindRemoval:
			t.next(closeSock, "the path is not its own")
		case t.freeRemoval:
			t.next(removeSock, "the path is its own")
		case t.workspaces > 0:
			t.next(wsMkdir, "the path is its own")
		default:
			t.tryLock("the path is its own")
		}
	case ownsAgain:
		if t.s.sock == p.sock || t.blindRemoval {
			t.next(removeSock, "under the lock: the path is its own")
		} else {
			t.next(unlockIsAt, "under the lock: the path is not its own")
		}
	case removeSock:
		t.n.sock = 0
		p.flags &^= owner
		if t.freeRemoval {
			t.next(closeSock, "unlinks the socket")
		} else {
			t.next(unlockIsAt, "unlinks the socket")
		}
	case closeSock:
		t.stop("closes its socket; ends")
	}
}
