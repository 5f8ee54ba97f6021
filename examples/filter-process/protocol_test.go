package main

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// What Git sends first, and what it is answered.
const (
	hello = "0016git-filter-client\n" + "000eversion=2\n" + "0000" +
		"0015capability=clean\n" + "0016capability=smudge\n" + "0015capability=delay\n" + "0000"
	helloAnswer = "0016git-filter-server\n" + "000eversion=2\n" + "0000" +
		"0015capability=clean\n" + "0016capability=smudge\n" + "0015capability=delay\n" + "0000"

	smudgeX  = "0013command=smudge\n" + "000fpathname=x\n" + "0000"
	success  = "0013status=success\n" + "0000"
	failure  = "0011status=error\n" + "0000"
	list     = "0021command=list_available_blobs\n" + "0000"
	listNone = "0000" + success
)

// The blob of "hi\n", as bytes in the format of RFC 1952, and a raw deflate
// block.
const (
	storedHead = "\x1f\x8b\x08\x10\x00\x00\x00\x00\x04\xffstored by filter-process\x00"
	stored     = storedHead + "\x01\x03\x00\xfc\xffhi\n" + "\x7a\x7a\x6f\xed" + "\x03\x00\x00\x00"
)

// pkt makes a packet. It does not use what is tested.
func pkt(data string) string { return fmt.Sprintf("%04x%s", len(data)+4, data) }

// content makes the packets of a content.
func content(data string) string {
	var b strings.Builder
	for len(data) > 0 {
		n := min(len(data), 65516)
		b.WriteString(pkt(data[:n]))
		data = data[n:]
	}
	return b.String() + "0000"
}

// serve lets a filter answer input, and returns what it wrote and logged.
func serve(input string) (output, logged string, err error) {
	return serveWith(input, true)
}

func serveWith(input string, canDelay bool) (output, logged string, err error) {
	var out, logs bytes.Buffer
	f := newFilter(strings.NewReader(input), &out, log.New(&logs, "", 0))
	f.canDelay = canDelay
	err = f.serve()
	return out.String(), logs.String(), err
}

func random(seed uint64, size int) string {
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return string(b)
}

func TestGolden(t *testing.T) {
	corrupt := strings.Replace(stored, "hi\n", "ho\n", 1)
	for _, tt := range []struct{ name, input, output, logged string }{
		{"nothing to do", hello, helloAnswer, ""},
		{
			"more is offered",
			"0016git-filter-client\n" + "000eversion=1\n" + "000eversion=2\n" + "000fversion=42\n" + "0000" +
				"0015capability=delay\n" + "0020capability=not-yet-invented\n" + "0015capability=clean\n" + "0000",
			"0016git-filter-server\n" + "000eversion=2\n" + "0000" +
				"0015capability=delay\n" + "0015capability=clean\n" + "0000",
			"",
		},
		{
			"less is offered",
			"0016git-filter-client\n" + "000eversion=2\n" + "0000" + "0000",
			"0016git-filter-server\n" + "000eversion=2\n" + "0000" + "0000",
			"",
		},
		{
			"no newlines",
			"0015git-filter-client" + "000dversion=2" + "0000" + "0015capability=smudge" + "0000" +
				"0012command=smudge" + "000epathname=x" + "0000" + "0007abc" + "0000",
			"0016git-filter-server\n" + "000eversion=2\n" + "0000" + "0016capability=smudge\n" + "0000" +
				success + "0007abc" + "0000" + "0000",
			"",
		},
		{
			"stored",
			hello + smudgeX + content(stored),
			helloAnswer + success + "0007hi\n" + "0000" + "0000",
			"",
		},
		{
			"in small packets",
			hello + smudgeX + pkt(stored[:1]) + "0004" + pkt(stored[1:20]) + content(stored[20:]),
			helloAnswer + success + "0007hi\n" + "0000" + "0000",
			"",
		},
		{
			"not stored by the filter",
			hello + smudgeX + "000cas it is" + "0000",
			helloAnswer + success + "000cas it is" + "0000" + "0000",
			"",
		},
		{
			"cut off in its header",
			hello + smudgeX + content(stored[:12]),
			helloAnswer + success + content(stored[:12]) + "0000",
			"",
		},
		{
			"empty",
			hello + smudgeX + "0000",
			helloAnswer + success + "0000" + "0000",
			"",
		},
		{
			"corrupt",
			hello + smudgeX + content(corrupt),
			helloAnswer + success + "0007ho\n" + "0000" + failure,
			"smudge \"x\": the stored blob is corrupt: gzip: invalid checksum\n",
		},
		{
			"cut off",
			hello + smudgeX + content(stored[:len(stored)-3]),
			helloAnswer + success + "0007hi\n" + "0000" + failure,
			"smudge \"x\": the stored blob is corrupt: unexpected EOF\n",
		},
		{
			"the next blob after a corrupt one",
			hello + smudgeX + content(storedHead+"\xff") + smudgeX + content(stored),
			helloAnswer + success + "0000" + failure + success + "0007hi\n" + "0000" + "0000",
			"smudge \"x\": the stored blob is corrupt: flate: corrupt input before offset 1\n",
		},
		{
			"odd pathname, unknown keys",
			hello + "0013command=smudge\n" + pkt("treeish=HEAD\n") + pkt("pathname=a=b\n\x1b[31m\n") + "0000" + content(corrupt),
			helloAnswer + success + "0007ho\n" + "0000" + failure,
			"smudge \"a=b\\n\\x1b[31m\": the stored blob is corrupt: gzip: invalid checksum\n",
		},
		{"nothing is delayed", hello + list, helloAnswer + listNone, ""},
		{
			"too small for a delay",
			hello + "0013command=smudge\n" + "000fpathname=x\n" + "0010can-delay=1\n" + "0000" + content(stored),
			helloAnswer + success + "0007hi\n" + "0000" + "0000",
			"",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			output, logged, err := serve(tt.input)
			if err != nil {
				t.Error(err)
			}
			if output != tt.output {
				t.Errorf("output %q\nwant   %q", output, tt.output)
			}
			if logged != tt.logged {
				t.Errorf("log %q\nwant %q", logged, tt.logged)
			}
		})
	}
}

