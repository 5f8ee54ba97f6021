package pktline

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

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
