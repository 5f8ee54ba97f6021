package simpleipc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"

	"example.com/simpleipc/trace2"
)

const (
	// defaultBacklog is how many instances of a pipe wait for clients. Each
	// that a client takes is replaced when it is accepted; a client that finds
	// none must try again.
	defaultBacklog = 64

	// maxBacklog is more than anybody needs.
	maxBacklog = 1 << 10
)

// A Listener holds a path: clients that connect are queued until a [Server]
// serves it. Its methods may be called concurrently.
type Listener struct {
	path string
	sd   *windows.SECURITY_DESCRIPTOR

	inherited bool // never

	wake windows.Handle // an event: a client has connected, or accept is to end

	closing sync.Once
	waiting sync.WaitGroup // for wake

	mu      sync.Mutex
	pending []*instance // those that wait for clients
	ending  bool        // accept is to end
	closed  bool
}

// openListeners holds the Listeners that are open: the system writes to the
// memory of their instances, even if the program has forgotten them.
var openListeners sync.Map

// An instance is one end of the pipe, which waits for a client.
type instance struct {
	pipe  windows.Handle
	o     windows.Overlapped
	early bool // the client came before the waiting began
}

// Listen claims path and listens there. Clients can connect from then on, and
// wait until the listener is served: so a daemon can hold its path first and
// get ready then.
//
// Of any number of processes that call Listen for one path at the same time,
// one succeeds. The path may be any file's: it only gives the pipe its name,
// as it does in Git for Windows. It may also be the name of a pipe, which
// begins with \\.\pipe\. Only processes of this machine can connect. The name
// is free again when the process has ended, however it ended, and its clients
// have closed their connections.
//
// errors.Is finds [ErrInUse] in the error if another server is alive at the
// path, or connections to one that has ended, [ErrInvalidPath] if it cannot be
// made the name of a pipe, and the context's error if that ended the wait for
// the name.
func (lc ListenConfig) Listen(ctx context.Context, path string) (*Listener, error) {
	name, err := resolve(path)
	if err != nil {
		return nil, listenError(path, err)
	}
	ctx, region := trace2.Region(ctx, traceServer, "create-listener_socket", name)
	defer region.End()
	l, err := lc.listen(ctx, name)
	if err != nil {
		return nil, listenError(name, err)
	}
	return l, nil
}

func (lc ListenConfig) listen(ctx context.Context, name string) (l *Listener, err error) {
	l = &Listener{path: name}
	if l.sd, err = lc.descriptor(); err != nil {
		return nil, err
	}
	if l.wake, err = windows.CreateEvent(nil, 0, 0, nil); err != nil {
		return nil, fmt.Errorf("event: %w", err)
	}
	openListeners.Store(l, nil)
	backlog := lc.Backlog
	if backlog <= 0 {
		backlog = defaultBacklog
	}
	err = l.claim(ctx, lc.lockTimeout())
	for range min(backlog, maxBacklog) - 1 {
		if err == nil {
			err = l.newInstance(false)
		}
	}
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// claim makes the first instance of the pipe, which only one process can. If
// the name is taken and nobody listens, it tries again: the instances may be
// those of a server that is ending.
func (l *Listener) claim(ctx context.Context, timeout time.Duration) error {
	wait := newBackoff(ctx, timeout)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := fmt.Errorf("%w, or was and has clients that are still connected", ErrInUse)
		// A look before, for systems on which several can make the first.
		switch stateOf(waitPipe(l.path)) {
		case Listening:
			return ErrInUse
		case NotListening:
		default:
			nerr := l.newInstance(true)
			if !errors.Is(nerr, windows.ERROR_ACCESS_DENIED) && !errors.Is(nerr, windows.ERROR_PIPE_BUSY) {
				return nerr
			}
			// Another one was faster, or this user may not make such a pipe.
			if state := stateOf(waitPipe(l.path)); state != Listening && state != NotListening {
				err = nerr
			}
		}
		switch werr := wait.next(); {
		case errors.Is(werr, errWaitedLong):
			return err
		case werr != nil:
			return werr
		}
	}
}

// descriptor returns who may connect: by default the user of this process, and
// nobody else.
func (lc ListenConfig) descriptor() (*windows.SECURITY_DESCRIPTOR, error) {
	text := lc.SecurityDescriptor
	if text == "" {
		sid, err := ownSID()
		if err != nil {
			return nil, fmt.Errorf("user of this process: %w", err)
		}
		text = fmt.Sprintf("O:%[1]sD:P(A;;GA;;;%[1]s)", sid)
	}
	sd, err := windows.SecurityDescriptorFromString(text)
	if err != nil {
		return nil, fmt.Errorf("security descriptor %q: %w", text, err)
	}
	return sd, nil
}