// What clean makes is a gzip file with the comment and nothing else that could
// change, and the same each time.
func TestClean(t *testing.T) {
	request := "0012command=clean\n" + "000fpathname=x\n" + "0000" + "0007hi\n" + "0000"
	output, logged, err := serve(hello + request + request)
	if err != nil || logged != "" {
		t.Fatal(err, logged)
	}
	packets := split(t, strings.TrimPrefix(output, helloAnswer))
	want := []string{"status=success\n", "", packets[2], "", ""}
	if !slices.Equal(packets, append(want, want...)) {
		t.Errorf("packets %q", packets)
	}
	if blob := packets[2]; !strings.HasPrefix(blob, storedHead) {
		t.Errorf("the blob is %q", blob)
	}
}

// split returns the data of packets, with "" for flush packets.
func split(t *testing.T, stream string) (packets []string) {
	t.Helper()
	for len(stream) > 0 {
		var n uint64
		var err error
		if len(stream) >= 4 {
			n, err = strconv.ParseUint(stream[:4], 16, 16)
		}
		switch {
		case len(stream) < 4 || err != nil || n > 0 && n < 5 || n > 65520 || int(n) > len(stream):
			t.Fatalf("no packet: %.20q", stream)
		case n == 0:
			n = 4
		}
		packets = append(packets, stream[4:n])
		stream = stream[n:]
	}
	return packets
}

// ask makes a smudge request that allows a delay, or not.
func ask(pathname, blob string, canDelay bool) string {
	r := pkt("command=smudge\n") + pkt("pathname="+pathname+"\n")
	if canDelay {
		r += pkt("can-delay=1\n")
	}
	return r + "0000" + content(blob)
}

