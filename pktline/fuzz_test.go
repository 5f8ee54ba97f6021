package pktline

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

// FuzzReader reads any bytes in every way and in pieces of every size. All
// must agree on what the messages are and on how the stream ends.
func FuzzReader(f *testing.F) {
	for _, seed := range []string{
		"", "0000", "0009hello0000", "00040000", "0001", "0002", "0003", "fff1", "fff0", "0009hel", "000", "zzzz",
		"0005a0005b00000006cc0000", wire(fill(3000)),
	} {
		f.Add([]byte(seed), uint64(1))
	}
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		const limit = 1 << 20
		// The reference: message by message, from the whole.
		var want [][]byte
		ref := NewReader(bytes.NewReader(in))
		var wantErr error
		for {
			var m []byte
			if m, wantErr = ref.ReadMessage(nil, limit); wantErr != nil {
				if cap(m) > 4*len(in)+2*minRead {
					t.Errorf("%d bytes made a buffer of %d", len(in), cap(m))
				}
				break
			}
			want = append(want, m)
		}
		check := func(how string, i int, m []byte, err error) (more bool) {
			if i < len(want) {
				if err != nil || !bytes.Equal(m, want[i]) {
					t.Errorf("%s: message %d is %.50q, %v; want %.50q", how, i, m, err, want[i])
				}
				return err == nil
			}
			same := errors.Is(err, wantErr) || wantErr == io.EOF && err == io.ErrUnexpectedEOF
			for _, class := range []error{ErrProtocol, ErrTooLarge} {
				same = same || errors.Is(err, class) && errors.Is(wantErr, class)
			}
			if !same {
				t.Errorf("%s: ended with %v, want %v", how, err, wantErr)
			}
			return false
		}
		sources := map[string]func() io.Reader{
			"one byte": func() io.Reader { return iotest.OneByteReader(bytes.NewReader(in)) },
			"random":   func() io.Reader { return &randomReader{bytes.NewReader(in), rand.New(rand.NewPCG(seed, 0))} },
		}
		for how, source := range sources {
			r := NewReaderSize(source(), int(seed%200))
			if seed%200 == 0 {
				r = NewReader(source())
			}
			for i := 0; ; i++ {
				m, err := r.ReadMessage(nil, limit)
				if !check("ReadMessage, "+how, i, m, err) {
					break
				}
			}
			r = NewReader(source())
			for i := 0; ; i++ {
				m, err := io.ReadAll(io.LimitReader(r, limit+1))
				if len(m) > limit {
					err = ErrTooLarge
				}
				if !check("Read, "+how, i, m, err) {
					break
				}
				r.NextMessage()
			}
			r = NewReader(source())
			var m []byte
			for i := 0; ; {
				kind, data, err := r.ReadPacket()
				if err == nil && kind == Data {
					m = append(m, data...)
					if len(m) <= limit {
						continue
					}
					err = ErrTooLarge
				}
				if err == nil && kind != Flush {
					err = ErrProtocol
				}
				if err == io.EOF && wantErr == io.ErrUnexpectedEOF {
					err = wantErr // between packets, within a message
				}
				if !check("ReadPacket, "+how, i, m, err) {
					break
				}
				i++
				m = m[:0]
			}
		}
	})
}

// FuzzRoundTrip writes any message in pieces of any size and reads it back in
// pieces of any size, and checks the bytes in between.
func FuzzRoundTrip(f *testing.F) {
	for _, n := range []uint32{0, 1, 5, maxCopied, maxCopied + 1, MaxData, MaxData + 1, 200000} {
		f.Add([]byte("0123456789abcde"), n, uint64(n))
	}
	f.Fuzz(func(t *testing.T, piece []byte, size uint32, seed uint64) {
		// Small inputs make large messages, so that the fuzzer is quick.
		var message []byte
		if len(piece) > 0 {
			n := int(size % (3 * MaxData))
			message = bytes.Repeat(piece, n/len(piece)+1)[:n]
		}
		rnd := rand.New(rand.NewPCG(seed, 1))
		want := wire(message)
		for _, dst := range []interface {
			io.ReadWriter
			String() string
		}{new(recorder), new(vectorRecorder)} {
			w := NewWriter(dst)
			for rest := message; len(rest) > 0; {
				n := 1 + rnd.IntN(len(rest))
				var err error
				switch rnd.IntN(3) {
				case 0:
					_, err = w.Write(rest[:n])
				case 1:
					_, err = w.WriteString(string(rest[:n]))
				case 2:
					_, err = w.ReadFrom(iotest.HalfReader(bytes.NewReader(rest[:n])))
				}
				if err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if err := w.WriteFlush(); err != nil || dst.String() != want {
				t.Fatalf("%T: %v; %d bytes became %.50q", dst, err, len(message), dst.String())
			}
			if err := w.WriteMessage(message); err != nil || dst.String() != want+want {
				t.Fatalf("%T: %v; WriteMessage of %d bytes", dst, err, len(message))
			}
			r := NewReader(&randomReader{dst, rnd})
			for range 2 {
				if got, err := r.ReadMessage(nil, -1); err != nil || !bytes.Equal(got, message) {
					t.Fatalf("read back %d bytes, %v; want %d", len(got), err, len(message))
				}
			}
		}
	})
}
