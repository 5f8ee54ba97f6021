package pktline

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

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

// A recorder notes every write. It writes vectors only as a vectorRecorder.
type recorder struct {
	bytes.Buffer
	writes []int
	failAt int // the write that fails, counted from 1
}

var errRecorder = errors.New("recorder is full")

func (r *recorder) Write(p []byte) (int, error) {
	r.writes = append(r.writes, len(p))
	if len(r.writes) == r.failAt {
		return 0, errRecorder
	}
	return r.Buffer.Write(p)
}

type vectorRecorder struct{ recorder }

func (r *vectorRecorder) WriteBuffers(buffers [][]byte) (int64, error) {
	n, err := r.Write(bytes.Join(buffers, nil))
	return int64(n), err
}

// chunkings are ways in which a stream may hand out its bytes.
var chunkings = map[string]func(io.Reader) io.Reader{
	"whole":     func(r io.Reader) io.Reader { return r },
	"one byte":  iotest.OneByteReader,
	"half":      iotest.HalfReader,
	"with EOF":  iotest.DataErrReader,
	"random":    func(r io.Reader) io.Reader { return &randomReader{r, rand.New(rand.NewPCG(1, 2))} },
	"unhurried": func(r io.Reader) io.Reader { return &emptyReads{r: r} },
}

type randomReader struct {
	r   io.Reader
	rnd *rand.Rand
}

func (r *randomReader) Read(p []byte) (int, error) {
	return r.r.Read(p[:min(len(p), 1+r.rnd.IntN(70000))])
}

// emptyReads returns no data and no error now and then, as io.Reader allows.
type emptyReads struct {
	r io.Reader
	n int
}

func (r *emptyReads) Read(p []byte) (int, error) {
	if r.n++; r.n%3 != 0 {
		return 0, nil
	}
	return r.r.Read(p)
}

func eachChunking(t *testing.T, stream string, f func(t *testing.T, r *Reader)) {
	t.Helper()
	for name, chunked := range chunkings {
		t.Run(name, func(t *testing.T) { f(t, NewReader(chunked(strings.NewReader(stream)))) })
	}
}

func TestReadPacket(t *testing.T) {
	big := string(fill(MaxData))
	type packet struct {
		kind Kind
		data string
	}
	stream := "0009hello" + "000Ahello\n" + "0001" + "0005\x00" + "0002" + "0004" + "000dERR oops\n" +
		"fff0" + big + "FFF0" + big + "0000" + "0000"
	want := []packet{
		{Data, "hello"}, {Data, "hello\n"}, {Delim, ""}, {Data, "\x00"}, {ResponseEnd, ""}, {Data, ""},
		{Data, "ERR oops\n"}, {Data, big}, {Data, big}, {Flush, ""}, {Flush, ""},
	}
	eachChunking(t, stream, func(t *testing.T, r *Reader) {
		for i, p := range want {
			kind, data, err := r.ReadPacket()
			if err != nil || kind != p.kind || string(data) != p.data {
				t.Fatalf("packet %d: got %v, %d bytes, %v; want %v, %d bytes", i, kind, len(data), err, p.kind, len(p.data))
			}
		}
		if _, _, err := r.ReadPacket(); err != io.EOF {
			t.Errorf("at the end: got %v, want io.EOF", err)
		}
	})
}

func TestReadMessages(t *testing.T) {
	messages := [][]byte{
		nil, []byte("ping"), {}, fill(1), fill(4091), fill(4092), fill(4093), fill(65515), fill(65516), fill(65517),
		fill(200000), []byte("after"),
	}
	var stream strings.Builder
	for _, m := range messages {
		stream.WriteString(wire(m))
	}
	eachChunking(t, stream.String(), func(t *testing.T, r *Reader) {
		for i, want := range messages {
			got, err := r.ReadMessage([]byte("kept"), -1)
			if err != nil || string(got) != "kept"+string(want) {
				t.Fatalf("message %d: got %d bytes, %v; want %d", i, len(got)-4, err, len(want))
			}
		}
		if _, err := r.ReadMessage(nil, -1); err != io.EOF {
			t.Errorf("at the end: got %v, want io.EOF", err)
		}
	})
	eachChunking(t, stream.String(), func(t *testing.T, r *Reader) {
		for i, want := range messages {
			got, err := io.ReadAll(struct{ io.Reader }{r}) // without WriteTo
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("message %d: got %d bytes, %v; want %d", i, len(got), err, len(want))
			}
			if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Fatalf("message %d: after its end: %d, %v", i, n, err)
			}
			r.NextMessage()
		}
		if _, err := r.Read(make([]byte, 1)); err != io.ErrUnexpectedEOF {
			t.Errorf("at the end: got %v, want io.ErrUnexpectedEOF", err)
		}
	})
	eachChunking(t, stream.String(), func(t *testing.T, r *Reader) {
		for i, want := range messages {
			var got bytes.Buffer
			if n, err := r.WriteTo(&got); err != nil || n != int64(len(want)) || !bytes.Equal(got.Bytes(), want) {
				t.Fatalf("message %d: got %d bytes, %v; want %d", i, n, err, len(want))
			}
			r.NextMessage()
		}
	})
}

