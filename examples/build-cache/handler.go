package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	"example.com/simpleipc"
)

// A handler answers the daemon's requests. Each begins with a line, and so
// does its answer:
//
//	get ACTION            hit ID SIZE TIME    and then the object's bytes
//	                      miss
//	put ACTION ID SIZE    stored              for the bytes that follow the line
//	stat                  stat                and then lines for people
//	quit                  bye                 and the daemon ends
//
// Any of them may be answered with "error" and a text.
type handler struct{ *store }

func (h handler) ServeIPC(_ context.Context, w *simpleipc.ResponseWriter, r *simpleipc.Request) error {
	body := bufio.NewReader(r)
	line, err := readLine(body)
	if err != nil {
		return refuse(w, err)
	}
	switch verb, args, _ := strings.Cut(line, " "); verb {
	case "get":
		return h.answerGet(w, args)
	case "put":
		return h.answerPut(w, args, body)
	case "stat":
		_, err := fmt.Fprintf(w, "stat\n%v", h.store)
		return err
	case "quit":
		if _, err := w.WriteString("bye\n"); err != nil {
			return err
		}
		return simpleipc.Quit
	default:
		return refuse(w, fmt.Errorf("unknown request %.20q", line))
	}
}

func (h handler) answerGet(w *simpleipc.ResponseWriter, args string) error {
	action, err := parseID(args)
	if err != nil {
		return refuse(w, err)
	}
	f, e, err := h.get(action)
	switch {
	case err != nil:
		return refuse(w, err)
	case f == nil:
		_, err := w.WriteString("miss\n")
		return err
	}
	defer func() { _ = f.Close() }() // it is only read
	if _, err := fmt.Fprintf(w, "hit %v\n", e); err != nil {
		return err
	}
	_, err = w.ReadFrom(f)
	return err
}

func (h handler) answerPut(w *simpleipc.ResponseWriter, args string, body io.Reader) error {
	fields := strings.Split(args, " ")
	if len(fields) != 3 {
		return refuse(w, fmt.Errorf("a put has 3 arguments, and not %d", len(fields)))
	}
	action, err := parseID(fields[0])
	if err != nil {
		return refuse(w, err)
	}
	o, err := parseObject(fields[1], fields[2])
	if err != nil {
		return refuse(w, err)
	}
	if err := h.put(action, o, body); err != nil {
		return refuse(w, err)
	}
	_, err = w.WriteString("stored\n")
	return err
}

// refuse tells the client why it is not answered. If the request has not come
// to its end, the client is hung up on instead: the server notices that when
// it reads the rest.
func refuse(w *simpleipc.ResponseWriter, err error) error {
	_, werr := fmt.Fprintf(w, "error %v\n", err)
	return werr
}

// readLine reads a message's first line. The message may end with it.
func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n')
	if err != nil && err != io.EOF {
		return "", fmt.Errorf("first line: %w", err)
	}
	return strings.TrimSuffix(string(line), "\n"), nil
}
