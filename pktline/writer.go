package pktline

import (
	"fmt"
	"io"
	"sync"
)

// BuffersWriter is a writer that can write several buffers with one call, as
// writev(2) does. A [Writer] whose destination has this method sends large
// data from where it lies; with any other, it copies it behind its header, so
// that a packet is one write.
//
// WriteBuffers writes the buffers one after the other, all of them unless it
// returns an error, and returns the number of bytes written. It may modify
// the slice of slices but not the bytes, and must keep neither.
type BuffersWriter interface {
	WriteBuffers(buffers [][]byte) (int64, error)
}

const (
	// maxCopied is the size of the largest data that is copied to be sent
	// with a single buffer: below it a copy costs less than a longer vector.
	maxCopied = 16 << 10

	// vectorPackets is how many packets go into one WriteBuffers call: 2 MiB.
	vectorPackets = 32
)

// An outbox is a Writer's memory while it has something unsent.
type outbox struct {
	// A packet, and the flush packet that may come behind it.
	buf [MaxPacket + headerSize]byte
	// What lies in buf, a header and its data for each packet, a flush.
	vector [2*vectorPackets + 2][]byte
	// The header of a packet in vector that is not full.
	header [headerSize]byte
}

var outboxes = sync.Pool{New: func() any { return new(outbox) }}

// A Writer writes packets, or whole messages, to a stream.
//
// Data and packets are collected and sent with as few writes as can be: when
// a packet's worth has come together, when a message ends, and when
// [Writer.Send] is called. A small message is one write.
//
// After an error the stream is in an unknown state: every later call returns
// the same error. A Writer holds no memory between messages. The zero Writer
// must be given a destination with [Writer.Reset].
type Writer struct {
	dst  io.Writer
	vec  BuffersWriter // dst, if it is one
	box  *outbox       // nil if nothing is unsent
	n    int           // box.buf[:n] is unsent
	open int           // where in box.buf the open packet's header is, or none
	err  error
}

const none = -1

// NewWriter returns a Writer to dst.
func NewWriter(dst io.Writer) *Writer {
	w := new(Writer)
	w.Reset(dst)
	return w
}

// Reset makes w write to dst as if it were new. What is unsent is dropped.
func (w *Writer) Reset(dst io.Writer) {
	w.release()
	*w = Writer{dst: dst, open: none}
	w.vec, _ = dst.(BuffersWriter)
}

// Buffered returns the number of bytes that are unsent, headers included.
func (w *Writer) Buffered() int { return w.n }

// Write adds p to the current message. It makes packets as large as they can
// be, whatever the sizes of the writes; it writes no packet for an empty p.
// The bytes of p are sent or copied when it returns.
func (w *Writer) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		if w.err != nil {
			return total - len(p), w.err
		}
		if w.vec != nil && w.open == none && len(p) >= MaxData {
			n := len(p) - len(p)%MaxData
			w.sendVector(p[:n], false)
			p = p[n:]
			continue
		}
		n := copy(w.room(), p)
		w.n += n
		p = p[n:]
		w.closeIfFull()
	}
	return total, w.err
}

// WriteString is Write for a string.
func (w *Writer) WriteString(s string) (int, error) {
	total := len(s)
	for len(s) > 0 && w.err == nil {
		n := copy(w.room(), s)
		w.n += n
		s = s[n:]
		w.closeIfFull()
	}
	return total - len(s), w.err
}

// ReadFrom adds all that src has, up to its io.EOF, to the current message. It
// reads straight into packets. It is what [io.Copy] uses.
func (w *Writer) ReadFrom(src io.Reader) (int64, error) {
	var sum int64
	empty := 0
	for w.err == nil {
		n, err := src.Read(w.room())
		w.n += n
		sum += int64(n)
		if n == 0 && w.n == w.open+headerSize {
			w.n, w.open = w.open, none // nothing came: no empty packet
		}
		w.closeIfFull()
		switch {
		case err == io.EOF:
			return sum, w.err
		case err != nil:
			return sum, err
		case n > 0:
			empty = 0
		default:
			if empty++; empty == maxEmptyReads {
				return sum, io.ErrNoProgress
			}
		}
	}
	return sum, w.err
}

