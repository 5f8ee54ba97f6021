package main

import (
	"io"

	"google.golang.org/protobuf/types/known/wrapperspb"
)

// What ttrpc and gRPC have in common.

// protobufService is the service's name.
const protobufService = "simpleipc.Bench"

// A messageStream sends and receives protocol buffers.
type messageStream interface {
	SendMsg(m any) error
	RecvMsg(m any) error
}

// sendMessages sends what r has, in messages of one chunk.
func sendMessages(s messageStream, r io.Reader) error {
	buf := chunks.Get().(*[]byte)
	defer chunks.Put(buf)
	for {
		n, err := io.ReadFull(r, *buf)
		if n > 0 {
			if err := s.SendMsg(wrapperspb.Bytes((*buf)[:n])); err != nil {
				return err
			}
		}
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return nil
		default:
			return err
		}
	}
}

// A messageReader reads the bytes of messages.
type messageReader struct {
	s       messageStream
	message wrapperspb.BytesValue
}

func (r *messageReader) Read(p []byte) (int, error) {
	for len(r.message.Value) == 0 {
		if err := r.s.RecvMsg(&r.message); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.message.Value)
	r.message.Value = r.message.Value[n:]
	return n, nil
}

// answerMessages is the server's side.
func answerMessages(stream messageStream, s service) error {
	response, err := s.stream(&messageReader{s: stream})
	if err != nil {
		return err
	}
	return sendMessages(stream, response)
}

// exchangeMessages is the client's side.
func exchangeMessages(stream interface {
	messageStream
	CloseSend() error
}, w io.Writer, request io.Reader) error {
	if err := sendMessages(stream, request); err != nil {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	_, err := copyChunks(w, &messageReader{s: stream})
	return err
}
