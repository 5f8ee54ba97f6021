package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"example.com/simpleipc"
)

// sendRepeatedly sends the same request again and again.
func sendRepeatedly(o *options, request io.Reader) error {
	body, err := io.ReadAll(request)
	if err != nil {
		return err
	}
	r := repeater{name: o.name, request: body}
	defer r.hangUp()
	for i := range o.repeat {
		if i > 0 {
			time.Sleep(o.interval)
		}
		response, err := r.call()
		if err != nil {
			return err
		}
		if err := printResponse(response); err != nil {
			return failed(o.name, err)
		}
	}
	return nil
}

// A repeater sends a request on one connection for as long as the server keeps
// it, and then on a new one.
type repeater struct {
	name    string
	request []byte
	conn    *simpleipc.Conn // nil before the first call
	calls   int             // on conn
	closes  bool            // the server closes a connection after each exchange
}

func (r *repeater) call() (*simpleipc.Response, error) {
	if r.conn != nil && !r.closes {
		response, err := r.callOn(r.conn)
		if !r.closed(err) {
			return response, failed(r.name, err)
		}
		r.closes = r.calls == 1
	}
	r.hangUp()
	conn, err := connect(r.name)
	if err != nil {
		return nil, err
	}
	r.conn, r.calls = conn, 0
	response, err := r.callOn(conn)
	return response, failed(r.name, err)
}

func (r *repeater) callOn(c *simpleipc.Conn) (*simpleipc.Response, error) {
	response, err := c.CallStream(context.Background(), bytes.NewReader(r.request))
	if err == nil {
		r.calls++
	}
	return response, err
}

// closed reports whether a call failed because the server had closed the
// connection before: it has not been sent the request, or it is one that
// closes after an exchange, and did so while the next request was on its way.
func (r *repeater) closed(err error) bool {
	var e *simpleipc.Error
	return errors.As(err, &e) && errors.Is(err, simpleipc.ErrConnClosed) && (!e.MaybeSeen || r.calls == 1)
}

func (r *repeater) hangUp() {
	if r.conn != nil {
		r.conn.Close()
	}
}
