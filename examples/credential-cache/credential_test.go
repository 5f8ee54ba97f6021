package main

import (
	"bytes"
	"maps"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ text, want, err string }{
		{text: ""},
		{text: "\nhost=h\n"},
		{text: "host=h", want: "host=h\n"},
		{text: "host=h\nprotocol=p\n", want: "protocol=p\nhost=h\n"},
		{text: "host=h\n\nprotocol=p\n", want: "host=h\n"},
		{text: "host=\nhost=a=b= \r\n", want: "host=a=b= \r\n"},
		{text: "host=\n", want: "host=\n"},
		{text: " host=h\nHost=h\n=h\nunknown=x\nwwwauth[]=x\nhost[]=x\n"},
		{text: "authtype=a\ncredential=c\n"},
		{text: "capability[]=state\nauthtype=a\n"},
		{text: "capability[]=authtype\ncapability[]=state\nauthtype=a\n", want: "capability[]=authtype\nauthtype=a\n"},
		{text: "authtype=a\ncapability[]=authtype\n", want: "capability[]=authtype\n"},
		{text: "capability[]=authtype\ncapability[]=\nauthtype=a\n"},
		{text: "host=h\nxyz\n", err: "line 2"},
		{text: "host=\x00\n", err: "line 1"},
		{text: "a=b\n\x00=h\n", err: "line 2"},
	} {
		got, err := parse([]byte(c.text))
		switch {
		case c.err != "":
			if err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "xyz") {
				t.Errorf("%q: %v, want an error about %s", c.text, err, c.err)
			}
		case err != nil || string(got.lines(storedKeys)) != c.want:
			t.Errorf("%q: %q, %v, want %q", c.text, got.lines(storedKeys), err, c.want)
		}
	}
}

func TestReadCredential(t *testing.T) {
	const text = "host=h\nusername=u\n"
	for name, reader := range map[string]string{"the end": text, "a blank line": text + "\nmore", "half a line": text + "password=p"} {
		want, _ := parse([]byte(reader))
		got, err := readCredential(iotest.OneByteReader(strings.NewReader(reader)))
		if err != nil || !maps.EqualFunc(got, want, bytes.Equal) {
			t.Errorf("%s: %q, %v, want %q", name, got, err, want)
		}
	}
	if _, err := readCredential(iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader(text)))); err == nil {
		t.Error("a read error is missing")
	}
	if got, err := readCredential(iotest.DataErrReader(strings.NewReader(text))); err != nil || len(got) != 2 {
		t.Errorf("data with the end: %q, %v", got, err)
	}
}

func TestLifetime(t *testing.T) {
	now := time.Unix(1_000_000, 500)
	for _, c := range []struct {
		expiry string
		want   time.Duration
	}{
		{"1000060", time.Minute - 500},
		{"1003600", time.Hour - 500},
		{"1003601", time.Hour},
		{"9223372036854775807", time.Hour},
		{"1000000", -500},
	} {
		got, err := credential{"password_expiry_utc": []byte(c.expiry)}.lifetime(now, time.Hour)
		if got != c.want || err != nil {
			t.Errorf("%s: %v, %v, want %v", c.expiry, got, err, c.want)
		}
	}
	if got, err := (credential{"password_expiry_utc": []byte("0")}).lifetime(now, time.Hour); got > 0 || err != nil {
		t.Errorf("1970: %v, %v", got, err)
	}
	for _, bad := range []string{"", "-1", "1e9", "soon", "9223372036854775808"} {
		if got, err := (credential{"password_expiry_utc": []byte(bad)}).lifetime(now, time.Hour); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
	if got, err := (credential{}).lifetime(now, time.Hour); got != time.Hour || err != nil {
		t.Errorf("without: %v, %v", got, err)
	}
}

// FuzzParse: what was parsed can be written and parsed again, and nothing gets
// out of its line.
func FuzzParse(f *testing.F) {
	f.Add([]byte("capability[]=authtype\nprotocol=https\nhost=h\nusername=\npassword= a=b\n\nrest"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parse(text)
		if err != nil {
			return
		}
		delete(c, "ephemeral") // which is for one who stores, and not stored
		again, err := parse(c.lines(storedKeys))
		if err != nil || !maps.EqualFunc(again, c, bytes.Equal) {
			t.Errorf("%q became %q, %v", c, again, err)
		}
		if !c.matches(c) || !c.agrees(c, storedKeys) {
			t.Errorf("%q is not like itself", c)
		}
	})
}
