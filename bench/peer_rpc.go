package main

import (
	"errors"
	"io"
	"net"
	"net/rpc"
)

// netRPC is package net/rpc, which encodes with encoding/gob.
type netRPC struct{}

// RPCService is exported because net/rpc wants it so.
type RPCService struct{ service }

// Call answers a request.
func (s RPCService) Call(request []byte, response *[]byte) error {
	*response = s.answer(request)
	return nil
}

func (netRPC) listen(path string, _ exchange, s service) (io.Closer, error) {
	srv := rpc.NewServer()
	if err := srv.RegisterName("Bench", RPCService{s}); err != nil {
		return nil, err
	}
	return listenNet(path, func(c net.Conn) { srv.ServeConn(c) })
}

func (netRPC) dial(path string, _ exchange) (conn, error) {
	c, err := rpc.Dial("unix", path)
	if err != nil {
		return nil, err
	}
	return rpcConn{c}, nil
}

type rpcConn struct{ *rpc.Client }

func (c rpcConn) call(buf, request []byte) ([]byte, error) {
	response := buf[:0]
	err := c.Call("Bench.Call", request, &response)
	return response, err
}

func (rpcConn) stream(io.Writer, io.Reader) error { return errors.ErrUnsupported }