// TestReadMessageRest mixes the ways to read one message.
func TestReadMessageRest(t *testing.T) {
	want := fill(100000)
	eachChunking(t, wire(want)+wire([]byte("next")), func(t *testing.T, r *Reader) {
		head := make([]byte, 10)
		if _, err := io.ReadFull(r, head); err != nil {
			t.Fatal(err)
		}
		kind, rest, err := r.ReadPacket()
		if kind != Data || err != nil || len(rest) != MaxData-10 {
			t.Fatalf("the packet's rest: %v, %d bytes, %v", kind, len(rest), err)
		}
		got := append(head, rest...)
		if got, err = r.ReadMessage(got, -1); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("got %d bytes, %v", len(got), err)
		}
		if got, err := r.ReadMessage(nil, -1); err != nil || string(got) != "next" {
			t.Errorf("next message: %q, %v", got, err)
		}
	})
}

// TestReadsNotPastFlush reads from a stream that must not be asked for more
// than one message, because no more will come until that one is answered.
func TestReadsNotPastFlush(t *testing.T) {
	for _, n := range []int{0, 1, 4088, 4096, 65516, 65517, 200000} {
		stream := io.MultiReader(strings.NewReader(wire(fill(n))), iotest.ErrReader(errors.New("read past the flush packet")))
		if got, err := NewReader(stream).ReadMessage(nil, -1); err != nil || len(got) != n {
			t.Errorf("%d bytes: got %d, %v", n, len(got), err)
		}
	}
}

func TestReadErrors(t *testing.T) {
	for _, tt := range []struct {
		name, stream string
		packet       error // of ReadPacket, after the packets that are whole
		message      error // of ReadMessage and, but for io.EOF, of Read
	}{
		{"nothing", "", io.EOF, io.EOF},
		{"half a header", "00", io.ErrUnexpectedEOF, io.ErrUnexpectedEOF},
		{"no data", "0009", io.ErrUnexpectedEOF, io.ErrUnexpectedEOF},
		{"half the data", "0009hel", io.ErrUnexpectedEOF, io.ErrUnexpectedEOF},
		{"half the data of a large packet", "fff0" + strings.Repeat("x", 40000), io.ErrUnexpectedEOF, io.ErrUnexpectedEOF},
		{"no flush", "0009hello", io.EOF, io.ErrUnexpectedEOF},
		{"no flush after an empty packet", "0004", io.EOF, io.ErrUnexpectedEOF},
		{"half a flush", "0009hello000", io.ErrUnexpectedEOF, io.ErrUnexpectedEOF},
		{"0003", "0003", ErrProtocol, ErrProtocol},
		{"too long", "fff1", ErrProtocol, ErrProtocol},
		{"far too long", "FFFF", ErrProtocol, ErrProtocol},
		{"no digits", "ping", ErrProtocol, ErrProtocol},
		{"sign", "+009hello", ErrProtocol, ErrProtocol},
		{"space", " 009hello", ErrProtocol, ErrProtocol},
		{"0x", "0x09hello", ErrProtocol, ErrProtocol},
		{"below 0", "/009", ErrProtocol, ErrProtocol},
		{"above 9", ":009", ErrProtocol, ErrProtocol},
		{"above f", "g009", ErrProtocol, ErrProtocol},
		{"no digits after data", "0009helloHTTP", ErrProtocol, ErrProtocol},
		{"delim", "0009hello0001", io.EOF, ErrProtocol},
		{"response-end", "0002", io.EOF, ErrProtocol},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachChunking(t, tt.stream, func(t *testing.T, r *Reader) {
				var err error
				for err == nil {
					_, _, err = r.ReadPacket()
				}
				if !errors.Is(err, tt.packet) {
					t.Errorf("ReadPacket: got %v, want %v", err, tt.packet)
				}
			})
			eachChunking(t, tt.stream, func(t *testing.T, r *Reader) {
				_, err := r.ReadMessage(nil, -1)
				if !errors.Is(err, tt.message) {
					t.Errorf("ReadMessage: got %v, want %v", err, tt.message)
				}
				if _, again := r.ReadMessage(nil, -1); errors.Is(err, ErrProtocol) && again != err {
					t.Errorf("ReadMessage after a protocol error: %v", again)
				}
			})
			eachChunking(t, tt.stream, func(t *testing.T, r *Reader) {
				want := tt.message
				if want == io.EOF {
					want = io.ErrUnexpectedEOF
				}
				if _, err := io.Copy(io.Discard, r); !errors.Is(err, want) {
					t.Errorf("Read: got %v, want %v", err, want)
				}
			})
		})
	}
}

