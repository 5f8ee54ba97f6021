package main

import "testing"

// TestWhereResultsGo makes sure that a part of the measurements does not replace
// the report of all.
func TestWhereResultsGo(t *testing.T) {
	for _, c := range []struct {
		args []string
		out  string
	}{
		{nil, "results"},
		{[]string{"-growth"}, "results"},
		{[]string{"-rounds", "20", "-time", "1s"}, "results"},
		{[]string{"-quick"}, "results/quick"},
		{[]string{"-quick", "-cases", "16B"}, "results/quick"},
		{[]string{"-cases", "16B"}, "results/part"},
		{[]string{"-peers", "net"}, "results/part"},
		{[]string{"-growth", "-peers", "net"}, "results/part"},
		{[]string{"-profile", "p"}, "results/part"},
		{[]string{"-cases", "16B", "-out", "o"}, "o"},
	} {
		o, err := parse(c.args)
		if err != nil {
			t.Fatal(err)
		}
		if o.out != c.out {
			t.Errorf("%q: results go to %s, not to %s", c.args, o.out, c.out)
		}
	}
}
