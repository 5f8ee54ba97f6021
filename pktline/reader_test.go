package pktline

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

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