// blobOf returns the blob that is stored for a file.
func blobOf(t testing.TB, file string) string {
	t.Helper()
	var b bytes.Buffer
	if err := compress(newCompressor(), &b, strings.NewReader(file)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const delayedAnswer = "0013status=delayed\n" + "0000"

func TestDelayed(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	file := random(1, 300_000) // needs temporary files
	other := random(2, delayFrom)
	large, raw := blobOf(t, file), other // other is not stored by the filter
	corrupt := large[:len(large)-1]
	sent := func(data string) string { return success + content(data) + "0000" }
	available := func(pathnames ...string) string {
		var b strings.Builder
		for _, p := range pathnames {
			b.WriteString(pkt("pathname=" + p + "\n"))
		}
		return b.String() + "0000" + success
	}
	const missing = "smudge \"x\": the stored blob is corrupt: unexpected EOF\n"

	for _, tt := range []struct{ name, input, output, logged string }{
		{
			"fetched",
			ask("x", large, true) + list + ask("x", "", false) + list,
			delayedAnswer + available("x") + sent(file) + listNone,
			"",
		},
		{
			"fetched, not stored by the filter",
			ask("x", raw, true) + list + ask("x", "", false) + list,
			delayedAnswer + available("x") + sent(other) + listNone,
			"",
		},
		{
			"fetched before it is listed",
			ask("x", large, true) + ask("x", "", false) + list,
			delayedAnswer + sent(file) + listNone,
			"",
		},
		{"never fetched", ask("x", large, true), delayedAnswer, ""},
		{"listed and never fetched", ask("x", large, true) + list + list, delayedAnswer + available("x") + listNone, ""},
		{
			"given up for another blob",
			ask("x", large, true) + ask("x", raw, true) + list + ask("x", "", false) + list,
			delayedAnswer + delayedAnswer + available("x") + sent(other) + listNone,
			"",
		},
		{
			"given up for an empty blob",
			ask("x", large, true) + ask("x", "", true) + list,
			delayedAnswer + sent("") + listNone,
			"",
		},
		{
			"given up for a blob at once",
			ask("x", large, true) + ask("x", raw, false) + list,
			delayedAnswer + sent(other) + listNone,
			"",
		},
		{"fetched, and not delayed", ask("x", "", false), sent(""), ""},
		{"corrupt", ask("x", corrupt, true) + list, delayedAnswer + listNone, missing},
		{
			"corrupt, and another",
			ask("x", corrupt, true) + ask("y", large, true) + list + ask("y", "", false) + list,
			delayedAnswer + delayedAnswer + available("y") + sent(file) + listNone,
			missing,
		},
		{"corrupt, and fetched before it is listed", ask("x", corrupt, true) + ask("x", "", false), delayedAnswer + failure, missing},
		{"not allowed", ask("x", large, false), sent(file), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			output, logged, err := serve(hello + tt.input)
			if err != nil {
				t.Error(err)
			}
			if output = strings.TrimPrefix(output, helloAnswer); output != tt.output {
				t.Errorf("output of %d bytes that is not the %d bytes expected: %.300q", len(output), len(tt.output), output)
			}
			if logged != tt.logged {
				t.Errorf("log %q\nwant %q", logged, tt.logged)
			}
		})
	}
}

// Without a delay, it is not even offered.
func TestNoDelay(t *testing.T) {
	file := random(1, 2*delayFrom)
	output, logged, err := serveWith(hello+ask("x", blobOf(t, file), true), false)
	if err != nil || logged != "" {
		t.Error(err, logged)
	}
	want := strings.Replace(helloAnswer, "0015capability=delay\n", "", 1) + success + content(file) + "0000"
	if output != want {
		t.Errorf("output of %d bytes that is not the %d bytes expected: %.300q", len(output), len(want), output)
	}
}

// However many blobs may be delayed, there are no more than there is room for,
// and each comes once.
func TestManyDelayed(t *testing.T) {
	const n = 2 * maxDelayed
	var input strings.Builder
	input.WriteString(hello)
	for i := range n {
		input.WriteString(ask(strconv.Itoa(i), random(uint64(i), delayFrom), true))
	}
	input.WriteString(strings.Repeat(list, maxDelayed+1))
	output, logged, err := serve(input.String())
	if err != nil || logged != "" {
		t.Error(err, logged)
	}
	if got := strings.Count(output, delayedAnswer); got != maxDelayed {
		t.Errorf("%d blobs were delayed, want %d", got, maxDelayed)
	}
	for i := range n {
		file := content(random(uint64(i), delayFrom))
		if sent, want := strings.Contains(output, file), i >= maxDelayed; sent != want {
			t.Errorf("blob %d was sent: %v, want %v", i, sent, want)
		}
		pathname := pkt(fmt.Sprintf("pathname=%d\n", i))
		if listed, want := strings.Count(output, pathname), i < maxDelayed; listed > 1 || (listed == 1) != want {
			t.Errorf("blob %d was listed %d times, want %v", i, listed, want)
		}
	}
	if !strings.HasSuffix(output, listNone) {
		t.Error("the last list is not empty")
	}
}

func TestBadInput(t *testing.T) {
	for _, tt := range []struct{ name, input, want string }{
		{"nothing", "", "handshake: unexpected EOF"},
		{"garbage", "GET / HTTP/1.1\r\n\r\n", "handshake: pktline: "},
		{"header of a packet too large", "fff5", "handshake: pktline: "},
		{"empty list", "0000", `handshake: the welcome message is "", not "git-filter-client"`},
		{"another welcome message", "0016git-filter-server\n000eversion=2\n0000", `handshake: the welcome message is "git-filter-server", not`},
		{"long welcome message", pkt(strings.Repeat("x", 65516)) + "0000", `handshake: the welcome message is "` + strings.Repeat("x", 60) + `", not`},
		{"no version", "0016git-filter-client\n0000", "handshake: version 2 of the protocol is not offered"},
		{"another version", "0016git-filter-client\n000fversion=42\n0000", "handshake: version 2 of the protocol is not offered"},
		{"delim packet", "0016git-filter-client\n0001", "handshake: a delim packet in a list"},
		{"no capabilities", "0016git-filter-client\n000eversion=2\n0000", "handshake: unexpected EOF"},
		{"no key", hello + "000ahello\n0000", `request: "hello" is not of the form key=value`},
		{"empty packet", hello + "00040000", `request: "" is not of the form key=value`},
		{"no command", hello + "000fpathname=x\n0000", `request: unknown command ""`},
		{"empty request", hello + "0000", `request: unknown command ""`},
		{"unknown command", hello + pkt("command=diff\n") + "000fpathname=x\n0000", `request: unknown command "diff"`},
		{"request cut off", hello + "0013command=smudge\n", "request: unexpected EOF"},
		{"no pathname", hello + "0013command=smudge\n0000" + "0000", "request: smudge without a pathname"},
		{"content is missing", hello + smudgeX, `smudge "x": unexpected EOF`},
		{"content cut off", hello + smudgeX + "0009he", `smudge "x": unexpected EOF`},
		{"content without an end", hello + smudgeX + "0009hello", `smudge "x": unexpected EOF`},
		{"content with a delim packet", hello + smudgeX + "0009hello0001", `smudge "x": pktline: a delim packet inside a message`},
		{"file without an end", hello + "0012command=clean\n000fpathname=x\n0000" + "0009hello", `clean "x": unexpected EOF`},
		{"garbage in a file", hello + "0012command=clean\n000fpathname=x\n0000" + "0009helloworld", `clean "x": pktline: `},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, logged, err := serve(tt.input)
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if logged != "" {
				t.Errorf("log %q", logged)
			}
		})
	}
}

