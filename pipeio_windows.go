package simpleipc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// A socket is a connected pipe.
type socket struct{ *pipe }

// A pipe is one end of a connected pipe.
//
// It reads as an os.File, in the runtime's poller, so that a connection on
// which nothing happens costs no thread. It does not write as one: an os.File
// keeps a position in the file, which on Windows both reading and writing
// move, without a lock. That means nothing to a pipe, but it is a data race. So
// a pipe writes by itself, and a thread waits while the peer does not read.
type pipe struct {
	file   *os.File
	raw    syscall.RawConn
	server bool // it is the server's end

	other    Peer // the process on the other side
	otherErr error

	writing sync.Mutex // held while write is in use
	write   operation

	mu         sync.Mutex
	closed     bool
	muted      bool        // reading ends behind what has arrived
	writeUntil time.Time   // the deadline for writing, or zero
	timer      *time.Timer // ends a Write then
}

// errHungUp: the other side has closed the pipe, or ended, before it could be
// known who it is.
var errHungUp = errors.New("the other side has hung up")

// newSocket makes a socket of a connected pipe. If the other side has closed it
// by now, the error is errHungUp.
func newSocket(h windows.Handle, name string, server bool) (socket, error) {
	p := &pipe{file: os.NewFile(uintptr(h), name), server: server}
	var err error
	if p.raw, err = p.file.SyscallConn(); err != nil {
		p.file.Close()
		return socket{}, err
	}
	p.other, err = p.lookUp()
	if err != nil {
		if errors.Is(err, errNoProcess) || isGone(err) || p.hungUp() {
			p.Close()
			return socket{}, errHungUp
		}
		p.otherErr = fmt.Errorf("%w: %w", errPeerCredentials, err)
	}
	return socket{p}, nil
}

// lookUp finds out which process is on the other side.
func (p *pipe) lookUp() (Peer, error) {
	var pid uint32
	err := p.control(func(h windows.Handle) error {
		if p.server {
			return windows.GetNamedPipeClientProcessId(h, &pid)
		}
		return windows.GetNamedPipeServerProcessId(h, &pid)
	})
	if err != nil {
		return unknownPeer, fmt.Errorf("process ID: %w", err)
	}
	return peerOf(pid)
}

// peer returns the process on the other side.
func (p *pipe) peer() (Peer, error) { return p.other, p.otherErr }

// Name returns the name of the pipe.
func (p *pipe) Name() string { return p.file.Name() }

// Read reads what has arrived, and waits for it if nothing has.
func (p *pipe) Read(b []byte) (int, error) {
	for {
		n, err := p.file.Read(b)
		switch {
		case err == nil || n > 0:
			return n, nil
		case err == io.EOF && !p.hungUp():
			// The peer has written no bytes, which means nothing.
		case isGone(err):
			return 0, io.EOF
		case errors.Is(err, os.ErrDeadlineExceeded) && p.isMuted():
			return p.take(b)
		default:
			return 0, err
		}
	}
}

// take reads what has arrived, and returns io.EOF if nothing has.
func (p *pipe) take(b []byte) (n int, err error) {
	var read operation
	defer read.close()
	err = p.control(func(h windows.Handle) (err error) {
		n, err = read.run(h, b, windows.ReadFile, func() bool { return true })
		return err
	})
	if n == 0 && (err == nil || isGone(err) || errors.Is(err, windows.ERROR_OPERATION_ABORTED)) {
		err = io.EOF
	}
	return n, err
}

// Write writes b, and waits while the peer does not read.
func (p *pipe) Write(b []byte) (n int, err error) {
	p.writing.Lock()
	defer p.writing.Unlock()
	err = p.control(func(h windows.Handle) error {
		for n < len(b) {
			if err := p.writeFault(); err != nil {
				return err
			}
			const most = 1 << 30 // less than the system's own limit
			k, err := p.write.run(h, b[n:min(len(b), n+most)], windows.WriteFile, func() bool { return p.writeFault() != nil })
			n += k
			switch {
			case isGone(err):
				return syscall.EPIPE
			case err == windows.ERROR_OPERATION_ABORTED:
				if err := p.writeFault(); err != nil {
					return err
				}
				return os.ErrDeadlineExceeded // which was moved since
			case err != nil:
				return err
			}
		}
		return nil
	})
	return n, err
}

// writeFault returns why nothing can be written, whatever the peer does.
func (p *pipe) writeFault() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault()
}

// fault is writeFault, for who holds mu.
func (p *pipe) fault() error {
	switch {
	case p.closed:
		return os.ErrClosed
	case !p.writeUntil.IsZero() && !time.Now().Before(p.writeUntil):
		return os.ErrDeadlineExceeded
	}
	return nil
}

// SetDeadline sets the time from which on Read and Write fail.
func (p *pipe) SetDeadline(t time.Time) error {
	if err := p.SetReadDeadline(t); err != nil {
		return err
	}
	return p.SetWriteDeadline(t)
}

