package controls

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var plotFile = flag.String("plot", "", "write the curves of TestControls as an SVG to this file")

// curve is one experiment in the plot; its look tells its kind.
type curve struct {
	name, colour, dash string
}

var curves = []curve{
	{"DPO seed 1", "#4453d0", ""}, {"DPO seed 2", "#4453d0", ""}, {"DPO seed 3", "#4453d0", ""},
	{"reference previous seed 1", "#7a3ea8", "2 3"},
	{"winners only seed 1", "#c27803", ""}, {"shuffled labels seed 1", "#98a2b3", "5 4"}, {"lambda 0 seed 1", "#c0392b", "5 4"},
}

// plot draws Acc@0.7 over the iterations: what aligns, and what must not.
func plot(t *testing.T, baseline outcome, results map[string][]outcome) {
	t.Helper()
	if *plotFile == "" {
		return
	}
	const left, top, width, height = 50.0, 20.0, 420.0, 240.0
	at := func(k int, accuracy float64) (x, y float64) {
		return left + width*float64(k)/iterations, top + height*(1-accuracy)
	}
	var svg strings.Builder
	svg.WriteString(`<svg xmlns="http://www.w3.org/2000/svg" width="680" height="320" viewBox="0 0 680 320" font-family="system-ui, 'DejaVu Sans', sans-serif" font-size="12" fill="#667085">
<rect width="680" height="320" fill="#ffffff"/>
`)
	for _, a := range []float64{0, 0.25, 0.5, 0.75, 1} {
		_, y := at(0, a)
		fmt.Fprintf(&svg, `<line x1="%g" x2="%g" y1="%g" y2="%g" stroke="#e4e7ec"/><text x="%g" y="%g" text-anchor="end">%g</text>`+"\n", left, left+width, y, y, left-8, y+4, a)
	}
	for k := 0; k <= iterations; k++ {
		x, _ := at(k, 0)
		label := fmt.Sprint(k)
		if k == 0 {
			label = "base"
		}
		fmt.Fprintf(&svg, `<text x="%g" y="%g" text-anchor="middle">%s</text>`+"\n", x, top+height+20, label)
	}
	fmt.Fprintf(&svg, `<text x="%g" y="%g" text-anchor="middle">Acc@0.7 on held-out prompts after each iteration</text>`+"\n", left+width/2, top+height+44)
	for i, c := range curves {
		var points strings.Builder
		for k := 0; k <= iterations; k++ {
			o := baseline
			if k > 0 {
				o = results[c.name][k-1]
			}
			x, y := at(k, o.accuracy)
			fmt.Fprintf(&points, "%.1f,%.1f ", x, y)
		}
		y := top + 14 + 22*float64(i)
		fmt.Fprintf(&svg, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2.5" stroke-dasharray="%s"/>`+"\n", points.String(), c.colour, c.dash)
		fmt.Fprintf(&svg, `<line x1="%g" x2="%g" y1="%g" y2="%g" stroke="%s" stroke-width="2.5" stroke-dasharray="%s"/><text x="%g" y="%g">%s</text>`+"\n",
			left+width+16, left+width+36, y, y, c.colour, c.dash, left+width+42, y+4, c.name)
	}
	svg.WriteString("</svg>\n")
	if err := os.WriteFile(*plotFile, []byte(svg.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
