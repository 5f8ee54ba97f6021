package main

import (
	"fmt"
	"strconv"

	"example.com/simpleipc/pktline"
)

// A dissector finds the packets in bytes that pass. It is no reader: it does not
// hold them up, and it goes on behind what is no packet.
type dissector struct {
	keep  int          // how many data bytes of a packet are kept
	found func(packet) // called when the last byte of a packet has passed

	header []byte // as much of it as has passed
	size   int    // how many data bytes the packet has
	passed int    // how many of them have passed
	data   []byte // the first of those
	lost   bool   // what comes is no packet
}

// A packet is one that has passed, or a piece of what is none.
type packet struct {
	header string // empty if it is none
	kind   pktline.Kind
	size   int // of its data
	data   []byte
}

// headerSize is the size of a packet's header.
const headerSize = pktline.MaxPacket - pktline.MaxData

// pass takes the next bytes.
func (d *dissector) pass(p []byte) {
	for len(p) > 0 {
		switch {
		case d.lost:
			d.size = len(p)
			p = p[d.take(p):]
			d.end(pktline.Data)
		case len(d.header) < headerSize:
			n := min(headerSize-len(d.header), len(p))
			d.header = append(d.header, p[:n]...)
			p = p[n:]
			if len(d.header) == headerSize && !d.begin() {
				p = append(d.header, p...)
				d.header, d.lost = nil, true
			}
		default:
			if p = p[d.take(p):]; d.passed == d.size {
				d.end(pktline.Data)
			}
		}
	}
}

// take takes data bytes of the current packet, and returns how many.
func (d *dissector) take(p []byte) int {
	n := min(len(p), d.size-d.passed)
	d.passed += n
	d.data = append(d.data, p[:min(n, d.keep-len(d.data))]...)
	return n
}

// begin looks at the header, and reports whether it is one.
func (d *dissector) begin() bool {
	n, err := strconv.ParseUint(string(d.header), 16, 16)
	switch {
	case err != nil || n > pktline.MaxPacket || n == 3:
		return false
	case n > headerSize:
		d.size = int(n) - headerSize
	case n == headerSize:
		d.end(pktline.Data)
	default:
		d.end([...]pktline.Kind{pktline.Flush, pktline.Delim, pktline.ResponseEnd}[n])
	}
	return true
}

// end tells of the packet and makes ready for the next.
func (d *dissector) end(k pktline.Kind) {
	d.found(packet{string(d.header), k, d.size, d.data})
	d.header, d.size, d.passed, d.data = d.header[:0], 0, 0, nil
}

// unfinished says how far into a packet the bytes are that have passed; it is
// empty if they end with one.
func (d *dissector) unfinished() string {
	switch {
	case len(d.header) == 0:
		return ""
	case len(d.header) < headerSize:
		return fmt.Sprintf("%d of %d bytes into a header", len(d.header), headerSize)
	}
	return fmt.Sprintf("%d of %d bytes into a packet", d.passed, d.size)
}
