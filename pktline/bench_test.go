package pktline

import (
	"fmt"
	"strings"
	"testing"
)

var benchSizes = []int{16, 4 << 10, 10 << 20}

// BenchmarkReadMessage reads messages into memory that is used again, and into
// new memory.
func BenchmarkReadMessage(b *testing.B) {
	for _, n := range benchSizes {
		framed := wire(fill(n))
		for _, again := range []bool{true, false} {
			b.Run(fmt.Sprintf("size=%d/again=%t", n, again), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(n))
				stream := strings.NewReader("")
				r := NewReader(stream)
				var body []byte
				for b.Loop() {
					stream.Reset(framed)
					if !again {
						body = nil
					}
					var err error
					if body, err = r.ReadMessage(body[:0], -1); err != nil || len(body) != n {
						b.Fatalf("%d bytes, %v", len(body), err)
					}
				}
			})
		}
	}
}

func BenchmarkWriteMessage(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("size=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(n))
			message := fill(n)
			w := NewWriter(nullVector{})
			for b.Loop() {
				if err := w.WriteMessage(message); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
