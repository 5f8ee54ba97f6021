package main

import (
	"bytes"
	"image/color"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Colours of charts. They can be read on white and on black; ink becomes the
// colour of text, whichever that is.
var (
	ink    = color.RGBA{1, 2, 3, 255}
	accent = color.RGBA{0x2f, 0x81, 0xf7, 255}
	muted  = color.RGBA{0x8b, 0x94, 0x9e, 255}
)

// chartCases are the cases in the chart, in rows of two.
var chartCases = []string{
	"kept/1cpu/16B", "new/1cpu/16B",
	"kept/8/16B", "new/8/16B",
	"kept/1/10MiB-request", "kept/1/10MiB-response",
	"kept/1/10MiB-request/streamed", "kept/1/10MiB-response/streamed",
}

// chart returns an SVG picture of the most telling cases, or nil if none of
// them was measured.
func (d *document) chart() ([]byte, error) {
	var panels []*plot.Plot
	for _, b := range d.cases() {
		if slices.Contains(chartCases, b.name()) {
			p, err := d.bars(b)
			if err != nil {
				return nil, err
			}
			panels = append(panels, p)
		}
	}
	return tile("Time for each exchange. Shorter is better.", panels, 2, 380, 200)
}

// bars returns one panel: how long an exchange takes with each peer.
func (d *document) bars(b benchCase) (*plot.Plot, error) {
	p := newPlot(b.title())
	peers := d.peers(b)
	slices.Reverse(peers) // the first is at the top
	var all, our plotter.Values
	var labels plotter.XYLabels
	longest := 0.0
	for i, peer := range peers {
		v := d.series(b.name(), peer).each(exchangeTime(b)).p50
		longest = max(longest, v)
		if strings.HasPrefix(peer, ours) {
			our, all = append(our, v), append(all, 0)
		} else {
			our, all = append(our, 0), append(all, v)
		}
		labels.XYs = append(labels.XYs, plotter.XY{X: v, Y: float64(i)})
		labels.Labels = append(labels.Labels, " "+duration(v))
	}
	for _, s := range []struct {
		values plotter.Values
		color  color.Color
	}{{all, muted}, {our, accent}} {
		bars, err := plotter.NewBarChart(s.values, 11)
		if err != nil {
			return nil, err
		}
		bars.Horizontal, bars.Color, bars.LineStyle.Width = true, s.color, 0
		p.Add(bars)
	}
	l, err := plotter.NewLabels(labels)
	if err != nil {
		return nil, err
	}
	for i := range l.TextStyle {
		l.TextStyle[i].Color = ink
		l.TextStyle[i].Font = sans(9)
		l.TextStyle[i].YAlign = text.YCenter
	}
	p.Add(l)
	p.NominalY(peers...)
	p.Y.Tick.Width, p.Y.Width = 0, 0
	p.HideX()
	p.X.Min, p.X.Max = 0, 1.25*longest // room for the labels
	return p, nil
}

// newPlot returns an empty plot in our style.
func newPlot(title string) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	p.Title.Text = title
	p.Title.Padding = 6
	p.Title.TextStyle.Font = sans(10)
	for _, s := range []*text.Style{&p.Title.TextStyle, &p.Legend.TextStyle} {
		s.Color = ink
	}
	p.Legend.TextStyle.Font = sans(9)
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Color, a.Tick.Color, a.Tick.Label.Color, a.Label.TextStyle.Color = ink, ink, ink, ink
		a.Tick.Label.Font, a.Label.TextStyle.Font = sans(9), sans(9)
	}
	return p
}

func sans(size font.Length) font.Font {
	return font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
}

// tile draws plots in rows, below a caption, as one SVG picture.
func tile(caption string, plots []*plot.Plot, columns int, width, height vg.Length) ([]byte, error) {
	if len(plots) == 0 {
		return nil, nil
	}
	columns = min(columns, len(plots))
	var rows [][]*plot.Plot
	for row := range slices.Chunk(plots, columns) {
		rows = append(rows, append(row, make([]*plot.Plot, columns-len(row))...))
	}
	const top = 32
	c := vgsvg.New(width*vg.Length(columns), height*vg.Length(len(rows))+top)
	all := draw.New(c)
	all.FillText(text.Style{Color: ink, Font: sans(11), XAlign: text.XCenter, YAlign: text.YTop, Handler: plot.DefaultTextHandler},
		vg.Point{X: all.Center().X, Y: all.Max.Y - 6}, caption)
	tiles := draw.Tiles{
		Rows: len(rows), Cols: columns,
		PadX: 24, PadY: 18, PadTop: top, PadBottom: 8, PadLeft: 8, PadRight: 8,
	}
	for i, row := range plot.Align(rows, tiles, all) {
		for k, at := range row {
			if p := rows[i][k]; p != nil {
				p.Draw(at)
			}
		}
	}
	var buf bytes.Buffer
	if _, err := c.WriteTo(&buf); err != nil {
		return nil, err
	}
	return adapt(buf.Bytes()), nil
}

// adapt lets the picture follow the reader's choice of a light or a dark page,
// and use fonts of the same widths that the reader has.
func adapt(svg []byte) []byte {
	const style = `<style>svg{color:#1f2328}@media(prefers-color-scheme:dark){svg{color:#e6edf3}}</style>`
	s := strings.NewReplacer(
		"#010203", "currentColor",
		"font-family:Liberation Sans", "font-family:Liberation Sans,Arial,Helvetica,sans-serif",
	).Replace(string(svg))
	const end = `xlink">` + "\n" // of the opening tag
	return []byte(strings.Replace(s, end, end+style+"\n", 1))
}
