package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// A document is all that a run has found out.
type document struct {
	Date     time.Time
	Args     []string
	Machine  machine
	Rounds   int
	Time     time.Duration
	Others   float64         // the part of the CPUs' time that other processes used
	Results  []result        `json:",omitempty"`
	Idle     []idleResult    `json:",omitempty"`
	Commands []commandResult `json:",omitempty"`
	Growth   []growthResult  `json:",omitempty"`
}

// tooBusy is how much other processes may use.
const tooBusy = 0.05

// markdown returns the report.
func (d *document) markdown() string {
	var b strings.Builder
	b.WriteString("# Simple IPC beside its peers\n\n")
	d.writeCircumstances(&b)
	if len(d.Results) > 0 {
		d.writeOverview(&b)
		d.writeCases(&b)
	}
	d.writeIdle(&b)
	d.writeCommands(&b)
	d.writeGrowth(&b)
	return b.String()
}

func (d *document) writeCircumstances(b *strings.Builder) {
	others := "unknown"
	if d.Others >= 0 {
		others = fmt.Sprintf("%.0f%% of the CPUs' time", 100*d.Others)
	}
	writeTable(b, []string{"", ""}, [][]string{
		{"date", d.Date.UTC().Format("2 January 2006")},
		{"machine", fmt.Sprintf("%d CPUs, %s, %s", d.Machine.CPUs, d.Machine.CPU, d.Machine.System)},
		{"Go", d.Machine.Go},
		{"libraries", strings.Join(d.Machine.Libraries, ", ")},
		{"command", strings.TrimSpace("go run -C bench . " + strings.Join(d.Args, " "))},
		{"measured", fmt.Sprintf("%d rounds, %v for each figure", d.Rounds, d.Time)},
		{"other processes used", others},
	})
	if d.Others > tooBusy {
		b.WriteString("**The machine was busy with other things: these figures are not worth keeping.**\n\n")
	}
}

// A series is the rounds of one contender in one case.
type series []result

// series returns the rounds without errors, in their order.
func (d *document) series(c, peer string) series {
	var s series
	for _, r := range d.Results {
		if r.Case == c && r.Peer == peer && r.Error == "" {
			s = append(s, r)
		}
	}
	return s
}

// each returns the spread of a figure over the rounds.
func (s series) each(f func(result) float64) spread {
	var values []float64
	for _, r := range s {
		values = append(values, f(r))
	}
	return newSpread(values)
}

// over returns the spread of the figure's ratio to that of base in the same
// round.
func (s series) over(base series, f func(result) float64) spread {
	var ratios []float64
	for _, r := range s {
		for _, other := range base {
			if other.Round == r.Round && f(other) > 0 {
				ratios = append(ratios, f(r)/f(other))
			}
		}
	}
	return newSpread(ratios)
}

// Figures of a result.
func latency(r result) float64 { return r.P50 }
func rate(r result) float64    { return r.Rate }

// exchangeTime is what the overview and the chart compare: with one caller the
// median latency, with several the time of the run over the number of
// exchanges. It is in microseconds.
func exchangeTime(b benchCase) func(result) float64 {
	if b.Callers == 1 {
		return latency
	}
	return func(r result) float64 { return 1e6 / r.Rate }
}

// A spread is the median of some values, and where most of them are.
type spread struct {
	n             int
	p10, p50, p90 float64
}

func newSpread(values []float64) spread {
	slices.Sort(values)
	return spread{len(values), quantile(values, 0.1), quantile(values, 0.5), quantile(values, 0.9)}
}

// median and most format parts of a spread; nothing if there are no values.
func (s spread) median(format func(float64) string) string {
	if s.n == 0 {
		return ""
	}
	return format(s.p50)
}

func (s spread) most(format func(float64) string) string {
	if s.n < 2 {
		return ""
	}
	low, high := format(s.p10), format(s.p90)
	if number, unit, ok := strings.Cut(low, " "); ok && strings.HasSuffix(high, " "+unit) {
		low = number
	}
	return low + "–" + high
}

// cases returns the cases that were measured.
func (d *document) cases() []benchCase {
	var found []benchCase
	for _, b := range allCases() {
		if slices.ContainsFunc(d.Results, func(r result) bool { return r.Case == b.name() }) {
			found = append(found, b)
		}
	}
	return found
}

