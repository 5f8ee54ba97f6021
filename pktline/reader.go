package pktline

import (
	"fmt"
	"io"
	"sync"
)

// defaultReadBuffer is how far a Reader reads ahead. A message of up to 4 KiB,
// with its header and its flush packet, arrives in one read (and the runtime has
// memory of this size); the data of a large packet goes straight to its destination
// and never through this buffer.
const defaultReadBuffer = 4864

// readBuffers are for Readers that have something read ahead, or wait for it.
var readBuffers = sync.Pool{New: func() any { return new([defaultReadBuffer]byte) }}

// maxEmptyReads is how many reads in turn may return neither data nor an error.
const maxEmptyReads = 100

// A Reader reads packets, or whole messages, from a stream.
//
// It may read ahead, but keeps what it has read: the bytes behind a flush
// packet are the beginning of the next message. An error of the underlying
// reader is returned as it is and may pass, a timeout for instance: the next
// call goes on where the failed one stopped, with [Reader.ReadMessage] as the
// exception. A protocol error is final.
//
// The zero Reader must be given a source with [Reader.Reset].
type Reader struct {
	src  io.Reader
	buf  []byte // buf[r:w] has been read ahead
	r, w int
	lent *[defaultReadBuffer]byte // buf's memory, if it is from readBuffers
	used int                      // how much of it has been written to
	rem  int                      // data bytes of the current packet still to come
	done bool                     // Read has met the message's end
	err  error                    // a protocol error, final
}

// NewReader returns a Reader of src with a read-ahead buffer for messages of 4
// KiB. Between messages it holds none, unless it has read ahead or waits in
// [Reader.Await].
func NewReader(src io.Reader) *Reader { return &Reader{src: src} }

// NewReaderSize returns a Reader of src whose read-ahead buffer has the given
// size in bytes, 16 at least.
func NewReaderSize(src io.Reader, size int) *Reader {
	return &Reader{src: src, buf: make([]byte, max(size, 16))}
}

// Reset makes r read from src as if it were new. It keeps its buffer and
// drops what had been read ahead.
func (r *Reader) Reset(src io.Reader) {
	*r = Reader{src: src, buf: r.buf, lent: r.lent, used: r.used}
}

// Buffered returns the number of bytes that have been read ahead.
func (r *Reader) Buffered() int { return r.w - r.r }

// Await waits until at least one byte of the next packet has been read ahead,
// so that a caller can wait for a message under another deadline than the one
// for its arrival. It returns [io.EOF] if the stream ended instead.
func (r *Reader) Await() error {
	if r.err != nil {
		return r.err
	}
	if r.w > r.r {
		return nil
	}
	return r.fill()
}

// ReadPacket reads one packet. The data of a data packet is valid until the
// next call of a method of r; that of an empty data packet ("0004") is empty.
//
// It returns [io.EOF] if the stream ends before the packet's first byte,
// [io.ErrUnexpectedEOF] if it ends within the packet, and an error for which
// errors.Is(err, ErrProtocol) holds for bytes that are no packet. After a
// message has been read in part, it goes on with what remains of the current
// packet.
func (r *Reader) ReadPacket() (Kind, []byte, error) {
	r.done = false
	if r.rem == 0 {
		kind, err := r.next()
		if kind != Data || err != nil {
			return kind, nil, err
		}
	}
	for r.w-r.r < r.rem {
		if r.r == 0 && r.w == len(r.buf) {
			// Doubled, not sized by what the header states: memory
			// follows the data that has come.
			bigger := make([]byte, min(2*len(r.buf), MaxPacket))
			copy(bigger, r.buf)
			r.setBuffer(bigger, nil)
		}
		if err := r.fill(); err != nil {
			return Data, nil, unexpected(err)
		}
	}
	data := r.buf[r.r : r.r+r.rem]
	r.r += r.rem
	r.rem = 0
	return Data, data, nil
}

// ReadMessage reads the rest of the current message, up to and with its flush
// packet, appends its data to dst and returns the extended slice, which the
// caller owns. Beyond its length, dst's capacity is used as scratch space. A
// message of more than limit bytes is refused with an error for which
// errors.Is(err, ErrTooLarge) holds; a limit below 0 is none.
//
// Memory grows with the data that has arrived, at most to about double, and
// never with what a header states.
//
// It returns [io.EOF] if the stream ends before the message's first byte,
// [io.ErrUnexpectedEOF] if it ends later, and an error for which
// errors.Is(err, ErrProtocol) holds for bytes that are no packet and for a
// delim or response-end packet. With an error comes what had been read; that
// message cannot be read to its end then.
func (r *Reader) ReadMessage(dst []byte, limit int64) ([]byte, error) {
	m := message{data: dst}
	err := r.readMessage(&m, limit)
	return m.join(), err
}

func (r *Reader) readMessage(m *message, limit int64) error {
	r.done = false
	begun := r.rem > 0
	for {
		if r.rem == 0 {
			flush, err := r.nextOfMessage()
			if begun {
				err = unexpected(err)
			}
			if err != nil {
				return err
			}
			if flush {
				return nil
			}
			begun = true
		}
		if limit >= 0 && m.size+int64(r.rem) > limit {
			return fmt.Errorf("pktline: message of more than %d bytes: %w", limit, ErrTooLarge)
		}
		for r.rem > 0 {
			n, err := r.readData(m.room(r.rem))
			m.add(n)
			if err != nil {
				return unexpected(err)
			}
		}
	}
}

