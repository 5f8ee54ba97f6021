package main

import (
	"context"
	"io"
	"math"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// gRPC is gRPC, with the messages that are made for bytes. It could do with
// other settings for large messages; those are its defaults.
type gRPC struct{}

func (gRPC) listen(path string, _ exchange, s service) (io.Closer, error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	srv := grpc.NewServer(grpc.MaxRecvMsgSize(math.MaxInt32))
	srv.RegisterService(&grpc.ServiceDesc{
		ServiceName: protobufService,
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{
			MethodName: "Call",
			Handler: func(_ any, _ context.Context, unmarshal func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				request := new(wrapperspb.BytesValue)
				if err := unmarshal(request); err != nil {
					return nil, err
				}
				return wrapperspb.Bytes(s.answer(request.Value)), nil
			},
		}},
		Streams: []grpc.StreamDesc{{
			StreamName:    "Stream",
			ClientStreams: true,
			ServerStreams: true,
			Handler:       func(_ any, stream grpc.ServerStream) error { return answerMessages(stream, s) },
		}},
	}, nil)
	serving := make(chan struct{})
	go func() {
		defer close(serving)
		_ = srv.Serve(l) // clients notice
	}()
	return closer(func() error {
		srv.Stop()
		<-serving
		return nil
	}), nil
}

func (gRPC) dial(path string, _ exchange) (conn, error) {
	c, err := grpc.NewClient("unix:"+path,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)))
	if err != nil {
		return nil, err
	}
	return grpcConn{c}, nil
}

type grpcConn struct{ *grpc.ClientConn }

func (c grpcConn) call(_, request []byte) ([]byte, error) {
	response := new(wrapperspb.BytesValue)
	err := c.Invoke(context.Background(), "/"+protobufService+"/Call", wrapperspb.Bytes(request), response)
	return response.Value, err
}

func (c grpcConn) stream(w io.Writer, request io.Reader) error {
	desc := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	stream, err := c.NewStream(context.Background(), desc, "/"+protobufService+"/Stream")
	if err != nil {
		return err
	}
	return exchangeMessages(stream, w, request)
}
