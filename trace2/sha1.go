package trace2

import (
	"encoding/binary"
	"math/bits"
)

// sha1Sum is SHA-1, by which Git names hosts, so that ours get the same names.
// Package crypto/sha1 would have each program that uses trace2 initialize all
// of Go's cryptography when it starts, and refuses to work in FIPS 140-only
// mode. Nothing here is a secret.
func sha1Sum(s string) (sum [20]byte) {
	message := append([]byte(s), 0x80)
	for len(message)%64 != 56 {
		message = append(message, 0)
	}
	message = binary.BigEndian.AppendUint64(message, uint64(len(s))*8)

	h := [5]uint32{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0}
	for ; len(message) > 0; message = message[64:] {
		var w [80]uint32
		for i := range w {
			if i < 16 {
				w[i] = binary.BigEndian.Uint32(message[4*i:])
			} else {
				w[i] = bits.RotateLeft32(w[i-3]^w[i-8]^w[i-14]^w[i-16], 1)
			}
		}
		a, b, c, d, e := h[0], h[1], h[2], h[3], h[4]
		for i, word := range w {
			var f, k uint32
			switch i / 20 {
			case 0:
				f, k = b&c|^b&d, 0x5a827999
			case 1:
				f, k = b^c^d, 0x6ed9eba1
			case 2:
				f, k = b&c|b&d|c&d, 0x8f1bbcdc
			case 3:
				f, k = b^c^d, 0xca62c1d6
			}
			a, b, c, d, e = bits.RotateLeft32(a, 5)+f+e+k+word, a, bits.RotateLeft32(b, 30), c, d
		}
		h[0] += a
		h[1] += b
		h[2] += c
		h[3] += d
		h[4] += e
	}
	for i, word := range h {
		binary.BigEndian.PutUint32(sum[4*i:], word)
	}
	return sum
}