// SetReadDeadline sets the time from which on Read fails.
func (p *pipe) SetReadDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return os.ErrClosed
	case p.muted:
		return nil
	}
	return p.file.SetReadDeadline(t)
}

// SetWriteDeadline sets the time from which on Write fails.
func (p *pipe) SetWriteDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return os.ErrClosed
	}
	p.writeUntil = t
	if t.IsZero() {
		if p.timer != nil {
			p.timer.Stop()
		}
		return nil
	}
	// The timer's clock is not the one on the wall.
	left := time.Until(t)
	p.writeUntil = time.Now().Add(left)
	if p.timer == nil {
		p.timer = time.AfterFunc(left, p.endWrite)
	} else {
		p.timer.Reset(left)
	}
	return nil
}

// endWrite ends the Write that is waiting, if its deadline has passed. One that
// is about to wait looks for itself. The deadline is not moved meanwhile, for a
// Write with the next one is not to be ended.
func (p *pipe) endWrite() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fault() != nil {
		_ = p.control(func(h windows.Handle) error { return windows.CancelIoEx(h, &p.write.o) }) // unless none is
	}
}

// closeRead ends the stream of incoming bytes behind those that have arrived.
// A pipe cannot be closed for one direction, so Read takes what is there.
func (p *pipe) closeRead() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.muted {
		p.muted = true
		p.file.SetReadDeadline(longAgo)
	}
}

func (p *pipe) isMuted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.muted
}

// closeWrite is not possible for pipes.
func (p *pipe) closeWrite() error { return errors.ErrUnsupported }

// Close closes the pipe. Whatever waits in Read or Write returns. What was
// written can still be read by the peer.
func (p *pipe) Close() error {
	p.mu.Lock()
	closed := p.closed
	p.closed = true
	if p.timer != nil {
		p.timer.Stop()
	}
	p.mu.Unlock()
	if closed {
		return os.ErrClosed
	}
	if p.server {
		_ = p.control(freeInstance) // which closing may do, too
	}
	err := p.file.Close() // which ends a Write
	p.writing.Lock()
	defer p.writing.Unlock()
	p.write.close()
	return err
}

// freeInstance disconnects the client if it has read all that was written to
// it. Otherwise the instance would live as long as the client keeps its end,
// and so would the name, which the next server could not have.
func freeInstance(h windows.Handle) error {
	const filePipeLocalInformation = 24
	var info struct {
		typ, configuration, maxInstances, instances                 uint32
		inboundQuota, readable, outboundQuota, writable, state, end uint32
	}
	err := windows.NtQueryInformationFile(h, new(windows.IO_STATUS_BLOCK), (*byte)(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info)), filePipeLocalInformation)
	if err == nil && info.writable == info.outboundQuota {
		err = windows.DisconnectNamedPipe(h)
	}
	return err
}

// isGone reports whether the other side has closed the pipe.
func isGone(err error) bool {
	return errors.Is(err, windows.ERROR_BROKEN_PIPE) || errors.Is(err, windows.ERROR_NO_DATA) || errors.Is(err, windows.ERROR_PIPE_NOT_CONNECTED)
}

var peekNamedPipe = windows.NewLazySystemDLL("kernel32.dll").NewProc("PeekNamedPipe")

// hungUp reports whether nothing can come any more.
func (p *pipe) hungUp() bool {
	return nil != p.control(func(h windows.Handle) error {
		if ok, _, errno := peekNamedPipe.Call(uintptr(h), 0, 0, 0, 0, 0); ok == 0 {
			return errno
		}
		return nil
	})
}

// control calls f with the handle, which stays open meanwhile.
func (p *pipe) control(f func(windows.Handle) error) (err error) {
	if p.raw.Control(func(fd uintptr) { err = f(windows.Handle(fd)) }) != nil {
		return os.ErrClosed
	}
	return err
}

// An operation is reading or writing without the runtime's poller.
type operation struct {
	event  windows.Handle // set when it has ended
	o      windows.Overlapped
	buffer runtime.Pinner
}

// run does what start begins with b, and waits for its end. If it has to wait,
// stop decides whether to cancel it, for whoever came too early to do so.
func (op *operation) run(h windows.Handle, b []byte, start func(windows.Handle, []byte, *uint32, *windows.Overlapped) error, stop func() bool) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if op.event == 0 {
		var err error
		if op.event, err = windows.CreateEvent(nil, 1, 0, nil); err != nil {
			return 0, fmt.Errorf("event: %w", err)
		}
	}
	op.o.HEvent = op.event | 1 // the bit keeps it from the runtime's poller
	op.buffer.Pin(&b[0])
	defer op.buffer.Unpin()
	var n uint32
	err := start(h, b, &n, &op.o)
	if err == windows.ERROR_IO_PENDING {
		if stop() {
			_ = windows.CancelIoEx(h, &op.o) // unless it has just ended
		}
		err = windows.GetOverlappedResult(h, &op.o, &n, true)
	}
	return int(n), err
}

func (op *operation) close() {
	if op.event != 0 {
		windows.CloseHandle(op.event)
	}
}
