package main

import (
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// palette keeps the colours of the subjects apart for people who do not tell red from green, too. Ours are first.
var palette = []color.RGBA{
	{0, 90, 181, 255}, {102, 178, 255, 255}, {220, 50, 32, 255}, {255, 160, 122, 255},
	{90, 90, 90, 255}, {150, 110, 30, 255}, {120, 60, 160, 255},
}

// colour returns the colour of a subject, in all pictures the same.
func colour(s subject) color.Color {
	i := slices.IndexFunc(subjects, func(x subject) bool { return x.name == s.name })
	return palette[i%len(palette)]
}

// A picture is a file in the documents and what it shows.
type picture struct {
	file  string // without directory
	title string
	of    string // scenario
	draw  func(b *bench, r *report, title string) (*plot.Plot, error)
}

var pictures = []picture{
	{"lock.png", "Lock and unlock a free lock", lockScenario, latencies(lockScenario, mark{"p50", p50, 0}, mark{"p99", p99, 1})},
	{"names.png", "64 goroutines, 64 names: cycles per second", namesScenario, bars(namesScenario, rate)},
	{"contended.png", "16 processes, one name: cycles per second", contendedScenario, bars(contendedScenario, rate)},
	{"waits.png", "16 processes, one name: waits for the lock", contendedScenario,
		curves(func(b *bench) map[string][]float64 { return b.waits })},
	{"gaps.png", "16 processes, one name: from release to the next holder", contendedScenario,
		curves(func(b *bench) map[string][]float64 { return b.gaps })},
	{"stopped.png", "One of five nodes stopped", stoppedScenario, latencies(stoppedScenario,
		mark{"healthy p50", healthy50, 0}, mark{"healthy p99", healthy99, 1}, mark{"stopped p50", p50, 2}, mark{"stopped p99", p99, 3}, mark{"slowest", slowest, 4})},
	{"slow.png", "One of five nodes 50 ms away", slowScenario, latencies(slowScenario,
		mark{"healthy p50", healthy50, 0}, mark{"healthy p99", healthy99, 1}, mark{"slow p50", p50, 2}, mark{"slow p99", p99, 3}, mark{"slowest", slowest, 4})},
}

// drawAll draws the pictures of what was measured into a directory and returns them.
func (b *bench) drawAll(r *report, dir string) (drawn []picture, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	for _, p := range pictures {
		if len(r.rounds[p.of]) == 0 {
			continue
		}
		plotted, err := p.draw(b, r, p.title)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.file, err)
		}
		if err := plotted.Save(18*vg.Centimeter, 9*vg.Centimeter, filepath.Join(dir, p.file)); err != nil {
			return nil, fmt.Errorf("%s: %w", p.file, err)
		}
		drawn = append(drawn, p)
	}
	return drawn, nil
}

func newPlot(title string) *plot.Plot {
	p := plot.New()
	p.Title.Text = title
	p.Title.Padding = vg.Points(6)
	p.Legend.Top = true
	p.Legend.TextStyle.Font.Size = vg.Points(8)
	p.Legend.ThumbnailWidth = vg.Points(14)
	p.Legend.Padding = vg.Points(1)
	return p
}

// A mark is a measure as one kind of dot.
type mark struct {
	legend string
	of     measure
	shape  int
}

// style returns what a mark's dot looks like.
func (m mark) style() draw.GlyphStyle {
	shapes := []draw.GlyphDrawer{draw.CircleGlyph{}, draw.RingGlyph{}, draw.SquareGlyph{}, draw.BoxGlyph{}, draw.CrossGlyph{}}
	tones := []color.RGBA{{0, 90, 181, 255}, {0, 90, 181, 255}, {220, 50, 32, 255}, {220, 50, 32, 255}, {120, 0, 0, 255}}
	return draw.GlyphStyle{Color: tones[m.shape], Radius: vg.Points(4), Shape: shapes[m.shape]}
}

