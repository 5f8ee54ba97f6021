package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"example.com/simpleipc/pktline"
)

// A request is what Git asks for. The content follows, save for
// list_available_blobs.
type request struct {
	command  string
	pathname string
	canDelay bool
}

func (r request) String() string { return fmt.Sprintf("%s %q", r.command, r.pathname) }

// handshake agrees with Git on the version and on the capabilities.
func (f *filter) handshake() error {
	var welcome string
	first, version := true, false
	err := f.readList(func(line string) error {
		if first {
			welcome, first = line, false
		}
		version = version || line == "version=2"
		return nil
	})
	switch {
	case err != nil:
		return handshakeError(err)
	case welcome != "git-filter-client":
		return fmt.Errorf("handshake: the welcome message is %.60q, not \"git-filter-client\"", welcome)
	case !version:
		return errors.New("handshake: version 2 of the protocol is not offered, and this filter speaks no other")
	}
	if err := f.writeList("git-filter-server", "version=2"); err != nil {
		return handshakeError(err)
	}

	var common []string
	err = f.readList(func(line string) error {
		switch line {
		case "capability=delay":
			if !f.canDelay {
				return nil
			}
			fallthrough
		case "capability=clean", "capability=smudge":
			common = append(common, line)
		}
		return nil
	})
	if err == nil {
		err = f.writeList(common...)
	}
	if err != nil {
		return handshakeError(err)
	}
	return nil
}

func handshakeError(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("handshake: %w", err)
}

// readRequest reads what Git wants next. It returns io.EOF if that is nothing.
func (f *filter) readRequest() (request, error) {
	var r request
	err := f.readList(func(line string) error {
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			return fmt.Errorf("%.60q is not of the form key=value", line)
		}
		switch key {
		case "command":
			r.command = value
		case "pathname":
			r.pathname = value
		case "can-delay":
			r.canDelay = value == "1"
		}
		return nil
	})
	if err != nil && err != io.EOF {
		err = fmt.Errorf("request: %w", err)
	}
	return r, err
}

// readList reads a list and calls add with each line. It returns io.EOF if the
// stream ends before the list begins.
func (f *filter) readList(add func(line string) error) error {
	for first := true; ; first = false {
		kind, data, err := f.in.ReadPacket()
		switch {
		case err == io.EOF && !first:
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		case kind == pktline.Flush:
			return nil
		case kind != pktline.Data:
			return fmt.Errorf("a %v packet in a list", kind)
		}
		if err := add(strings.TrimSuffix(string(data), "\n")); err != nil {
			return err
		}
	}
}

// writeList writes a list with these lines.
func (f *filter) writeList(lines ...string) error {
	for _, l := range lines {
		if err := f.out.WritePacket([]byte(l + "\n")); err != nil {
			return err
		}
	}
	return f.out.WriteFlush()
}
