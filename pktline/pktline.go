// Package pktline reads and writes pkt-lines, the frames of Git's protocols.
//
// A pkt-line is four hexadecimal digits that give its length, themselves
// included, and then the data: "0009hello" carries "hello". Three lengths
// below four are marks without data: a flush packet "0000" ends a message, a
// delim packet "0001" separates its parts, a response-end packet "0002" ends a
// response that holds several messages. Git documents the format in
// gitprotocol-common(5) and gitprotocol-v2(5).
//
// There are two ways to use the package, and they may be mixed on one stream:
//
//   - by message: [Reader.ReadMessage] and [Writer.WriteMessage] for a message
//     in memory, [Reader.Read] and [Writer.Write] for one that is streamed.
//     Where a packet ends has no meaning then. This is how Simple IPC works.
//   - by packet: [Reader.ReadPacket] and [Writer.WritePacket], for protocols
//     in which each packet means something, such as Git's filter drivers.
//
// Data is opaque: no newline is trimmed or added, and a packet that begins
// with "ERR " is a packet like any other.
//
// A Reader and a Writer hold no buffer larger than one packet, allocate
// nothing per packet, and are each for one goroutine at a time; a Reader and a
// Writer of the same connection may work at once.
package pktline

import (
	"errors"
	"fmt"
)

const (
	headerSize = 4

	// MaxPacket is the size in bytes of the largest packet, its header
	// included. A header that states more ("fff1" and above) is an error.
	MaxPacket = 65520

	// MaxData is the number of data bytes that the largest packet carries.
	MaxData = MaxPacket - headerSize
)

// ErrProtocol is what errors.Is finds in an error about bytes that are no
// pkt-line, or about a packet that is not legal where it stands. The stream
// cannot be read any further.
var ErrProtocol = errors.New("pkt-line protocol error")

// ErrTooLarge is what errors.Is finds in the error of [Reader.ReadMessage]
// when the message is larger than its limit, and in the error of
// [Writer.WritePacket] when the data does not fit one packet.
var ErrTooLarge = errors.New("too large")

// Kind tells data packets from the packets that are marks.
type Kind uint8

// The kinds of packets.
const (
	Data        Kind = iota // carries data
	Flush                   // "0000", the end of a message
	Delim                   // "0001", between the parts of a message
	ResponseEnd             // "0002", the end of a response
)

// String returns the name that Git's documentation uses.
func (k Kind) String() string {
	switch k {
	case Data:
		return "data"
	case Flush:
		return "flush"
	case Delim:
		return "delim"
	case ResponseEnd:
		return "response-end"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

const (
	flushPacket       = "0000"
	delimPacket       = "0001"
	responseEndPacket = "0002"
	fullHeader        = "fff0"
)

// putHeader writes the header of a packet with n bytes of data.
func putHeader(b []byte, n int) {
	const hex = "0123456789abcdef"
	n += headerSize
	_ = b[3]
	b[0] = hex[n>>12&15]
	b[1] = hex[n>>8&15]
	b[2] = hex[n>>4&15]
	b[3] = hex[n&15]
}

// parseHeader returns the kind of the packet with header b and, if it is a
// data packet, the number of its data bytes.
func parseHeader(b []byte) (Kind, int, error) {
	n := 0
	for _, c := range b[:headerSize] {
		n <<= 4
		switch {
		case '0' <= c && c <= '9':
			n |= int(c - '0')
		case 'a' <= c && c <= 'f':
			n |= int(c-'a') + 10
		case 'A' <= c && c <= 'F':
			n |= int(c-'A') + 10
		default:
			return 0, 0, protocolError(b, "is no packet length")
		}
	}
	switch {
	case n == 0:
		return Flush, 0, nil
	case n == 1:
		return Delim, 0, nil
	case n == 2:
		return ResponseEnd, 0, nil
	case n < headerSize:
		return 0, 0, protocolError(b, "is not a legal packet length")
	case n > MaxPacket:
		return 0, 0, protocolError(b, "exceeds the largest packet, fff0")
	}
	return Data, n - headerSize, nil
}

func protocolError(header []byte, what string) error {
	return fmt.Errorf("pktline: header %q %s: %w", header[:headerSize], what, ErrProtocol)
}
