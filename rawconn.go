package simpleipc

import "time"

// A RawConn is a connection without the protocol: a stream of bytes in each
// direction. Only the rendezvous is this package's then: the path, and who is
// on the other side. It may be used concurrently, for reading by one goroutine
// and for writing by another.
//
// The errors of Read and Write are those of an [os.File]: errors.Is finds
// [os.ErrClosed] after Close, [os.ErrDeadlineExceeded] after a deadline.
type RawConn struct {
	sock socket
	peer Peer
}

// Peer returns who is on the other side.
func (c *RawConn) Peer() Peer { return c.peer }

// Read reads what has arrived, and waits for it if nothing has. It returns
// io.EOF when the peer has closed its side.
func (c *RawConn) Read(p []byte) (int, error) { return c.sock.Read(p) }

// Write writes all of p, and waits while the peer does not read.
func (c *RawConn) Write(p []byte) (int, error) { return c.sock.Write(p) }

// CloseWrite lets the peer read io.EOF, while what it writes can still be
// read. In the Simple IPC protocol a client must not do so. Windows' pipes
// cannot do so: errors.Is finds [errors.ErrUnsupported] in its error there.
func (c *RawConn) CloseWrite() error { return c.sock.closeWrite() }

// SetDeadline makes reading and writing fail from t on; the zero time is no
// deadline.
func (c *RawConn) SetDeadline(t time.Time) error { return c.sock.SetDeadline(t) }

// Close closes the connection. Whatever waits in Read or Write returns.
func (c *RawConn) Close() error { return c.sock.Close() }
