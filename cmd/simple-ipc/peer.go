package main

import (
	"encoding/json"

	"example.com/simpleipc"
)

// A peer is one that is written to JSON without what the platform does not tell.
type peer simpleipc.Peer

func (p peer) MarshalJSON() ([]byte, error) {
	var ids struct {
		PID *uint32 `json:"pid,omitempty"`
		UID *uint32 `json:"uid,omitempty"`
		GID *uint32 `json:"gid,omitempty"`
		SID string  `json:"sid,omitempty"`
	}
	ids.PID, ids.UID, ids.GID, ids.SID = told(p.PID), told(p.UID), told(p.GID), p.SID
	return json.Marshal(ids)
}

// told returns an ID, or nil if the platform has not told it. Where int has 32
// bits, other negative ones are large.
func told(id int) *uint32 {
	if id == -1 {
		return nil
	}
	n := uint32(id)
	return &n
}
