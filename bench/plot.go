package bench

import (
	"fmt"
	"html"
	"io"
	"math"
	"strings"
)

// WritePlot draws the ratios as an SVG bar chart with a logarithmic scale.
func WritePlot(w io.Writer, results []Result) error {
	const (
		left, width, right = 320, 520, 90
		row                = 18
		least, most        = -3.0, 2.0 // powers of ten
	)
	at := func(ratio float64) float64 {
		power := math.Log10(max(ratio, 1e-9))
		return left + width*(min(max(power, least), most)-least)/(most-least)
	}
	var b strings.Builder
	y, last := 30, ""
	one := at(1)
	for _, r := range results {
		if title := fmt.Sprintf("%s, %d B: ratio to %s", r.Case, r.PayloadBytes, r.Reference); title != last {
			y += 16
			fmt.Fprintf(&b, `<text x="10" y="%d" font-weight="bold">%s</text>`+"\n", y, html.EscapeString(title))
			y, last = y+8, title
		}
		x, color := at(r.Ratio), "#8aa4c8"
		if r.Ours {
			color = "#2f6f4f"
		}
		fmt.Fprintf(
			&b,
			`<text x="%d" y="%d" text-anchor="end">%s</text>`,
			left-8,
			y+12,
			html.EscapeString(r.Implementation),
		)
		fmt.Fprintf(
			&b,
			`<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>`,
			min(x, one),
			y+2,
			max(1, math.Abs(x-one)),
			row-5,
			color,
		)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d">%.3g</text>`+"\n", max(x, one)+5, y+12, r.Ratio)
		y += row
	}
	_, err := fmt.Fprintf(
		w,
		`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">
<rect width="100%%" height="100%%" fill="white"/>
<text x="10" y="20">Ratios of one run, medians, logarithmic; right of the line is more than the reference</text>
%s<line x1="%.1f" y1="30" x2="%.1f" y2="%d" stroke="#444"/>
</svg>
`,
		left+width+right,
		y+12,
		b.String(),
		one,
		one,
		y+4,
	)
	return err
}
