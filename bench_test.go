package simpleipc

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
)

// quietly serves a temporary path and logs nothing.
func quietly(t testing.TB) string {
	return serve(t, &Server{Logger: slog.New(slog.DiscardHandler)}).path
}

// BenchmarkCall makes each exchange on a new connection.
func BenchmarkCall(b *testing.B) {
	path := quietly(b)
	request := make([]byte, 16)
	each(b, func(next func() bool) {
		for next() {
			if _, err := Call(context.Background(), path, request); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkConn makes exchanges on kept connections.
func BenchmarkConn(b *testing.B) {
	path := quietly(b)
	for _, size := range []int{16, 4 << 10, 10 << 20} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			each(b, func(next func() bool) {
				c, err := new(Dialer).Dial(context.Background(), path)
				if err != nil {
					b.Error(err)
					return
				}
				defer c.Close()
				request := make([]byte, size)
				var response []byte
				for next() {
					if response, err = c.AppendCall(context.Background(), response[:0], request); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// each runs body with one caller, and with four for each CPU.
func each(b *testing.B, body func(next func() bool)) {
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		body(b.Loop)
	})
	b.Run("many", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(4)
		b.RunParallel(func(pb *testing.PB) { body(pb.Next) })
	})
}

// BenchmarkAccept is a server's part of an exchange on a new connection, with
// the least that a client can do: from connecting to the end of the response.
func BenchmarkAccept(b *testing.B) {
	path := quietly(b)
	want := "0008ping0000"
	var got [12]byte
	b.ReportAllocs()
	for b.Loop() {
		s, err := connect(path)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(s, strings.NewReader(want)); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(s, got[:]); err != nil || string(got[:]) != want {
			b.Fatalf("%q, %v", got, err)
		}
		s.Close()
	}
}
