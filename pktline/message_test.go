package pktline

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// TestLargeMessages reads messages of sizes at which memory for them changes,
// in packets of several sizes, behind what is in dst already.
func TestLargeMessages(t *testing.T) {
	perBlock := len(block{}) - headerSize
	for _, n := range []int{maxGrown - 1, maxGrown, maxGrown + 1, maxGrown + MaxData, 2 * maxGrown, maxGrown + perBlock, 4*perBlock + 1} {
		want := fill(n)
		for _, packet := range []int{MaxData, 50000, 999} {
			var stream strings.Builder
			for rest := want; len(rest) > 0; {
				k := min(packet, len(rest))
				stream.WriteString(pkt(string(rest[:k])))
				rest = rest[k:]
			}
			stream.WriteString(flushPacket)
			for _, dst := range [][]byte{nil, []byte("before"), append(make([]byte, 0, n+6), "before"...), append(make([]byte, 0, n/2), "before"...)} {
				r := NewReader(strings.NewReader(stream.String()))
				got, err := r.ReadMessage(dst, int64(n))
				if err != nil || !bytes.HasPrefix(got, dst) || !bytes.Equal(got[len(dst):], want) {
					t.Errorf("%d bytes in packets of %d behind %d of %d: got %d, %v", n, packet, len(dst), cap(dst), len(got), err)
				}
				if len(dst)+n <= cap(dst) && len(dst) > 0 && &got[0] != &dst[0] {
					t.Errorf("%d bytes in packets of %d: not read into the memory that was given", n, packet)
				}

				r.Reset(strings.NewReader(stream.String()))
				if _, err := r.ReadMessage(dst, int64(n-1)); !errors.Is(err, ErrTooLarge) {
					t.Errorf("%d bytes with a limit of one less: %v", n, err)
				}
				cut := stream.String()[:stream.Len()-headerSize-1]
				r.Reset(strings.NewReader(cut))
				got, err = r.ReadMessage(dst, -1)
				if err != io.ErrUnexpectedEOF || !bytes.Equal(got[len(dst):], want[:n-1]) {
					t.Errorf("%d bytes, the last one missing: got %d, %v", n, len(got)-len(dst), err)
				}
			}
		}
	}
}

// TestLargeMessageAgain reads a large message into the memory of the one
// before, which has room for it.
func TestLargeMessageAgain(t *testing.T) {
	const n = 3 << 20
	framed := wire(fill(n))
	stream := strings.NewReader("")
	r := NewReader(stream)
	var body []byte
	read := func() {
		stream.Reset(framed)
		var err error
		if body, err = r.ReadMessage(body[:0], -1); err != nil || len(body) != n {
			t.Fatalf("%d bytes, %v", len(body), err)
		}
	}
	read()
	if got := testing.AllocsPerRun(10, read); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

// A Reader holds no buffer between messages, however they are read, and leaves
// nothing of them in it.
func TestReaderRests(t *testing.T) {
	for name, read := range map[string]func(*Reader) error{
		"Read":        func(r *Reader) error { _, err := io.ReadAll(r); return err },
		"WriteTo":     func(r *Reader) error { _, err := r.WriteTo(io.Discard); return err },
		"ReadMessage": func(r *Reader) error { _, err := r.ReadMessage(nil, -1); return err },
		"ReadPacket": func(r *Reader) error {
			_, _, err := r.ReadPacket()
			_, _, err2 := r.ReadPacket()
			return errors.Join(err, err2)
		},
	} {
		r := NewReader(strings.NewReader("0006hi0000"))
		if err := r.Await(); err != nil {
			t.Fatal(err)
		}
		buffer := r.lent
		if err := read(r); err != nil || r.lent != nil {
			t.Errorf("%s: %v; it holds a buffer: %t", name, err, r.lent != nil)
		}
		if bytes.Contains(buffer[:], []byte("hi")) {
			t.Errorf("%s: the message is still in the buffer", name)
		}
	}
}
