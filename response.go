package simpleipc

import (
	"io"

	"example.com/simpleipc/pktline"
)

// A ResponseWriter writes the response to one request. What is written is
// collected and sent when there is a packet's worth of it (64 KiB), when the
// handler returns, and at [ResponseWriter.Send]. Large writes are sent at once
// and without a copy; no write keeps the caller's bytes.
//
// Its methods return an error once the client has hung up, or has not read
// for longer than the server's WriteTimeout; there is no use in going on then.
// They must not be called by several goroutines at once.
type ResponseWriter struct {
	wr pktline.Writer
	n  int64 // what has been written
}

// Write adds p to the response.
func (w *ResponseWriter) Write(p []byte) (int, error) {
	n, err := w.wr.Write(p)
	w.n += int64(n)
	return n, err
}

// WriteString adds s to the response.
func (w *ResponseWriter) WriteString(s string) (int, error) {
	n, err := w.wr.WriteString(s)
	w.n += int64(n)
	return n, err
}

// ReadFrom adds what src has until its io.EOF to the response; [io.Copy] uses
// it.
func (w *ResponseWriter) ReadFrom(src io.Reader) (int64, error) {
	n, err := w.wr.ReadFrom(src)
	w.n += n
	return n, err
}

// Send sends the client what has been written so far, for a response that
// comes into being slowly.
func (w *ResponseWriter) Send() error { return w.wr.Send() }