// Read reads data of the current message into p. It returns [io.EOF] at the
// message's flush packet, and goes on to do so until [Reader.NextMessage] is
// called or the next message is begun with another method. A stream that ends
// without a flush packet gives [io.ErrUnexpectedEOF], never io.EOF: so a
// message that was cut off cannot be taken for a whole one. Other errors are
// those of [Reader.ReadMessage].
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if r.done {
		return 0, io.EOF
	}
	for r.rem == 0 {
		flush, err := r.nextOfMessage()
		if err != nil {
			return 0, unexpected(err)
		}
		if flush {
			r.done = true
			return 0, io.EOF
		}
	}
	n, err := r.readData(p)
	return n, unexpected(err)
}

// NextMessage lets [Reader.Read] go on with the next message after it has
// returned io.EOF for the current one.
func (r *Reader) NextMessage() { r.done = false }

// copyBuffers are for WriteTo, each as large as a packet.
var copyBuffers = sync.Pool{New: func() any { return new([MaxPacket]byte) }}

// WriteTo writes the rest of the current message to w. It is what [io.Copy]
// uses. Its errors are those of [Reader.Read], io.EOF excepted, and those of w.
func (r *Reader) WriteTo(w io.Writer) (int64, error) {
	buf := copyBuffers.Get().(*[MaxPacket]byte)
	defer copyBuffers.Put(buf)
	var sum int64
	for {
		n, err := r.Read(buf[:])
		if n > 0 {
			m, werr := w.Write(buf[:n])
			sum += int64(m)
			if werr == nil && m < n {
				werr = io.ErrShortWrite
			}
			if werr != nil {
				return sum, werr
			}
		}
		if err == io.EOF {
			return sum, nil
		}
		if err != nil {
			return sum, err
		}
	}
}

// readData reads some data of the current packet, of which rem > 0 bytes are
// still to come, into p.
//
// A large packet is read straight into p. Where p has room for it, the four
// bytes behind the packet are read along: they are certainly the next header,
// so nothing beyond a flush packet is touched, and a message costs one read
// for each packet without a copy.
func (r *Reader) readData(p []byte) (int, error) {
	if r.w == r.r && min(r.rem, len(p)) < len(r.buf) {
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	if r.w > r.r {
		n := copy(p, r.buf[r.r:min(r.w, r.r+r.rem)])
		r.r += n
		r.rem -= n
		return n, nil
	}
	n, err := r.read(p[:min(len(p), r.rem+headerSize)])
	if n > r.rem {
		r.r, r.w = 0, copy(r.buf, p[r.rem:n])
		n = r.rem
	}
	r.rem -= n
	return n, err
}

// nextOfMessage reads a header inside a message and reports whether it is the
// flush packet that ends it.
func (r *Reader) nextOfMessage() (flush bool, err error) {
	kind, err := r.next()
	if err != nil {
		return false, err
	}
	if kind == Delim || kind == ResponseEnd {
		r.err = fmt.Errorf("pktline: a %v packet inside a message: %w", kind, ErrProtocol)
		return false, r.err
	}
	return kind == Flush, nil
}

// next reads a header. Behind it, rem is the size of a data packet's data.
func (r *Reader) next() (Kind, error) {
	if r.err != nil {
		return 0, r.err
	}
	for r.w-r.r < headerSize {
		if err := r.fill(); err != nil {
			if r.w > r.r {
				err = unexpected(err)
			}
			return 0, err
		}
	}
	kind, n, err := parseHeader(r.buf[r.r:r.w])
	if err != nil {
		r.err = err
		return 0, err
	}
	r.r += headerSize
	r.rem = n
	if kind == Flush {
		r.rest()
	}
	return kind, nil
}

// fill reads more bytes ahead, at least one unless it returns an error.
func (r *Reader) fill() error {
	if r.buf == nil {
		b := readBuffers.Get().(*[defaultReadBuffer]byte)
		r.setBuffer(b[:], b)
	}
	if r.r > 0 {
		copy(r.buf, r.buf[r.r:r.w])
		r.r, r.w = 0, r.w-r.r
	}
	n, err := r.read(r.buf[r.w:])
	r.w += n
	r.used = max(r.used, r.w)
	if err != nil {
		r.rest()
	}
	return err
}

// rest gives the buffer back between messages, if it is one of readBuffers and
// nothing is in it.
func (r *Reader) rest() {
	if r.lent != nil && r.rem == 0 && r.r == r.w {
		r.setBuffer(nil, nil)
		r.r, r.w = 0, 0
	}
}

// setBuffer replaces the buffer, and gives back the one that was lent, cleared:
// nobody could know how long a secret would stay there.
func (r *Reader) setBuffer(buf []byte, lent *[defaultReadBuffer]byte) {
	if r.lent != nil {
		clear(r.lent[:r.used])
		readBuffers.Put(r.lent)
	}
	r.buf, r.lent, r.used = buf, lent, 0
}

// read reads at least one byte into p or returns an error, never both.
func (r *Reader) read(p []byte) (int, error) {
	for range maxEmptyReads {
		n, err := r.src.Read(p)
		if n > 0 {
			// An error that came along will come again.
			return n, nil
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, io.ErrNoProgress
}

// unexpected turns the end of the stream into an error where more had to come.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
