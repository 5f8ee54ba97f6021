package main

import (
	"context"
	"io"

	"example.com/simpleipc"
)

// simpleIPC is this project.
type simpleIPC struct {
	keep bool // responses are in memory of their own
}

func (simpleIPC) listen(path string, x exchange, s service) (io.Closer, error) {
	l, err := simpleipc.Listen(context.Background(), path)
	if err != nil {
		return nil, err
	}
	srv := &simpleipc.Server{
		Workers:        x.Workers,
		StreamRequests: x.Streamed,
		Handler: simpleipc.HandlerFunc(func(_ context.Context, w *simpleipc.ResponseWriter, r *simpleipc.Request) error {
			if !x.Streamed {
				_, err := w.Write(s.answer(r.Body))
				return err
			}
			response, err := s.stream(r)
			if err == nil {
				_, err = w.ReadFrom(response)
			}
			return err
		}),
	}
	serving := make(chan struct{})
	go func() {
		defer close(serving)
		_ = srv.Serve(context.Background(), l) // always an error; clients notice
	}()
	return closer(func() error {
		err := srv.Shutdown(context.Background())
		<-serving
		return err
	}), nil
}

// closer is a function as an io.Closer.
type closer func() error

func (c closer) Close() error { return c() }

func (p simpleIPC) dial(path string, _ exchange) (conn, error) {
	c, err := new(simpleipc.Dialer).Dial(context.Background(), path)
	if err != nil {
		return nil, err
	}
	return simpleIPCConn{c, p.keep}, nil
}

func (simpleIPC) callOnce(path string, request []byte) ([]byte, error) {
	return simpleipc.Call(context.Background(), path, request)
}

func (simpleIPC) streamOnce(path string, w io.Writer, request io.Reader) error {
	return copyResponse(w)(new(simpleipc.Dialer).CallStream(context.Background(), path, request))
}

type simpleIPCConn struct {
	*simpleipc.Conn
	keep bool
}

func (c simpleIPCConn) call(buf, request []byte) ([]byte, error) {
	if c.keep {
		return c.Call(context.Background(), request)
	}
	return c.AppendCall(context.Background(), buf[:0], request)
}

func (c simpleIPCConn) stream(w io.Writer, request io.Reader) error {
	return copyResponse(w)(c.CallStream(context.Background(), request))
}

// copyResponse copies what CallStream returns to w.
func copyResponse(w io.Writer) func(*simpleipc.Response, error) error {
	return func(r *simpleipc.Response, err error) error {
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = io.Copy(w, r)
		return err
	}
}
