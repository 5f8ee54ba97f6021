package main

import "testing"

func TestFit(t *testing.T) {
	for _, tt := range []struct {
		text           string
		n              int
		fit, pad, tail string
	}{
		{"", 3, "", "   ", ""},
		{"ab", 3, "ab", "ab ", "ab"},
		{"abc", 3, "abc", "abc", "abc"},
		{"abcd", 3, "abc", "abc", "…cd"},
		{"äöü", 4, "äöü", "äöü ", "äöü"},
		{"日本語", 5, "日本", "日本 ", "…語"},
		{"a\x1b\nb", 4, "a??b", "a??b", "a\x1b\nb"},
	} {
		if got := fit(tt.text, tt.n); got != tt.fit {
			t.Errorf("fit(%q, %d) = %q, want %q", tt.text, tt.n, got, tt.fit)
		}
		if got := pad(tt.text, tt.n); got != tt.pad {
			t.Errorf("pad(%q, %d) = %q, want %q", tt.text, tt.n, got, tt.pad)
		}
		if got := tail(tt.text, tt.n); got != tt.tail {
			t.Errorf("tail(%q, %d) = %q, want %q", tt.text, tt.n, got, tt.tail)
		}
	}
}