// Wherever the stream ends, the filter does, and in order only between
// requests.
func TestCutOff(t *testing.T) {
	parts := []string{
		hello,
		smudgeX + content(stored),
		"0012command=clean\n" + "000fpathname=x\n" + "0000" + "0007hi\n" + "0000",
		list,
	}
	whole := make(map[int]bool) // the lengths without a part that is cut off
	input := ""
	for _, p := range parts {
		input += p
		whole[len(input)] = true
	}
	for n := range len(input) + 1 {
		if _, _, err := serve(input[:n]); (err == nil) != whole[n] {
			t.Errorf("%q: %v", input[:n], err)
		}
	}
}

// Git may go away while it is answered.
func TestNobodyReads(t *testing.T) {
	r, w := io.Pipe()
	r.Close()
	f := newFilter(strings.NewReader(hello), w, log.New(io.Discard, "", 0))
	if err := f.serve(); err == nil || err.Error() != "handshake: io: read/write on closed pipe" {
		t.Errorf("error %v", err)
	}
	in := hello + smudgeX + content(stored)
	all, _, err := serve(in)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(all) {
		f := newFilter(strings.NewReader(in), &limited{n}, log.New(io.Discard, "", 0))
		f.canDelay = true
		if err := f.serve(); err == nil || !strings.HasSuffix(err.Error(), io.ErrShortWrite.Error()) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// A limited writer fails when it has taken its number of bytes.
type limited struct{ left int }

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	if n < len(p) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

// Whatever Git may send, the filter ends, and writes only packets.
func FuzzServe(f *testing.F) {
	f.Add(smudgeX + content(stored) + list)
	f.Add("0012command=clean\n" + "000fpathname=x\n" + "0000" + "0007hi\n" + "0000")
	f.Add(ask("x", stored, true) + "0000")
	f.Fuzz(func(t *testing.T, input string) {
		output, _, _ := serve(hello + input)
		split(t, output)
	})
}
