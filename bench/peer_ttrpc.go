package main

import (
	"context"
	"io"
	"net"

	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// ttRPC is ttrpc, with the messages that are made for bytes.
type ttRPC struct{}

// maxTTRPC is the size of the largest message with ttrpc, less what its header
// and the framing of protocol buffers need.
const maxTTRPC = 4<<20 - 64

func (ttRPC) listen(path string, _ exchange, s service) (io.Closer, error) {
	srv, err := ttrpc.NewServer()
	if err != nil {
		return nil, err
	}
	srv.RegisterService(protobufService, &ttrpc.ServiceDesc{
		Methods: map[string]ttrpc.Method{
			"Call": func(_ context.Context, unmarshal func(any) error) (any, error) {
				request := new(wrapperspb.BytesValue)
				if err := unmarshal(request); err != nil {
					return nil, err
				}
				return wrapperspb.Bytes(s.answer(request.Value)), nil
			},
		},
		Streams: map[string]ttrpc.Stream{
			"Stream": {
				StreamingClient: true,
				StreamingServer: true,
				Handler: func(_ context.Context, stream ttrpc.StreamServer) (any, error) {
					return nil, answerMessages(stream, s)
				},
			},
		},
	})
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	serving := make(chan struct{})
	go func() {
		defer close(serving)
		_ = srv.Serve(context.Background(), l) // always an error; clients notice
	}()
	return closer(func() error {
		err := srv.Close()
		<-serving
		return err
	}), nil
}

func (ttRPC) dial(path string, _ exchange) (conn, error) {
	c, err := net.Dial("unix", path)
	if err != nil {
		return nil, err
	}
	return ttrpcConn{ttrpc.NewClient(c)}, nil
}

type ttrpcConn struct{ *ttrpc.Client }

func (c ttrpcConn) call(_, request []byte) ([]byte, error) {
	response := new(wrapperspb.BytesValue)
	err := c.Call(context.Background(), protobufService, "Call", wrapperspb.Bytes(request), response)
	return response.Value, err
}

func (c ttrpcConn) stream(w io.Writer, request io.Reader) error {
	desc := &ttrpc.StreamDesc{StreamingClient: true, StreamingServer: true}
	stream, err := c.NewStream(context.Background(), desc, protobufService, "Stream", nil)
	if err != nil {
		return err
	}
	return exchangeMessages(stream, w, request)
}
