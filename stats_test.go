package simpleipc

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestStatsVar checks that it is an expvar.Var that is up to date.
func TestStatsVar(t *testing.T) {
	s := serve(t, &Server{})
	v := s.StatsVar()
	for n := range 2 {
		var got Stats
		if err := json.Unmarshal([]byte(v.String()), &got); err != nil || got.Requests != int64(n) {
			t.Errorf("got %v, %v", v, err)
		}
		wantCall(t, s.path, "1", "1")
		s.stats(t, "a response was sent", func(now Stats) bool { return now.Responses == int64(n+1) })
	}
	if v.String() == "" || !strings.Contains(v.String(), `"dropped":{"refused":0,`) {
		t.Errorf("got %v", v)
	}
}