// peers returns the contenders that were measured in any of the cases.
func (d *document) peers(cases ...benchCase) []string {
	var found []string
	for _, c := range contenders {
		if slices.ContainsFunc(d.Results, func(r result) bool {
			return r.Peer == c.name && slices.ContainsFunc(cases, func(b benchCase) bool { return r.Case == b.name() })
		}) {
			found = append(found, c.name)
		}
	}
	return found
}

func (d *document) writeOverview(b *strings.Builder) {
	b.WriteString("## Overview\n\n" +
		"How long an exchange takes, as a multiple of what it takes over a bare `" + baseline + ".Conn`, and in the last\n" +
		"column what that is. With one caller the time is the median latency; with several it is the time\n" +
		"of the run over the number of exchanges. The multiples are medians of the rounds'.\n\n")
	cases := d.cases()
	peers := slices.DeleteFunc(d.peers(cases...), func(p string) bool { return p == baseline })
	var rows [][]string
	for _, c := range cases {
		row := []string{"`" + c.name() + "`"}
		base := d.series(c.name(), baseline)
		for _, p := range peers {
			row = append(row, d.series(c.name(), p).over(base, exchangeTime(c)).median(times))
		}
		rows = append(rows, append(row, base.each(exchangeTime(c)).median(duration)))
	}
	writeTable(b, append(append([]string{"case"}, peers...), baseline), rows)

	b.WriteString("| peer | |\n| --- | --- |\n")
	for _, c := range contenders {
		if c.name == baseline || slices.Contains(peers, c.name) {
			fmt.Fprintf(b, "| %s | %s |\n", c.name, c.about)
		}
	}
	b.WriteString("\n")
}

func (d *document) writeCases(b *strings.Builder) {
	b.WriteString("## Each case\n\n" +
		"Figures are medians of the rounds, and 10–90% is where most rounds are. Allocations and CPU time\n" +
		"are per exchange, of client and server. The multiples compare with `" + baseline + "` in the same round.\n\n")
	for _, c := range d.cases() {
		fmt.Fprintf(b, "### %s\n\n`%s`\n\n", c.title(), c.name())
		isLarge := c.largest() >= mib
		header := []string{"peer", "latency", "10–90%", "99%", "÷ " + baseline, "10–90%", "exchanges/s", "÷ " + baseline, "allocations", "CPU", "÷ " + baseline}
		if isLarge {
			header = append(header, "MiB/s", "peak memory")
		}
		base := d.series(c.name(), baseline)
		var rows [][]string
		for _, p := range d.peers(c) {
			s := d.series(c.name(), p)
			both := func(f func(cost) float64, format func(float64) string) string {
				return s.each(func(r result) float64 { return f(r.Client) }).median(format) + " + " +
					s.each(func(r result) float64 { return f(r.Server) }).median(format)
			}
			if len(s) == 0 {
				rows = append(rows, append([]string{p, "failed"}, make([]string, len(header)-2)...))
				continue
			}
			ratio := s.over(base, latency)
			row := []string{
				p,
				s.each(latency).median(duration), s.each(latency).most(duration),
				s.each(func(r result) float64 { return r.P99 }).median(duration),
				ratio.median(times), ratio.most(times),
				s.each(rate).median(number), s.over(base, rate).median(times),
				both(func(c cost) float64 { return c.Allocs }, count),
				both(func(c cost) float64 { return c.CPU }, duration), s.over(base, bothCPU).median(times),
			}
			if isLarge {
				row = append(row,
					s.each(func(r result) float64 { return r.Rate * float64(c.Request+c.Response) / mib }).median(number),
					both(func(c cost) float64 { return float64(c.PeakRSS) / mib }, number)+" MiB")
			}
			rows = append(rows, row)
		}
		writeTable(b, header, rows)
	}
}