// newInstance makes another instance of the pipe, which waits for a client.
func (l *Listener) newInstance(first bool) error {
	name, err := windows.UTF16PtrFromString(l.path)
	if err != nil {
		return err
	}
	flags := uint32(windows.PIPE_ACCESS_DUPLEX | windows.FILE_FLAG_OVERLAPPED)
	if first {
		flags |= windows.FILE_FLAG_FIRST_PIPE_INSTANCE
	}
	const mode = windows.PIPE_TYPE_BYTE | windows.PIPE_READMODE_BYTE | windows.PIPE_WAIT | windows.PIPE_REJECT_REMOTE_CLIENTS
	// So much waits on its way in each direction. With nothing, a client and a
	// server that both write would wait for each other.
	const buffer = 64 << 10
	sa := &windows.SecurityAttributes{Length: uint32(unsafe.Sizeof(windows.SecurityAttributes{})), SecurityDescriptor: l.sd}
	h, err := windows.CreateNamedPipe(name, flags, mode, windows.PIPE_UNLIMITED_INSTANCES, buffer, buffer, 0, sa)
	if err != nil {
		return fmt.Errorf("pipe: %w", err)
	}
	in := &instance{pipe: h, o: windows.Overlapped{HEvent: l.wake}}
	if err := in.connect(); err != nil {
		in.close()
		return err
	}
	l.pending = append(l.pending, in)
	return nil
}

// connect begins to wait for a client.
func (in *instance) connect() error {
	for {
		switch err := windows.ConnectNamedPipe(in.pipe, &in.o); err {
		case nil, windows.ERROR_PIPE_CONNECTED:
			in.early = true
			return nil
		case windows.ERROR_IO_PENDING:
			return nil
		case windows.ERROR_NO_DATA: // it has come and gone
			if err := windows.DisconnectNamedPipe(in.pipe); err != nil {
				return fmt.Errorf("disconnecting the pipe: %w", err)
			}
		default:
			return fmt.Errorf("connecting the pipe: %w", err)
		}
	}
}

// status returns how the waiting has ended, or STATUS_PENDING.
func (in *instance) status() windows.NTStatus {
	if in.early {
		return windows.STATUS_SUCCESS
	}
	return windows.NTStatus(atomic.LoadUintptr(&in.o.Internal))
}

// close closes the instance, and hangs up on its client.
func (in *instance) close() {
	_ = windows.DisconnectNamedPipe(in.pipe) // if it has one
	windows.CloseHandle(in.pipe)
}

// Path returns the name of the pipe.
func (l *Listener) Path() string { return l.path }

// Check returns nil: nobody can take a pipe's name away.
func (l *Listener) Check() error { return nil }

// watch says that a server need not look for its path.
func (l *Listener) watch() *watch { return &watch{interval: rareCheckInterval} }

// Close stops listening. Clients that have connected and were not accepted are
// hung up on.
func (l *Listener) Close() error {
	l.closeSocket()
	return nil
}

// closeSocket stops listening.
func (l *Listener) closeSocket() {
	l.closing.Do(func() {
		l.mu.Lock()
		l.closed = true
		_ = windows.SetEvent(l.wake)
		l.mu.Unlock()
		l.waiting.Wait()

		l.mu.Lock()
		defer l.mu.Unlock()
		for _, in := range l.pending {
			l.settle(in)
			in.close()
		}
		l.pending = nil
		windows.CloseHandle(l.wake)
		openListeners.Delete(l)
	})
}

// settle ends the waiting of an instance, so that the system does not write to
// it any more. It is called when nobody else waits for l.wake.
func (l *Listener) settle(in *instance) {
	if in.status() == windows.STATUS_PENDING {
		_ = windows.CancelIoEx(in.pipe, &in.o) // unless it is just ending
	}
	for in.status() == windows.STATUS_PENDING {
		_, _ = windows.WaitForSingleObject(l.wake, windows.INFINITE)
	}
}

// remove does nothing: the name goes with the last instance.
func (l *Listener) remove(context.Context) error { return nil }

