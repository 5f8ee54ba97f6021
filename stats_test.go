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

func TestStatsAsJSON(t *testing.T) {
	b, err := json.Marshal(new(Server).Stats())
	if err != nil || !strings.Contains(string(b), `"bytes_in":0`) || !strings.Contains(string(b), `"dropped":{"refused":0`) {
		t.Errorf("%s, %v", b, err)
	}
}
