package pktline

import "sync"

const (
	// minRead is the room that a message gets before any of it has come.
	minRead = 8 << 10

	// maxGrown is the size up to which the memory for a message is doubled
	// when it is too small.
	maxGrown = 512 << 10
)

// A block holds a part of a large message: 8 packets, and room for the header
// behind them.
type block [8*MaxData + headerSize]byte

var blocks = sync.Pool{New: func() any { return new(block) }}

// A message is one that is being read. What is large and does not fit the
// memory that was given for it goes into blocks, which are used again, and is
// joined in the end. To double the memory on and on would clear twice as much
// of it.
type message struct {
	data []byte   // what was there before, and the beginning of the message
	more [][]byte // the rest of it, in blocks
	size int64
}

// tail returns what the next bytes are added to.
func (m *message) tail() *[]byte {
	if n := len(m.more); n > 0 {
		return &m.more[n-1]
	}
	return &m.data
}

// room returns memory for the next n bytes of the message and the header behind
// them, or for some of that: memory follows the data that has come, not what a
// header claims.
func (m *message) room(n int) []byte {
	t := m.tail()
	if cap(*t)-len(*t) < n {
		if m.size < maxGrown {
			m.data = grow(m.data, n+headerSize)
		} else {
			m.more = append(m.more, blocks.Get().(*block)[:0])
			t = m.tail()
		}
	}
	return (*t)[len(*t):cap(*t)]
}

// add notes that n bytes were read into what room has returned.
func (m *message) add(n int) {
	t := m.tail()
	*t = (*t)[:len(*t)+n]
	m.size += int64(n)
}

// join returns what was there before and the message behind it.
func (m *message) join() []byte {
	if m.more == nil {
		return m.data
	}
	n := len(m.data) + headerSize // for the next message in this memory
	for _, b := range m.more {
		n += len(b)
	}
	all := append(make([]byte, 0, n), m.data...)
	for _, b := range m.more {
		all = append(all, b...)
		blocks.Put((*block)(b[:cap(b)]))
	}
	return all
}

// grow makes room for the next n bytes of a message in dst. If that is more
// than dst already holds, it makes room for half as many as it holds at least:
// so a header cannot claim memory that no data follows.
func grow(dst []byte, n int) []byte {
	if most := max(minRead, len(dst)); n > most {
		n = most / 2
	}
	if cap(dst)-len(dst) >= n {
		return dst
	}
	bigger := make([]byte, len(dst), max(2*cap(dst), len(dst)+n))
	copy(bigger, dst)
	return bigger
}
