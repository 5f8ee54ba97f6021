package main

import (
	"encoding/json"

	"example.com/simpleipc"
)

// A peer is one that is written to JSON without what the platform does not tell.
type peer simpleipc.Peer

func (p peer) MarshalJSON() ([]byte, error) {
	var ids struct {
		PID *int   `json:"pid,omitempty"`
		UID *int   `json:"uid,omitempty"`
		GID *int   `json:"gid,omitempty"`
		SID string `json:"sid,omitempty"`
	}
	ids.PID, ids.UID, ids.GID, ids.SID = told(p.PID), told(p.UID), told(p.GID), p.SID
	return json.Marshal(ids)
}

func told(id int) *int {
	if id < 0 {
		return nil
	}
	return &id
}