func TestReadMessageLimit(t *testing.T) {
	for _, tt := range []struct {
		size  int
		limit int64
		ok    bool
	}{
		{0, 0, true}, {1, 0, false}, {10, 10, true}, {11, 10, false},
		{65516, 65516, true}, {65517, 65516, false}, {200000, 200000, true}, {200001, 200000, false},
	} {
		got, err := NewReader(strings.NewReader(wire(fill(tt.size)))).ReadMessage(nil, tt.limit)
		if tt.ok && (err != nil || len(got) != tt.size) || !tt.ok && !errors.Is(err, ErrTooLarge) {
			t.Errorf("%d bytes, limit %d: %v", tt.size, tt.limit, err)
		}
	}
}

// TestMemoryFollowsData sends headers that claim much, and little data.
func TestMemoryFollowsData(t *testing.T) {
	for _, n := range []int{0, 100, 5000, 30000} {
		stream := "fff0" + strings.Repeat("x", n)
		got, err := NewReader(strings.NewReader(stream)).ReadMessage(nil, -1)
		if err != io.ErrUnexpectedEOF || len(got) != n || cap(got) > max(minRead, 4*n) {
			t.Errorf("ReadMessage, %d bytes: %v, len %d, cap %d", n, err, len(got), cap(got))
		}
		r := NewReaderSize(strings.NewReader(stream), 0)
		if _, _, err := r.ReadPacket(); err != io.ErrUnexpectedEOF || len(r.buf) > max(64, 4*n) {
			t.Errorf("ReadPacket, %d bytes: %v, buffer %d", n, err, len(r.buf))
		}
	}
}

// TestReadGoesOn meets an error that passes, as a timeout does.
func TestReadGoesOn(t *testing.T) {
	for cut := 1; cut < len("0009hello0000"); cut++ {
		stream := "0009hello0000"
		r := NewReader(io.MultiReader(
			strings.NewReader(stream[:cut]),
			iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader(stream[cut:]+"0000")))))
		var got []byte
		timeouts := 0
		for {
			p := make([]byte, 10)
			n, err := r.Read(p)
			got = append(got, p[:n]...)
			if err == iotest.ErrTimeout {
				timeouts++
				continue
			}
			if err != nil && err != io.EOF {
				t.Fatal(err)
			}
			if err == io.EOF {
				break
			}
		}
		if string(got) != "hello" || timeouts > 1 {
			t.Errorf("cut at %d: %q, %d timeouts", cut, got, timeouts)
		}
	}
}

