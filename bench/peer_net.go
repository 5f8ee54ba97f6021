package main

import (
	"errors"
	"io"
	"net"
	"sync"
)

// bareNet is a net.Conn for bytes whose number both sides know: what the
// standard library costs before there is any protocol.
type bareNet struct{}

func (bareNet) listen(path string, x exchange, s service) (io.Closer, error) {
	return listenNet(path, func(c net.Conn) {
		buf := messageBuffer(x.Request)
		defer messages.Put(buf)
		for answerBare(c, *buf, x, s) == nil {
		}
	})
}

// answerBare answers one request.
func answerBare(c io.ReadWriter, buf []byte, x exchange, s service) error {
	if x.Streamed {
		request := &io.LimitedReader{R: c, N: int64(x.Request)}
		response, err := s.stream(request)
		if err == nil && request.N > 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		_, err = copyChunks(writerOnly{c}, response)
		return err
	}
	if _, err := io.ReadFull(c, buf); err != nil {
		return err
	}
	_, err := c.Write(s.answer(buf))
	return err
}

func (bareNet) dial(path string, x exchange) (conn, error) {
	c, err := net.Dial("unix", path)
	if err != nil {
		return nil, err
	}
	return bareConn{c, x}, nil
}

// A bareConn is a client's connection without a protocol.
type bareConn struct {
	io.ReadWriteCloser
	exchange
}

func (c bareConn) call(buf, request []byte) ([]byte, error) {
	if _, err := c.Write(request); err != nil {
		return nil, err
	}
	if cap(buf) < c.Response {
		buf = make([]byte, c.Response)
	}
	buf = buf[:c.Response]
	_, err := io.ReadFull(c.ReadWriteCloser, buf) // all of c would be allocated
	return buf, err
}

func (c bareConn) stream(w io.Writer, request io.Reader) error {
	if _, err := copyChunks(writerOnly{c}, request); err != nil {
		return err
	}
	n, err := copyChunks(w, io.LimitReader(c, int64(c.Response)))
	if err == nil && n < int64(c.Response) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// listenNet serves each connection in a goroutine of its own.
func listenNet(path string, serve func(net.Conn)) (io.Closer, error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue // this client has gone
			}
			serving.Go(func() {
				defer func() { _ = c.Close() }() // the client sees
				serve(c)
			})
		}
	})
	return closer(func() error {
		err := l.Close()
		serving.Wait() // until the clients have closed their connections
		return err
	}), nil
}
