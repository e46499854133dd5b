package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Chart is a drawing in SVG user units; the template chart turns it into text.
type Chart struct {
	W, H float64
	// Name says to those who cannot see it what the chart shows.
	Name           string
	XTicks, YTicks []tick
	XName          string
	Lines          []polyline
	Dots           []dot
	Bars           []rect
	Rules          []rule
	Area           rect // where data is drawn
}

type tick struct {
	At   float64
	Text string
}

type polyline struct {
	Points, Class string
	Opacity       float64
	Text          string  // label at the line's end, empty for none
	X, Y          float64 // of the label
}

type dot struct {
	X, Y        float64
	Class, Text string
}

type rect struct {
	X, Y, W, H  float64
	Class, Text string
}

// Right, Bottom and Middle are edges and the centre line for the template.
func (r rect) Right() float64  { return r.X + r.W }
func (r rect) Bottom() float64 { return r.Y + r.H }
func (r rect) Middle() float64 { return r.X + r.W/2 }

type rule struct {
	X1, Y1, X2, Y2 float64
	Text           string
}

// axis maps values to positions.
type axis struct{ from, to, start, end float64 }

func (a axis) at(v float64) float64 {
	if a.to == a.from {
		return (a.start + a.end) / 2
	}
	return round(a.start + (v-a.from)/(a.to-a.from)*(a.end-a.start))
}

// round to a hundredth of a unit, so that files do not differ by what no eye sees.
func round(v float64) float64 { return math.Round(v*100) / 100 }

func newChart(name string, w, h, left, right, bottom float64) *Chart {
	const top = 18
	return &Chart{W: w, H: h, Name: name, Area: rect{X: left, Y: top, W: w - left - right, H: h - top - bottom}}
}

func (c *Chart) xAxis(from, to float64) axis { return axis{from, to, c.Area.X, c.Area.X + c.Area.W} }
func (c *Chart) yAxis(from, to float64) axis { return axis{from, to, c.Area.Y + c.Area.H, c.Area.Y} }

// fractions puts ticks 0 to 1 on the y axis.
func (c *Chart) fractions() axis {
	y := c.yAxis(0, 1)
	for _, v := range []float64{0, 0.25, 0.5, 0.75, 1} {
		c.YTicks = append(c.YTicks, tick{y.at(v), strconv.FormatFloat(v, 'f', -1, 64)})
	}
	return y
}

func points(xs, ys []float64) string {
	var b strings.Builder
	for i := range xs {
		fmt.Fprintf(&b, "%s,%s ", strconv.FormatFloat(xs[i], 'f', -1, 64), strconv.FormatFloat(ys[i], 'f', -1, 64))
	}
	return strings.TrimSpace(b.String())
}

// accuracyChart is the headline accuracy per iteration, the baseline first; nil before the first evaluation.
func accuracyChart(d *Data) *Chart {
	c := newChart("Acc@"+d.Threshold+" per iteration", 440, 250, 40, 24, 44)
	y := c.fractions()
	x := c.xAxis(-0.25, max(float64(len(d.Iterations))-0.75, 0.75))
	c.XName = "iteration"
	var xs, ys []float64
	for i, it := range d.Iterations {
		value, evaluated := it.Evaluation.At(d.Threshold)
		if !evaluated {
			continue
		}
		class := "point"
		switch {
		case it.Number == 0:
			class = "point base"
		case it.Accepted != nil && !*it.Accepted:
			class = "point rejected"
		}
		px, py := x.at(float64(i)), y.at(value)
		xs, ys = append(xs, px), append(ys, py)
		c.Dots = append(c.Dots, dot{px, py, class, fmt.Sprintf("%.3f", value)})
		c.XTicks = append(c.XTicks, tick{px, label(it.Number)})
	}
	if len(xs) == 0 {
		return nil
	}
	c.Lines = []polyline{{Points: points(xs, ys), Class: "line", Opacity: 1}}
	return c
}

func label(n int32) string {
	if n == 0 {
		return "base"
	}
	return strconv.Itoa(int(n))
}

// thresholdChart is the accuracy against the threshold, a curve per iteration.
func thresholdChart(d *Data) *Chart {
	c := newChart("Accuracy at every threshold, a curve per iteration", 440, 250, 40, 44, 44)
	y, x := c.fractions(), c.xAxis(0, 0.9)
	c.XName = "threshold of the DSR-Score"
	for i := range 10 {
		v := float64(i) / 10
		c.XTicks = append(c.XTicks, tick{x.at(v), strconv.FormatFloat(v, 'f', -1, 64)})
	}
	at := x.at(decimal(d.Threshold))
	c.Rules = []rule{{at, c.Area.Y, at, c.Area.Y + c.Area.H, "headline"}}
	for _, it := range d.Iterations {
		if it.Evaluation == nil || len(it.Evaluation.Accuracy) == 0 {
			continue
		}
		var xs, ys []float64
		for _, a := range it.Evaluation.Accuracy {
			xs, ys = append(xs, x.at(a.Threshold)), append(ys, y.at(a.Value))
		}
		c.series(xs, ys, it.Number, len(d.Iterations))
	}
	c.spread(12)
	if len(c.Lines) == 0 {
		return nil
	}
	return c
}

