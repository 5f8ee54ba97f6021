package main

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"example.com/simpleipc/pktline"
)

// dissect returns the packets of a stream that comes in pieces of these sizes,
// and what remains at its end.
func dissect(stream []byte, keep int, piece func() int) (found []packet, rest string) {
	d := dissector{keep: keep, found: func(p packet) { found = append(found, p) }}
	for len(stream) > 0 {
		n := min(piece(), len(stream))
		d.pass(stream[:n])
		stream = stream[n:]
	}
	return found, d.unfinished()
}

func TestDissector(t *testing.T) {
	large := strings.Repeat("x", pktline.MaxData)
	for _, tt := range []struct {
		stream string
		want   []packet
		rest   string
	}{
		{"", nil, ""},
		{"0008ping0000", []packet{{"0008", pktline.Data, 4, []byte("ping")}, {"0000", pktline.Flush, 0, nil}}, ""},
		{"0004", []packet{{"0004", pktline.Data, 0, nil}}, ""},
		{"00010002", []packet{{"0001", pktline.Delim, 0, nil}, {"0002", pktline.ResponseEnd, 0, nil}}, ""},
		{"000AsixSIX00", []packet{{"000A", pktline.Data, 6, []byte("sixS")}}, "2 of 4 bytes into a header"},
		{"FFF0" + large + "0000", []packet{{"FFF0", pktline.Data, pktline.MaxData, []byte("xxxx")}, {"0000", pktline.Flush, 0, nil}}, ""},
		{"0009four", nil, "4 of 5 bytes into a packet"},
		{"0009", nil, "0 of 5 bytes into a packet"},
		{"000", nil, "3 of 4 bytes into a header"},
	} {
		for _, piece := range []func() int{
			func() int { return 1 },
			func() int { return 3 },
			func() int { return len(tt.stream) },
			func() int { return 1 + rand.IntN(10) },
		} {
			found, rest := dissect([]byte(tt.stream), 4, piece)
			if !reflect.DeepEqual(found, tt.want) || rest != tt.rest {
				t.Errorf("%.20q: %v, %q; want %v, %q", tt.stream, found, rest, tt.want, tt.rest)
			}
		}
	}
}

// FuzzDissector compares it with the Reader: in the end it has found the same
// packets, and behind them all bytes that are none.
func FuzzDissector(f *testing.F) {
	for _, s := range []string{"", "0008ping0000", "0003", "fff1x", "garbage", "0000+1ab", "0005x 004", "00040006xy0001zzzz0000"} {
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, stream []byte, size uint8) {
		found, rest := dissect(stream, pktline.MaxData, func() int { return 1 + int(size) })
		r := pktline.NewReader(bytes.NewReader(stream))
		left := len(stream)
		for {
			kind, data, err := r.ReadPacket()
			if err != nil {
				break
			}
			left -= headerSize + len(data)
			if len(found) == 0 || found[0].header == "" || found[0].kind != kind || found[0].size != len(data) || !bytes.Equal(found[0].data, data) {
				t.Fatalf("%q: %v instead of the %v packet %q", stream, found, kind, data)
			}
			found = found[1:]
		}
		var garbage []byte
		for _, p := range found {
			if p.header != "" || p.size != len(p.data) {
				t.Fatalf("%q: a packet %v that is none", stream, p)
			}
			garbage = append(garbage, p.data...)
		}
		if rest == "" && !bytes.Equal(garbage, stream[len(stream)-left:]) {
			t.Fatalf("%q: what is no packet is %q", stream, garbage)
		}
		if rest != "" && (len(garbage) > 0 || left == 0) {
			t.Fatalf("%q: %s, %q", stream, rest, garbage)
		}
	})
}
