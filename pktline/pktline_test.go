package pktline

import (
	"fmt"
	"strings"
	"testing"

	"example.com/simpleipc/internal/race"
)

// pkt frames data as one packet, independently of the code under test.
func pkt(data string) string { return fmt.Sprintf("%04x%s", len(data)+4, data) }

// fill returns n bytes in which every position can be told from its neighbours.
func fill(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

// wire frames a message as Git does: full packets, the rest, a flush packet.
func wire(message []byte) string {
	var b strings.Builder
	for len(message) > 0 {
		n := min(len(message), 65516)
		b.WriteString(pkt(string(message[:n])))
		message = message[n:]
	}
	b.WriteString("0000")
	return b.String()
}

func TestKindString(t *testing.T) {
	for k, want := range map[Kind]string{Data: "data", Flush: "flush", Delim: "delim", ResponseEnd: "response-end", 9: "Kind(9)"} {
		if k.String() != want {
			t.Errorf("got %q, want %q", k, want)
		}
	}
}

// TestAllocations holds the codec to no allocation per message or packet.
func TestAllocations(t *testing.T) {
	for _, n := range []int{16, 4096, 200000} {
		message := fill(n)
		stream := strings.NewReader("")
		framed := wire(message)
		r := NewReader(stream)
		body := make([]byte, 0, n+headerSize)
		if got := testing.AllocsPerRun(100, func() {
			stream.Reset(framed)
			var err error
			if body, err = r.ReadMessage(body[:0], -1); err != nil {
				t.Fatal(err)
			}
		}); got != 0 {
			t.Errorf("ReadMessage of %d bytes: %v allocations", n, got)
		}
		w := NewWriter(nullVector{})
		if got := testing.AllocsPerRun(100, func() {
			if err := w.WriteMessage(message); err != nil {
				t.Fatal(err)
			}
		}); got > 0.5 && !race.Enabled { // sync.Pool drops at random under the race detector
			t.Errorf("WriteMessage of %d bytes: %v allocations", n, got)
		}
	}
	stream := strings.NewReader("")
	framed := strings.Repeat(pkt("a line of text"), 1000) + "0000"
	r := NewReader(stream)
	if got := testing.AllocsPerRun(10, func() {
		stream.Reset(framed)
		for kind := Data; kind != Flush; {
			var err error
			if kind, _, err = r.ReadPacket(); err != nil {
				t.Fatal(err)
			}
		}
	}); got != 0 {
		t.Errorf("ReadPacket: %v allocations for 1000 packets", got)
	}
}

type nullVector struct{}

func (nullVector) Write(p []byte) (int, error) { return len(p), nil }
func (nullVector) WriteBuffers(buffers [][]byte) (n int64, err error) {
	for _, b := range buffers {
		n += int64(len(b))
	}
	return n, nil
}
