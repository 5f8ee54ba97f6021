package main

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"example.com/simpleipc"
)

// How many rows the responses have that are made of rows.
const (
	bigRows  = 10000
	slowRows = 1000
)

// slowPause is the time between two rows of a slow response.
const slowPause = 10 * time.Millisecond

// A handler answers the daemon's requests.
type handler struct {
	echo bool // answer "echo BYTES", too
}

func (h handler) ServeIPC(ctx context.Context, w *simpleipc.ResponseWriter, r *simpleipc.Request) error {
	var err error
	switch string(r.Body) {
	case "ping":
		_, err = w.WriteString("pong")
		return err
	case "big":
		var rows []byte
		for i := range bigRows {
			rows = appendRow(rows, i)
		}
		_, err = w.Write(rows)
		return err
	case "chunk":
		var row []byte
		for i := range bigRows {
			row = appendRow(row[:0], i)
			if _, err := w.Write(row); err != nil {
				return err
			}
		}
		return nil
	case "slow":
		return respondSlowly(ctx, w)
	}
	if ballast, ok := bytes.CutPrefix(r.Body, []byte("sendbytes ")); ok {
		_, err = w.Write(weigh(ballast))
		return err
	}
	if data, ok := bytes.CutPrefix(r.Body, []byte("echo ")); ok && h.echo {
		_, err = w.Write(data)
		return err
	}
	if _, err := w.WriteString("unhandled command: "); err != nil {
		return err
	}
	_, err = w.Write(r.Body)
	return err
}

// appendRow appends one row of a response that is made of rows.
func appendRow(b []byte, row int) []byte {
	return fmt.Appendf(b, "big: %075d\n", row)
}

// respondSlowly sends each row as soon as it is made.
func respondSlowly(ctx context.Context, w *simpleipc.ResponseWriter) error {
	tick := time.NewTicker(slowPause)
	defer tick.Stop()
	var row []byte
	for i := range slowRows {
		row = appendRow(row[:0], i)
		if _, err := w.Write(row); err != nil {
			return err
		}
		if err := w.Send(); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// weigh tells which byte the ballast is made of and how many there are; for
// none, only that. If they are not all the same, it tells how many differ from
// the first.
func weigh(ballast []byte) []byte {
	if len(ballast) == 0 {
		return []byte("rcvd:00000000\n")
	}
	if differ := len(ballast) - bytes.Count(ballast, ballast[:1]); differ > 0 {
		return fmt.Appendf(nil, "errs:%d\n", differ)
	}
	return fmt.Appendf(nil, "rcvd:%s%08d\n", ballast[:1], len(ballast))
}

// quitOn returns h with one request that shuts the server down, unless that is
// empty.
func quitOn(token string, h simpleipc.Handler) simpleipc.Handler {
	if token == "" {
		return h
	}
	return simpleipc.HandlerFunc(func(ctx context.Context, w *simpleipc.ResponseWriter, r *simpleipc.Request) error {
		if string(r.Body) == token {
			return simpleipc.Quit
		}
		return h.ServeIPC(ctx, w, r)
	})
}
