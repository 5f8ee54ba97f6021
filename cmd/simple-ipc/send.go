package main

import (
	"context"
	"io"
	"os"
	"strings"

	"example.com/simpleipc"
)

// noCommand is what send sends if it is told nothing.
const noCommand = "(no command)"

// send sends a request and passes on the response, once or many times.
func send(o *options, args []string) error {
	if o.interval > 0 && o.repeat == 0 {
		return &usageError{"--interval is for what is repeated", "use it with --repeat=N"}
	}
	request, err := openRequest(o, args)
	if err != nil {
		return err
	}
	switch {
	case o.repeat > 1 && o.output != "":
		return &usageError{"--output is for one response", "use it without --repeat"}
	case o.repeat > 1:
		return sendRepeatedly(o, request)
	case o.output != "":
		return sendToFile(o, request)
	}
	return sendOnce(o, request, printResponse)
}

// sendToFile sends a request and writes the response to a file.
func sendToFile(o *options, request io.Reader) error {
	out, err := createOutput(o.output)
	if err != nil {
		return err
	}
	defer out.discard()
	return sendOnce(o, request, func(response *simpleipc.Response) error {
		if _, err := response.WriteTo(out); err != nil {
			return err
		}
		return out.commit()
	})
}

// sendOnce sends a request and lets take have the response as it comes: a slow
// one is to be seen.
func sendOnce(o *options, request io.Reader, take func(*simpleipc.Response) error) error {
	c, err := connect(o.name)
	if err != nil {
		return err
	}
	defer c.Close()
	response, err := c.CallStream(context.Background(), request)
	if err == nil {
		err = take(response)
	}
	return failed(o.name, err)
}

// openRequest returns what is to be sent. A file stays open until the process
// ends.
func openRequest(o *options, args []string) (io.Reader, error) {
	given := len(args)
	request := noCommand
	if len(args) > 0 {
		request = args[0]
	}
	if o.token != nil {
		given++
		request = *o.token
	}
	if o.file != "" {
		given++
	}
	switch {
	case given > 1 && o.file != "":
		return nil, &usageError{"the request is given twice", "use one of TOKEN, --token=TOKEN and --file=FILE"}
	case given > 1:
		return nil, &usageError{"the request is given twice", "use either TOKEN or --token=TOKEN"}
	case o.file == "-":
		return os.Stdin, nil
	case o.file != "":
		return os.Open(o.file)
	}
	return strings.NewReader(request), nil
}

// printResponse prints a response, and a newline behind it unless it is empty.
func printResponse(response *simpleipc.Response) error {
	n, err := response.WriteTo(os.Stdout)
	if n > 0 {
		if _, werr := os.Stdout.WriteString("\n"); err == nil {
			err = werr
		}
	}
	return err
}