// series adds an iteration's curve: the baseline in grey, later iterations ever stronger.
func (c *Chart) series(xs, ys []float64, n int32, all int) {
	line := polyline{Points: points(xs, ys), Class: "line", Text: label(n), X: c.Area.X + c.Area.W + 6, Y: ys[len(ys)-1]}
	line.Opacity = round(0.4 + 0.6*float64(n)/float64(max(all-1, 1)))
	if n == 0 {
		line.Class, line.Opacity = "line base", 1
	}
	c.Lines = append(c.Lines, line)
}

// spread moves the labels of lines apart where they would touch.
func (c *Chart) spread(gap float64) {
	for range c.Lines {
		for i := range c.Lines {
			for j := range c.Lines {
				a, b := &c.Lines[i], &c.Lines[j]
				if i != j && (a.Y < b.Y || a.Y == b.Y && i > j) && b.Y-a.Y < gap {
					push := (gap - (b.Y - a.Y)) / 2
					a.Y, b.Y = round(a.Y-push), round(b.Y+push)
				}
			}
		}
	}
}

// histogram of the scores of a set; bars from the headline threshold on stand out.
func histogram(name string, s *Scores, threshold string) *Chart {
	if s == nil {
		return nil
	}
	c := newChart(name, 210, 120, 8, 8, 24)
	most := int64(1)
	for _, n := range s.Bins {
		most = max(most, n)
	}
	x, y := c.xAxis(0, 1), c.yAxis(0, float64(most))
	for i, n := range s.Bins {
		from, to := float64(i)/Bins, float64(i+1)/Bins
		class := "bar"
		// The middle of a bin is on one side of every threshold that is a multiple of 0.1.
		if (from+to)/2 >= decimal(threshold) {
			class = "bar good"
		}
		top := y.at(float64(n))
		c.Bars = append(c.Bars, rect{
			X: round(x.at(from) + 0.5), Y: top, W: round(x.at(to) - x.at(from) - 1), H: round(c.Area.Y + c.Area.H - top),
			Class: class, Text: fmt.Sprintf("%d from %.2f to %.2f", n, from, to),
		})
	}
	for _, v := range []float64{0, 0.5, 1} {
		c.XTicks = append(c.XTicks, tick{x.at(v), strconv.FormatFloat(v, 'f', -1, 64)})
	}
	at := x.at(decimal(threshold))
	c.Rules = []rule{{at, c.Area.Y, at, c.Area.Y + c.Area.H, threshold}}
	return c
}

// courseChart is one training metric over the steps, a curve per iteration; nil where nobody reported it.
func courseChart(d *Data, metric string) *Chart {
	low, high, last := math.Inf(1), math.Inf(-1), int64(0)
	for _, it := range d.Iterations {
		for _, p := range it.Course {
			if v, ok := p.Values[metric]; ok {
				low, high, last = min(low, v), max(high, v), max(last, p.Step)
			}
		}
	}
	if low > high {
		return nil
	}
	c := newChart("Training: "+metric, 340, 200, 52, 32, 40)
	step := niceStep(high - low)
	low, high = math.Floor(low/step)*step, max(math.Ceil(high/step), math.Floor(low/step)+1)*step
	x, y := c.xAxis(0, float64(max(last, 1))), c.yAxis(low, high)
	c.XName = "step"
	for v := low; v <= high+step/2; v += step {
		c.YTicks = append(c.YTicks, tick{y.at(v), strconv.FormatFloat(math.Round(v/step)*step, 'g', 4, 64)})
	}
	for _, v := range []int64{0, last / 2, last} {
		c.XTicks = append(c.XTicks, tick{x.at(float64(v)), strconv.FormatInt(v, 10)})
	}
	for _, it := range d.Iterations {
		var xs, ys []float64
		for _, p := range it.Course {
			if v, ok := p.Values[metric]; ok {
				xs, ys = append(xs, x.at(float64(p.Step))), append(ys, y.at(v))
			}
		}
		if len(xs) > 0 {
			c.series(xs, ys, it.Number, len(d.Iterations))
		}
	}
	c.spread(12)
	return c
}

// niceStep divides a range into three to six steps of 1, 2 or 5 times a power of ten.
func niceStep(span float64) float64 {
	if span <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(span/4)))
	for _, factor := range []float64{1, 2, 5} {
		if span/(factor*power) <= 6 {
			return factor * power
		}
	}
	return 10 * power
}