func TestAwait(t *testing.T) {
	r := NewReader(strings.NewReader(wire([]byte("a")) + wire([]byte("b"))))
	for _, want := range []string{"a", "b"} {
		if err := r.Await(); err != nil || r.Buffered() == 0 {
			t.Fatalf("Await: %v, %d bytes", err, r.Buffered())
		}
		if got, err := r.ReadMessage(nil, -1); err != nil || string(got) != want {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	if err := r.Await(); err != io.EOF {
		t.Errorf("Await at the end: %v", err)
	}
	r.Reset(strings.NewReader("zzzz"))
	if _, _, err := r.ReadPacket(); !errors.Is(err, ErrProtocol) {
		t.Fatal(err)
	}
	if err := r.Await(); !errors.Is(err, ErrProtocol) {
		t.Errorf("Await after a protocol error: %v", err)
	}
}

func TestNoProgress(t *testing.T) {
	never := readerFunc(func([]byte) (int, error) { return 0, nil })
	if _, err := NewReader(never).ReadMessage(nil, -1); err != io.ErrNoProgress {
		t.Errorf("Reader: %v", err)
	}
	if _, err := NewWriter(io.Discard).ReadFrom(never); err != io.ErrNoProgress {
		t.Errorf("Writer: %v", err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// sizes are around the places where a message changes its shape.
var sizes = []int{0, 1, 16, 4096, maxCopied - 1, maxCopied, maxCopied + 1, 65515, 65516, 65517, 131032, 131033, 200000,
	vectorPackets * MaxData, vectorPackets*MaxData + 1, 3*vectorPackets*MaxData - 7}

func TestWriteMessage(t *testing.T) {
	for _, n := range sizes {
		message := fill(n)
		want := wire(message)
		var plain recorder
		if err := NewWriter(&plain).WriteMessage(message); err != nil || plain.String() != want {
			t.Errorf("%d bytes: %v, wrong bytes", n, err)
		}
		if most := max(1, (n+MaxData-1)/MaxData); len(plain.writes) != most {
			t.Errorf("%d bytes: %d writes, want %d", n, len(plain.writes), most)
		}
		var vector vectorRecorder
		if err := NewWriter(&vector).WriteMessage(message); err != nil || vector.String() != want {
			t.Errorf("%d bytes, vector: %v, wrong bytes", n, err)
		}
		if most := max(1, (n+vectorPackets*MaxData-1)/(vectorPackets*MaxData)); len(vector.writes) != most {
			t.Errorf("%d bytes, vector: %d writes, want %d", n, len(vector.writes), most)
		}
	}
}

// TestWriteStream writes a message in pieces of every kind.
func TestWriteStream(t *testing.T) {
	for _, n := range sizes {
		message := fill(n)
		want := wire(message)
		for _, piece := range []int{1, 1000, 65515, 65516, 65517, 100000, 5 << 20} {
			if n > 1<<20 && piece == 1 {
				continue
			}
			for _, dst := range []interface {
				io.Writer
				fmt.Stringer
			}{new(recorder), new(vectorRecorder)} {
				w := NewWriter(dst)
				for rest := message; len(rest) > 0; {
					p := rest[:min(piece, len(rest))]
					rest = rest[len(p):]
					if k, err := w.Write(p); k != len(p) || err != nil {
						t.Fatalf("Write: %d, %v", k, err)
					}
				}
				if err := w.WriteFlush(); err != nil || dst.String() != want {
					t.Errorf("%d bytes in pieces of %d, %T: %v, wrong bytes", n, piece, dst, err)
				}
				if w.box != nil || w.Buffered() != 0 {
					t.Errorf("the Writer holds memory after a message")
				}
			}
		}
		for name, chunked := range chunkings {
			if n > 1<<20 && name != "whole" {
				continue
			}
			var dst vectorRecorder
			w := NewWriter(&dst)
			if k, err := io.Copy(w, chunked(bytes.NewReader(message))); k != int64(n) || err != nil {
				t.Fatalf("ReadFrom: %d, %v", k, err)
			}
			if err := w.WriteFlush(); err != nil || dst.String() != want {
				t.Errorf("%d bytes from a reader, %s: %v, wrong bytes", n, name, err)
			}
		}
		var dst recorder
		w := NewWriter(&dst)
		if k, err := w.WriteString(string(message)); k != n || err != nil {
			t.Fatalf("WriteString: %d, %v", k, err)
		}
		if err := w.WriteFlush(); err != nil || dst.String() != want {
			t.Errorf("%d bytes from a string: %v, wrong bytes", n, err)
		}
	}
}

func TestSend(t *testing.T) {
	var dst recorder
	w := NewWriter(&dst)
	w.WriteString("he")
	w.WriteString("llo")
	if err := w.Send(); err != nil || dst.String() != "0009hello" {
		t.Fatalf("%v, %q", err, dst.String())
	}
	if err := w.Send(); err != nil || len(dst.writes) != 1 {
		t.Errorf("Send of nothing: %v, %v", err, dst.writes)
	}
	w.WriteString("!")
	if err := w.WriteFlush(); err != nil || dst.String() != "0009hello0005!0000" || len(dst.writes) != 2 {
		t.Errorf("%v, %q, writes %v", err, dst.String(), dst.writes)
	}
}

func TestWritePacket(t *testing.T) {
	var dst recorder
	w := NewWriter(&dst)
	full := string(fill(MaxData))
	steps := []struct {
		do   func() error
		wire string
	}{
		{func() error { return w.WritePacket([]byte("version=2\n")) }, pkt("version=2\n")},
		{w.WriteDelim, "0001"},
		{func() error { _, err := w.WriteString("loose"); return err }, pkt("loose")},
		{func() error { return w.WritePacket([]byte("tight")) }, pkt("tight")},
		{w.WriteFlush, "0000"},
		{func() error { return w.WritePacket([]byte(full)) }, pkt(full)},
		{w.WriteDelim, "0001"},
		{w.WriteDelim, "0001"},
		{func() error { return w.WritePacket([]byte(full[1:])) }, pkt(full[1:])},
		{func() error { return w.WritePacket([]byte("x")) }, pkt("x")},
		{w.WriteResponseEnd, "0002"},
		{func() error { return w.WritePacket([]byte(full[4:])) }, pkt(full[4:])},
		{func() error { _, err := w.WriteString("y"); return err }, pkt("y")},
		{w.WriteFlush, "0000"},
	}
	var want strings.Builder
	for i, s := range steps {
		if err := s.do(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		want.WriteString(s.wire)
	}
	if dst.String() != want.String() {
		t.Error("wrong bytes")
	}
	if err := w.WritePacket(nil); !errors.Is(err, ErrProtocol) {
		t.Errorf("empty packet: %v", err)
	}
	if err := w.WritePacket(fill(MaxData + 1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("large packet: %v", err)
	}
	if err := w.WritePacket([]byte("ok")); err != nil {
		t.Errorf("after refused packets: %v", err)
	}
}

func TestWriteErrorIsSticky(t *testing.T) {
	for _, vector := range []bool{false, true} {
		rec := &recorder{failAt: 1}
		var dst io.Writer = rec
		if vector {
			v := &vectorRecorder{recorder{failAt: 1}}
			rec, dst = &v.recorder, v
		}
		w := NewWriter(dst)
		if _, err := w.Write(fill(10 * MaxData)); err != errRecorder {
			t.Errorf("Write: %v", err)
		}
		if _, err := w.ReadFrom(bytes.NewReader(fill(10))); err != errRecorder {
			t.Errorf("ReadFrom: %v", err)
		}
		for _, f := range []func() error{
			w.Send, w.WriteFlush, w.WriteDelim, w.WriteResponseEnd,
			func() error { return w.WritePacket([]byte("x")) },
			func() error { return w.WriteMessage(fill(maxCopied + 1)) },
			func() error { _, err := w.WriteString("x"); return err },
		} {
			if err := f(); err != errRecorder {
				t.Errorf("after an error: %v", err)
			}
		}
		if len(rec.writes) != 1 {
			t.Errorf("wrote on after an error: %v", rec.writes)
		}
		w.Reset(io.Discard)
		if err := w.WriteMessage([]byte("x")); err != nil {
			t.Errorf("after Reset: %v", err)
		}
	}
}

type shortWriter struct{}

func (shortWriter) Write(p []byte) (int, error)                  { return len(p) - 1, nil }
func (shortWriter) WriteBuffers(buffers [][]byte) (int64, error) { return 1, nil }

func TestShortWrite(t *testing.T) {
	for _, n := range []int{1, maxCopied + 1} {
		if err := NewWriter(shortWriter{}).WriteMessage(fill(n)); err != io.ErrShortWrite {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if _, err := NewReader(strings.NewReader(wire(fill(5)))).WriteTo(shortWriter{}); err != io.ErrShortWrite {
		t.Errorf("WriteTo: %v", err)
	}
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
