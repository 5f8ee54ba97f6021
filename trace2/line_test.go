package trace2

import (
	"bytes"
	"crypto/sha1"
	"encoding/json"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
)

// marshal is what quote must write.
func marshal(t *testing.T, s string) string {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func FuzzQuote(f *testing.F) {
	for _, s := range []string{
		"", "plain", `"\/`, "\b\f\n\r\t\x00\x1f\x7f", "größer €😀", "\u2028\u2029\ufffd", "\xff", "a\xe2\x82", "\xed\xa0\x80", "<&>", "\xf4\x90\x80\x80",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l := line("x")
		l.quote(s)
		if want := "x" + marshal(t, s); string(l) != want {
			t.Errorf("%q became %s, not %s", s, l, want)
		}
	})
}

func TestSeconds(t *testing.T) {
	for _, c := range []struct {
		d     time.Duration
		width int
		want  string
	}{
		{0, 0, "0.000000"},
		{0, 9, " 0.000000"},
		{999, 0, "0.000000"},
		{1234567, 9, " 0.001234"},
		{61*time.Second + 2*time.Microsecond, 9, "61.000002"},
		{100 * time.Hour, 9, "360000.000000"},
		{-time.Second, 0, "0.000000"},
	} {
		var l line
		if l.seconds(c.d, c.width); string(l) != c.want {
			t.Errorf("%v is written as %q, not %q", c.d, l, c.want)
		}
	}
}

func TestColumn(t *testing.T) {
	var l line
	l.column("größer", 8)
	l.column("too long", 3)
	l.column(cut("größer", 3), 4)
	l.column(cut("g", 3), 2)
	if want := "größer  too longgrö g "; string(l) != want {
		t.Errorf("%q, not %q", l, want)
	}
}

// The first line is what Git 2.39 writes about the same arguments.
func TestArguments(t *testing.T) {
	var l line
	l.arguments(strings.Fields(`a! a" a# a$ a% a& a( a) a+ a, a- a. a/ a: a; a= a@ a[ a] a^ a_ a` + "`" + ` a{ a} a| a~ a\ a* a? a< a> Aü A0 -x --x=y ~a @ %`))
	if want := `'a'\!'' 'a"' 'a#' 'a$' 'a%' 'a&' 'a(' 'a)' a+ a, a- a. a/ a: 'a;' a= a@ 'a[' 'a]' a^ a_ 'a` + "`" + `' 'a{' 'a}' 'a|' 'a~' 'a\' 'a*' 'a?' 'a<' 'a>' 'Aü' A0 -x --x=y '~a' @ '%'`; string(l) != want {
		t.Errorf("%s\nnot\n%s", l, want)
	}
	if runtime.GOOS == "windows" {
		t.Skip("no shell")
	}
	argv := []string{"a b", "it's", "", "x\ny", "\xff\x01", `"\`, "$x", "a!b", "plain"}
	l = line("printf '%s\\0' ")
	l.arguments(argv)
	out, err := exec.Command("sh", "-c", string(l)).Output()
	if want := strings.Join(argv, "\x00") + "\x00"; err != nil || string(out) != want {
		t.Errorf("a shell makes %q of %s, %v", out, l, err)
	}
}

func TestSHA1(t *testing.T) {
	for n := range 200 {
		s := strings.Repeat("ab", n)[n/2:]
		if got, want := sha1Sum(s), sha1.Sum([]byte(s)); got != want {
			t.Fatalf("of %d bytes: %x, not %x", len(s), got, want)
		}
	}
}

func TestTimer(t *testing.T) {
	var sum timer
	for _, d := range []time.Duration{3, 1, 5} {
		sum = sum.add(d)
	}
	if want := (timer{intervals: 3, total: 9, min: 1, max: 5}); sum != want {
		t.Errorf("%+v, not %+v", sum, want)
	}
}

func TestIsTrue(t *testing.T) {
	for s, want := range map[string]bool{
		"1": true, "true": true, "TRUE": true, "yes": true, "on": true, "2": true, "-1": true,
		"": false, "0": false, "false": false, "no": false, "off": false, "bogus": false,
	} {
		if isTrue(s) != want {
			t.Errorf("%q is not %v", s, want)
		}
	}
}