func (d *document) writeIdle(b *strings.Builder) {
	if len(d.Idle) == 0 {
		return
	}
	b.WriteString("## Idle connections\n\n" +
		"The server's resident memory with connections that have made one exchange and stay open, after a\n" +
		"garbage collection, and the latency of 16 bytes each way on another connection meanwhile. The kernel's\n" +
		"memory is not in it. For each is the growth since the smallest number.\n\n")
	var rows [][]string
	for _, r := range d.Idle {
		if r.Error != "" {
			rows = append(rows, []string{r.Peer, fmt.Sprint(r.Connections), "failed", "", ""})
			continue
		}
		row := []string{r.Peer, fmt.Sprint(r.Connections), number(float64(r.RSS)/mib) + " MiB", "", duration(r.P50)}
		for _, first := range d.Idle {
			if first.Peer == r.Peer && first.Error == "" {
				if r.Connections > first.Connections {
					row[3] = fmt.Sprintf("%.1f KiB", float64(r.RSS-first.RSS)/float64(r.Connections-first.Connections)/1024)
				}
				break
			}
		}
		rows = append(rows, row)
	}
	writeTable(b, []string{"peer", "connections", "memory", "for each", "latency"}, rows)
}

func (d *document) writeCommands(b *strings.Builder) {
	if len(d.Commands) == 0 {
		return
	}
	b.WriteString("## Commands\n\n" +
		"From the start of a process to its end, seen from outside. Each is compared with the first of its\n" +
		"group in the same round.\n\n")
	var rows [][]string
	for _, group := range distinct(d.Commands, func(r commandResult) string { return r.Group }) {
		inGroup := slices.DeleteFunc(slices.Clone(d.Commands), func(r commandResult) bool { return r.Group != group })
		names := distinct(inGroup, func(r commandResult) string { return r.Command })
		seconds := map[string]map[int]float64{}
		for _, r := range inGroup {
			if seconds[r.Command] == nil {
				seconds[r.Command] = map[int]float64{}
			}
			seconds[r.Command][r.Round] = r.Seconds
		}
		for i, name := range names {
			var took, cpu, ratios []float64
			exchanges := 1
			for _, r := range inGroup {
				if r.Command == name {
					took = append(took, 1e6*r.Seconds)
					cpu = append(cpu, 1e6*r.CPU)
					ratios = append(ratios, r.Seconds/seconds[names[0]][r.Round])
					exchanges = r.Exchanges
				}
			}
			t, ratio := newSpread(took), newSpread(ratios)
			row := []string{group, name, t.median(duration), t.most(duration), "", newSpread(cpu).median(duration), ratio.median(times), ratio.most(times)}
			if exchanges > 1 {
				row[4] = duration(t.p50 / float64(exchanges))
			}
			if i > 0 {
				row[0] = ""
			}
			rows = append(rows, row)
		}
	}
	writeTable(b, []string{"what", "command", "time", "10–90%", "each exchange", "CPU", "÷ first", "10–90%"}, rows)
}

// distinct returns the different values of f, in their order.
func distinct[T any](all []T, f func(T) string) []string {
	var found []string
	for _, v := range all {
		if s := f(v); !slices.Contains(found, s) {
			found = append(found, s)
		}
	}
	return found
}

// writeTable writes a table in Markdown that can be read as it is, too.
func writeTable(b *strings.Builder, header []string, rows [][]string) {
	widths := make([]int, len(header))
	for _, row := range append([][]string{header}, rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell), 3)
		}
	}
	line := func(row []string) {
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i > 0 && len(header) > 2 {
				b.WriteString("| " + pad + cell + " ")
			} else {
				b.WriteString("| " + cell + pad + " ")
			}
		}
		b.WriteString("|\n")
	}
	line(header)
	for i, w := range widths {
		if i > 0 && len(header) > 2 {
			b.WriteString("| " + strings.Repeat("-", w-1) + ": ")
		} else {
			b.WriteString("| " + strings.Repeat("-", w) + " ")
		}
	}
	b.WriteString("|\n")
	for _, row := range rows {
		line(row)
	}
	b.WriteString("\n")
}

// duration formats microseconds.
func duration(us float64) string {
	switch {
	case us >= 1e6:
		return number(us/1e6) + " s"
	case us >= 1e3:
		return number(us/1e3) + " ms"
	}
	return number(us) + " µs"
}

// times formats a ratio.
func times(ratio float64) string {
	if ratio < 10 {
		return fmt.Sprintf("%.2f", ratio)
	}
	return number(ratio)
}

// count formats a number of things per exchange.
func count(n float64) string {
	if n >= 100 {
		return number(n)
	}
	return fmt.Sprintf("%.1f", n)
}

// number formats with three significant digits, or as an integer.
func number(v float64) string {
	switch {
	case v == 0:
		return "0"
	case math.Abs(v) >= 100:
		return fmt.Sprintf("%.0f", v)
	case math.Abs(v) >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
