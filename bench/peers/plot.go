package main

import (
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/streamerson/streamerson-go/bench"
)

// least is where smaller ratios are drawn.
const least = 0.01

func plotRatios(file string, all []bench.Result) error {
	return dots(file, "Ratio to the reference; further right is better (of latency: the inverse; at 0.01: 0.01 or less)",
		all, func(r bench.Result) float64 {
			if r.Ratio > 0 && r.Case == "latency" {
				return max(1/r.Ratio, least)
			}
			return max(r.Ratio, min(r.Ratio*1e9, least)) // 0 stays 0
		})
}

func plotCPU(file string, all []bench.Result) error {
	return dots(file, "CPU time per message, µs: client and server", all,
		func(r bench.Result) float64 {
			if r.ClientMicros == 0 {
				return 0
			}
			return r.ClientMicros + r.ServerMicros
		})
}

// dots draws a line for each case, and a dot on it for each column of the README's table. The scale
// is logarithmic. Values of 0 are not drawn, and without others there is no plot.
func dots(file, title string, all []bench.Result, value func(bench.Result) float64) error {
	names, rows := byCase(all)
	slices.Reverse(names) // from top to bottom
	p := plot.New()
	p.Title.Text = title
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Y.Min, p.Y.Max = -0.5, float64(len(names))-0.5
	p.NominalY(names...)
	p.Legend.Top, p.Legend.XOffs, p.Legend.Padding = true, vg.Points(-10), vg.Points(3)
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = color.Gray{0xdd}, color.Gray{0xdd}
	p.Add(grid)
	drawn := false
	for i, c := range columns {
		var at plotter.XYs
		for y, name := range names {
			if r := rows[name][i]; r != nil && value(*r) > 0 {
				at = append(at, plotter.XY{X: value(*r), Y: float64(y)})
			}
		}
		if len(at) == 0 {
			continue
		}
		s, err := plotter.NewScatter(at)
		if err != nil {
			return err
		}
		s.Color, s.Shape, s.Radius = plotutil.DarkColors[i%len(plotutil.DarkColors)], plotutil.Shape(i), vg.Points(4)
		if i == 0 { // this project
			s.Color, s.Shape, s.Radius = color.RGBA{G: 0x60, A: 0xff}, draw.CircleGlyph{}, vg.Points(5)
		}
		p.Add(s)
		p.Legend.Add(c.title, s)
		drawn = true
	}
	if !drawn {
		return nil
	}
	p.X.Max *= 1 + 7*math.Log10(1+p.X.Max/p.X.Min) // room for the legend
	return p.Save(vg.Points(900), vg.Points(float64(160+40*len(names))), file)
}
