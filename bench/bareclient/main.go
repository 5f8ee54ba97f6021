// Bareclient is the smallest client in Go: it connects to the Unix domain
// socket that it is given, sends a word and prints the four bytes that come
// back. What a client of Simple IPC needs more time for is that client's own.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
)

func main() {
	if err := ping(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "bareclient:", err)
		os.Exit(1)
	}
}

func ping(path string) error {
	c, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // nothing is lost by it
	if _, err := io.WriteString(c, "ping"); err != nil {
		return err
	}
	var response [4]byte
	if _, err := io.ReadFull(c, response[:]); err != nil {
		return err
	}
	_, err = os.Stdout.Write(append(response[:], '\n'))
	return err
}