// WritePacket adds one packet with exactly this data, 1 to [MaxData] bytes. It
// returns an error for which errors.Is(err, ErrTooLarge) holds if there is
// more, and an error for which errors.Is(err, ErrProtocol) holds if there is
// none: an empty packet ("0004") is never written, since Git takes it for the
// end of a message.
func (w *Writer) WritePacket(data []byte) error {
	if w.err != nil {
		return w.err
	}
	if len(data) == 0 {
		return fmt.Errorf("pktline: write of an empty packet: %w", ErrProtocol)
	}
	if len(data) > MaxData {
		return fmt.Errorf("pktline: write of a packet with %d bytes of data, more than %d: %w", len(data), MaxData, ErrTooLarge)
	}
	w.close()
	if w.n+headerSize+len(data) > MaxPacket {
		if err := w.Send(); err != nil {
			return err
		}
	}
	copy(w.room(), data)
	w.n += len(data)
	w.close()
	return w.err
}

// WriteFlush ends the message with a flush packet and sends all that is
// unsent.
func (w *Writer) WriteFlush() error { return w.mark(flushPacket, true) }

// WriteDelim adds a delim packet.
func (w *Writer) WriteDelim() error { return w.mark(delimPacket, false) }

// WriteResponseEnd adds a response-end packet and sends all that is unsent.
func (w *Writer) WriteResponseEnd() error { return w.mark(responseEndPacket, true) }

// WriteMessage adds p to the current message and ends it with a flush packet,
// in one write if the message is small, and without a copy if it is large and
// the destination is a [BuffersWriter].
func (w *Writer) WriteMessage(p []byte) error {
	if w.vec != nil && w.open == none && len(p) > maxCopied {
		w.sendVector(p, true)
		return w.err
	}
	if _, err := w.Write(p); err != nil {
		return err
	}
	return w.WriteFlush()
}

// Send sends all that is unsent, without ending the message: for data that
// the peer should see before more is there.
func (w *Writer) Send() error {
	w.close()
	if w.err == nil && w.n > 0 {
		var n int
		n, w.err = w.dst.Write(w.box.buf[:w.n])
		if w.err == nil && n < w.n {
			w.err = io.ErrShortWrite
		}
	}
	w.release()
	return w.err
}

// room returns the free part of the open packet's data, never empty, after it
// has opened a packet if none was open.
func (w *Writer) room() []byte {
	if w.open == none {
		if w.n+headerSize >= MaxPacket {
			_ = w.Send() // w.err has the error
		}
		w.hold()
		w.open = w.n
		w.n += headerSize
	}
	return w.box.buf[w.n:MaxPacket]
}

// closeIfFull ends the open packet if it has no room left. It is not sent yet:
// a flush packet may come to join it.
func (w *Writer) closeIfFull() {
	if w.open != none && w.n == MaxPacket {
		w.close()
	}
}

// close ends the open packet.
func (w *Writer) close() {
	if w.open != none {
		putHeader(w.box.buf[w.open:], w.n-w.open-headerSize)
		w.open = none
	}
}

// mark adds a packet that has no data.
func (w *Writer) mark(packet string, send bool) error {
	w.close()
	if w.n+len(packet) > len(w.box.buf) {
		_ = w.Send() // w.err has the error
	}
	w.hold()
	w.n += copy(w.box.buf[w.n:], packet)
	if send {
		return w.Send()
	}
	return w.err
}

var (
	fullHeaderBytes  = []byte(fullHeader)
	flushPacketBytes = []byte(flushPacket)
)

// sendVector sends what is unsent, then p in packets, then, if flush is set, a
// flush packet. No packet is open.
func (w *Writer) sendVector(p []byte, flush bool) {
	w.hold()
	defer w.release()
	defer clear(w.box.vector[:]) // do not hold the caller's data
	for more := true; more && w.err == nil; {
		v := w.box.vector[:0]
		size := w.n
		if w.n > 0 {
			v = append(v, w.box.buf[:w.n])
			w.n = 0
		}
		for range vectorPackets {
			if len(p) == 0 {
				break
			}
			data := p[:min(len(p), MaxData)]
			header := fullHeaderBytes
			if len(data) < MaxData {
				header = w.box.header[:]
				putHeader(header, len(data))
			}
			v = append(v, header, data)
			size += headerSize + len(data)
			p = p[len(data):]
		}
		more = len(p) > 0
		if flush && !more {
			v = append(v, flushPacketBytes)
			size += headerSize
		}
		var n int64
		n, w.err = w.vec.WriteBuffers(v)
		if w.err == nil && n < int64(size) {
			w.err = io.ErrShortWrite
		}
	}
}

// hold gets memory from outboxes, if w has none.
func (w *Writer) hold() {
	if w.box == nil {
		w.box = outboxes.Get().(*outbox)
	}
}

// release drops what is unsent and gives its memory back.
func (w *Writer) release() {
	w.n, w.open = 0, none
	if w.box != nil {
		outboxes.Put(w.box)
		w.box = nil
	}
}