// latencies draws a line for each subject with a dot for each measure, over times that grow by tens.
func latencies(scenario string, marks ...mark) func(*bench, *report, string) (*plot.Plot, error) {
	return func(_ *bench, r *report, title string) (*plot.Plot, error) {
		p := newPlot(title)
		measured := r.measured(scenario)
		lowest := math.Inf(1)
		for _, m := range marks {
			var dots plotter.XYs
			for i, s := range measured {
				if v := r.value(scenario, s.name, m.of); v > 0 && !math.IsInf(v, 0) {
					x := v / float64(time.Millisecond)
					lowest = min(lowest, x)
					dots = append(dots, plotter.XY{X: x, Y: float64(len(measured) - 1 - i)})
				}
			}
			if len(dots) == 0 {
				continue
			}
			scatter, err := plotter.NewScatter(dots)
			if err != nil {
				return nil, err
			}
			scatter.GlyphStyle = m.style()
			p.Add(scatter)
			p.Legend.Add(m.legend, scatter)
		}
		names := make([]string, len(measured))
		for i, s := range measured {
			names[len(measured)-1-i] = s.title
		}
		p.NominalY(names...)
		p.Y.Min, p.Y.Max = -0.5, float64(len(measured))+0.5 // above the lines is the legend
		p.Add(&plotter.Grid{Vertical: plotter.DefaultGridLineStyle, Horizontal: plotter.DefaultGridLineStyle})
		logarithmic(p, lowest)
		p.X.Label.Text = "milliseconds"
		return p, nil
	}
}

// logarithmic makes the time axis grow by tens, from the power of ten below the lowest value.
func logarithmic(p *plot.Plot, lowest float64) {
	p.X.Scale = plot.LogScale{}
	p.X.Tick.Marker = plot.TickerFunc(tens)
	p.X.Min = math.Pow(10, math.Floor(math.Log10(lowest)+1e-9))
	p.X.Max = max(p.X.Max*1.2, p.X.Min*10)
}

// tens labels the powers of ten and marks what is between them.
func tens(lowest, highest float64) (ticks []plot.Tick) {
	const hair = 1e-9 // of rounding
	for power := math.Floor(math.Log10(lowest) + hair); ; power++ {
		unit := math.Pow(10, power)
		for n := 1.0; n < 10; n++ {
			if n*unit > highest {
				return ticks
			}
			if n*unit < lowest*(1-hair) {
				continue
			}
			tick := plot.Tick{Value: n * unit}
			if n == 1 {
				tick.Label = strconv.FormatFloat(unit, 'f', -1, 64)
			}
			ticks = append(ticks, tick)
		}
	}
}

// bars draws a bar for each subject.
func bars(scenario string, m measure) func(*bench, *report, string) (*plot.Plot, error) {
	return func(_ *bench, r *report, title string) (*plot.Plot, error) {
		p := newPlot(title)
		measured := r.measured(scenario)
		names := make([]string, len(measured))
		for i, s := range measured {
			place := len(measured) - 1 - i
			names[place] = s.title
			bar, err := plotter.NewBarChart(plotter.Values{r.value(scenario, s.name, m)}, vg.Points(16))
			if err != nil {
				return nil, err
			}
			bar.Horizontal, bar.XMin, bar.Color, bar.LineStyle.Width = true, float64(place), colour(s), 0
			p.Add(bar)
		}
		p.NominalY(names...)
		p.X.Min = 0
		return p, nil
	}
}

// curves draws which share of the times was at most how long, a curve for each subject.
func curves(of func(b *bench) map[string][]float64) func(*bench, *report, string) (*plot.Plot, error) {
	return func(b *bench, r *report, title string) (*plot.Plot, error) {
		const points = 400
		p := newPlot(title)
		lowest := math.Inf(1)
		for _, s := range r.measured(contendedScenario) {
			var line plotter.XYs
			for i, v := range curve(of(b)[s.name], points) {
				x := max(v/float64(time.Millisecond), 0.01) // the axis has no zero
				lowest = min(lowest, x)
				line = append(line, plotter.XY{X: x, Y: 100 * float64(i) / (points - 1)})
			}
			if len(line) == 0 {
				continue
			}
			l, err := plotter.NewLine(line)
			if err != nil {
				return nil, err
			}
			l.Color, l.Width = colour(s), vg.Points(1.6)
			p.Add(l)
			p.Legend.Add(s.title, l)
		}
		p.Legend.Top = false // there the curves leave room
		p.Add(plotter.NewGrid())
		logarithmic(p, lowest)
		p.X.Label.Text = "at most so many milliseconds"
		p.Y.Label.Text = "% of all"
		p.Y.Min, p.Y.Max = 0, 100
		return p, nil
	}
}
