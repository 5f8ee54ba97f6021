package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"

	"example.com/simpleipc"
)

// isActive fails unless a server listens.
func isActive(o *options, _ []string) error {
	if o.json {
		return tellState(o.name)
	}
	if _, err := simpleipc.Probe(context.Background(), o.name); err != nil {
		return unreachable(o.name, err)
	}
	return nil
}

// tellState prints what is at the path, as a JSON object, and fails unless that
// is a server.
func tellState(name string) error {
	var report struct {
		Path      string `json:"path"`
		Listening bool   `json:"listening"`
		State     string `json:"state"`
		Server    *peer  `json:"server,omitempty"`
		Error     string `json:"error,omitempty"`
	}
	report.Path = name
	d := simpleipc.Dialer{NoWaitBusy: true, Authorize: simpleipc.AnyUser}
	c, err := d.Dial(context.Background(), name)
	state := simpleipc.Listening
	if err == nil {
		p := peer(c.Peer())
		c.Close()
		report.Server = &p
	} else {
		var e *simpleipc.Error
		if errors.As(err, &e) {
			state = e.State
		}
		report.Error = reason(err).Error()
		err = unreachable(name, err)
	}
	report.State = state.String()
	report.Listening = state == simpleipc.Listening
	if jerr := json.NewEncoder(os.Stdout).Encode(report); jerr != nil {
		return jerr
	}
	return err
}
