package main

import (
	"context"
	"fmt"
	"image/color"
	"math"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// How cost grows is measured along three axes, one at a time.

// A growthAxis is one of them.
type growthAxis struct {
	name  string // of what grows
	about string
	label func(int) string
	peers []string
	at    []int
	of    func(n int) benchCase
}

var growthAxes = []growthAxis{
	{
		name: "connections", about: "8 callers, or as many as there are connections, use all connections in turn; 16 bytes each way",
		label: func(n int) string { return fmt.Sprint(n) },
		peers: []string{ours, baseline},
		at:    []int{1, 10, 100, 1000, 10000},
		of: func(n int) benchCase {
			return benchCase{Callers: min(n, 8), Connections: n, exchange: exchange{Request: small, Response: small}}
		},
	},
	{
		name: "message", about: "1 caller on a kept connection, on the server's CPU where that can be had; the same number of bytes each way",
		label: size,
		peers: []string{ours, baseline},
		at:    []int{1, 16, 256, 4 << 10, 64 << 10, mib, 10 * mib, huge},
		of: func(n int) benchCase {
			return benchCase{Callers: 1, OneCPU: canPin, exchange: exchange{Request: n, Response: n}}
		},
	},
	{
		name: "workers", about: "64 callers on connections of their own, 16 bytes each way",
		label: func(n int) string { return fmt.Sprint(n) },
		peers: []string{ours},
		at:    []int{1, 2, 4, 8, 16, 32, 64},
		of: func(n int) benchCase {
			return benchCase{Callers: 64, exchange: exchange{Request: small, Response: small, Workers: n}}
		},
	},
}

// A growthResult is one measurement along an axis.
type growthResult struct {
	Axis string
	At   int
	result
}

// grow measures all points of all axes in each round.
func (r *runner) grow(ctx context.Context) {
	for round := range r.doc.Rounds {
		for _, a := range growthAxes {
			for _, n := range a.at {
				if !r.allows(a.of(n).Connections) {
					continue
				}
				for _, peer := range a.peers {
					c, _ := findContender(peer)
					m, ok := r.measure(ctx, c, a.of(n), round+1)
					if !ok {
						return
					}
					r.note("growth: round %d of %d, %s %s, %s: %s", m.Round, r.doc.Rounds, a.name, a.label(n), peer, duration(m.P50))
					r.doc.Growth = append(r.doc.Growth, growthResult{a.name, n, m})
				}
			}
		}
	}
}

// growthSeries returns the rounds at one point.
func (d *document) growthSeries(axis string, at int, peer string) series {
	var s series
	for _, g := range d.Growth {
		if g.Axis == axis && g.At == at && g.Peer == peer && g.Error == "" {
			s = append(s, g.result)
		}
	}
	return s
}

func (d *document) writeGrowth(b *strings.Builder) {
	if len(d.Growth) == 0 {
		return
	}
	b.WriteString("## How cost grows\n\nMedians of the rounds. CPU time is that of client and server together, for each exchange.\n\n")
	for _, a := range growthAxes {
		fmt.Fprintf(b, "### %s\n\n%s.\n\n", strings.ToUpper(a.name[:1])+a.name[1:], a.about)
		header := []string{a.name}
		for _, p := range a.peers {
			header = append(header, p+", latency", "exchanges/s", "CPU", "server's peak memory")
		}
		var rows [][]string
		for _, n := range a.at {
			row := []string{a.label(n)}
			for _, p := range a.peers {
				s := d.growthSeries(a.name, n, p)
				row = append(row, s.each(latency).median(duration), s.each(rate).median(number), s.each(bothCPU).median(duration),
					s.each(func(r result) float64 { return float64(r.Server.PeakRSS) / mib }).median(number)+" MiB")
			}
			rows = append(rows, row)
		}
		writeTable(b, header, rows)
	}
}

func bothCPU(r result) float64 { return r.Client.CPU + r.Server.CPU }

// growthChart returns an SVG picture of the growth, or nil if it was not
// measured.
func (d *document) growthChart() ([]byte, error) {
	if len(d.Growth) == 0 {
		return nil, nil
	}
	var panels []*plot.Plot
	for _, a := range growthAxes {
		p, err := d.lines(a)
		if err != nil {
			return nil, err
		}
		panels = append(panels, p)
	}
	return tile("Solid: latency. Dashed: CPU time of client and server for each exchange.", panels, 3, 300, 250)
}

// lines returns one panel.
func (d *document) lines(a growthAxis) (*plot.Plot, error) {
	p := newPlot("By " + a.name)
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker = pointTicks{a}
	p.Y.Tick.Marker = decades{}
	p.Legend.Top, p.Legend.Left, p.Legend.Padding = true, true, 3
	grid := plotter.NewGrid()
	grid.Vertical.Width, grid.Horizontal.Color, grid.Horizontal.Width = 0, muted, 0.25
	p.Add(grid)
	for _, peer := range a.peers {
		for _, figure := range []struct {
			name string
			of   func(result) float64
			dash []vg.Length
		}{{"latency", latency, nil}, {"CPU time", bothCPU, []vg.Length{3, 2}}} {
			var points plotter.XYs
			for _, n := range a.at {
				if s := d.growthSeries(a.name, n, peer); len(s) > 0 {
					if v := s.each(figure.of).p50; v > 0 {
						points = append(points, plotter.XY{X: float64(n), Y: v})
					}
				}
			}
			if len(points) == 0 {
				continue
			}
			line, err := plotter.NewLine(points)
			if err != nil {
				return nil, err
			}
			line.Width, line.Dashes, line.Color = 1.5, figure.dash, color.Color(muted)
			if peer == ours {
				line.Color = accent
			}
			p.Add(line)
			p.Legend.Add(peer+", "+figure.name, line)
		}
	}
	p.Y.Min = math.Pow10(int(math.Floor(math.Log10(p.Y.Min))))
	p.Y.Max = math.Pow10(int(math.Ceil(math.Log10(p.Y.Max))) + 1) // room for the legend
	return p, nil
}

// pointTicks label an axis at some of the points that were measured.
type pointTicks struct{ growthAxis }

func (t pointTicks) Ticks(lowest, highest float64) []plot.Tick {
	var ticks []plot.Tick
	for _, n := range t.at {
		if v := float64(n); v >= lowest && v <= highest {
			ticks = append(ticks, plot.Tick{Value: v, Label: t.label(n)})
		}
	}
	if len(ticks) > 7 { // the names of sizes are long
		for i := range ticks {
			if i%2 == 1 && i != len(ticks)-1 || i == len(ticks)-2 {
				ticks[i].Label = ""
			}
		}
	}
	return ticks
}

// decades label an axis of microseconds at the powers of ten.
type decades struct{}

func (decades) Ticks(lowest, highest float64) []plot.Tick {
	var ticks []plot.Tick
	for i, name := range []string{"1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s", "10 s", "100 s"} {
		v := math.Pow10(i)
		if v >= lowest && v <= highest {
			ticks = append(ticks, plot.Tick{Value: v, Label: name})
		}
	}
	return ticks
}