// interrupt makes accept return os.ErrDeadlineExceeded, now and later.
func (l *Listener) interrupt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ending = true
	if !l.closed {
		_ = windows.SetEvent(l.wake)
	}
}

// accept waits for a connection. Only one goroutine at a time may call it.
func (l *Listener) accept() (RawConn, error) {
	for {
		in, err := l.next()
		if err != nil {
			return RawConn{}, err
		}
		raw, err := l.accepted(in)
		if err != errHungUp {
			return raw, err
		}
	}
}

// next waits until a client has connected to an instance.
//
// All instances set the same event. Beginning to wait with another one resets
// it, but a client whose coming is forgotten so is found by the look at all of
// them, which comes between the last of that and the waiting.
func (l *Listener) next() (*instance, error) {
	for {
		in, err := l.look()
		if in != nil || err != nil {
			return in, err
		}
		_, err = windows.WaitForSingleObject(l.wake, windows.INFINITE)
		l.waiting.Done()
		if err != nil {
			return nil, fmt.Errorf("waiting for clients: %w", err)
		}
	}
}

// look returns an instance to which a client has connected, and puts another
// one in its place. If there is none, the caller is to wait for l.wake.
func (l *Listener) look() (*instance, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return nil, os.ErrClosed
	case l.ending:
		return nil, os.ErrDeadlineExceeded
	}
	for renewed := true; renewed; {
		renewed = false
		for i, in := range l.pending {
			switch in.status() {
			case windows.STATUS_PENDING:
			case windows.STATUS_SUCCESS:
				if err := l.newInstance(false); err != nil {
					return nil, fmt.Errorf("%w: %w", errNoInstance, err) // in stays
				}
				l.pending = slices.Delete(l.pending, i, i+1)
				return in, nil
			default:
				// The thread that began to wait has ended, and its waiting with it.
				if err := in.connect(); err != nil {
					return nil, fmt.Errorf("%w: %w", errNoInstance, err)
				}
				renewed = true
			}
		}
	}
	l.waiting.Add(1)
	return nil, nil
}

// acceptQueued takes a connection that is already there; if there is none, the
// error is errNoneQueued. It is called after interrupt.
func (l *Listener) acceptQueued() (RawConn, error) {
	for {
		in := l.nextQueued()
		if in == nil {
			return RawConn{}, errNoneQueued
		}
		raw, err := l.accepted(in)
		if err != errHungUp {
			return raw, err
		}
	}
}

// isAwaited reports whether somebody waits to be accepted whom acceptQueued will
// not find when the server shuts down: nobody does.
func (l *Listener) isAwaited() bool { return false }

// nextQueued returns an instance to which a client has connected, or nil.
func (l *Listener) nextQueued() *instance {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.pending) > 0 {
		in := l.pending[0]
		l.pending = l.pending[1:]
		l.settle(in)
		if in.status() == windows.STATUS_SUCCESS {
			return in
		}
		in.close()
	}
	return nil
}

var (
	errNoneQueued = errors.New("no client is waiting")
	errNoInstance = errors.New("no other instance of the pipe can be made")
)

// accepted makes a connection of an instance that has a client.
func (l *Listener) accepted(in *instance) (RawConn, error) {
	s, err := newSocket(in.pipe, l.path, true)
	if err != nil {
		return RawConn{}, err
	}
	peer, err := s.peer()
	if err != nil {
		s.Close()
		return RawConn{}, err
	}
	return RawConn{sock: s, peer: peer}, nil
}

// isTemporary reports whether accept may succeed later.
func isTemporary(err error) bool {
	return errors.Is(err, errPeerCredentials) || errors.Is(err, errNoInstance)
}

var procWaitNamedPipe = windows.NewLazySystemDLL("kernel32.dll").NewProc("WaitNamedPipeW")

// waitPipe looks whether a client could connect to the pipe, without doing so.
func waitPipe(name string) error {
	p, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return err
	}
	const shortest = time.Millisecond // 0 would be the pipe's own default
	ok, _, errno := procWaitNamedPipe.Call(uintptr(unsafe.Pointer(p)), uintptr(shortest.Milliseconds()))
	if ok == 0 {
		return errno
	}
	return nil
}

// FileListener is not available on Windows, where no service manager passes
// pipes on: errors.Is finds [errors.ErrUnsupported] in its error.
func FileListener(f *os.File) (*Listener, error) {
	return nil, &Error{Op: "listen", Path: f.Name(), State: OtherError, Err: errors.ErrUnsupported}
}
