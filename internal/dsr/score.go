package dsr

import "math"

// MinUsableFrames is the method's bound: a sample with fewer usable frames is INVALID.
const MinUsableFrames = 20

// edge is how many frames at either end of a video the means of the score take.
const edge = 3

// Reason says why a sample is INVALID; empty means that it was scored.
type Reason string

// TooFewUsableFrames means that fewer frames than asked for had two boxes with an extent.
const TooFewUsableFrames Reason = "TooFewUsableFrames"

// Score of a sample that is not INVALID.
type Score struct {
	// Value is the DSR-Score in [0, 1].
	Value float64
	Terms Terms
}

// Terms are the parts of a Score, each in [-1, 1].
type Terms struct {
	// Initial is the mean SSR of the initial relation over the first three usable frames.
	Initial float64
	// InitialGap is half of what the SSR of the initial relation lost from the first to the last usable frame.
	InitialGap float64
	// Final is the mean SSR of the final relation over the last three usable frames.
	Final float64
	// FinalGap is half of what the SSR of the final relation gained from the first to the last usable frame.
	FinalGap float64
}

// Result of one sample: a Score, or the reason why it is INVALID.
type Result struct {
	Reason       Reason
	UsableFrames int
	score        Score
}

// Score gives the score; ok is false when the sample is INVALID.
func (r Result) Score() (s Score, ok bool) { return r.score, r.Reason == "" }

// Evaluate computes the DSR-Score of a sample from its frames, which must be ordered (SortFrames).
// Fewer than minUsable usable frames (and fewer than the three that the formulas need) make it
// INVALID. It allocates nothing.
//
// With i and f the SSR series of the initial and the final relation over the n usable frames:
//
//	initial    = mean(i[0], i[1], i[2])        final    = mean(f[n-3], f[n-2], f[n-1])
//	initialGap = (i[0] - i[n-1]) / 2           finalGap = (f[n-1] - f[0]) / 2
//	score      = (initial + initialGap + final + finalGap) / 8 + 1/2
func Evaluate(t Type, frames []Frame, minUsable int) Result {
	// Only the frames at both ends enter the formulas; of the others it matters how many they are.
	var first, last [edge]*Frame
	n := 0
	for k := range frames {
		if !frames[k].Usable() {
			continue
		}
		if n < edge {
			first[n] = &frames[k]
		}
		last[n%edge] = &frames[k]
		n++
	}
	if n < max(minUsable, edge) {
		return Result{Reason: TooFewUsableFrames, UsableFrames: n}
	}
	firstFrame, lastFrame := first[0], last[(n-1)%edge]
	var terms Terms
	for k := range edge {
		terms.Initial += SSR(t.Initial, first[k])
		terms.Final += SSR(t.Final, last[(n+k)%edge])
	}
	terms.Initial /= edge // of the sum, so that three ones make exactly 1
	terms.Final /= edge
	terms.InitialGap = (SSR(t.Initial, firstFrame) - SSR(t.Initial, lastFrame)) / 2
	terms.FinalGap = (SSR(t.Final, lastFrame) - SSR(t.Final, firstFrame)) / 2
	value := (terms.Initial+terms.InitialGap+terms.Final+terms.FinalGap)/8 + 0.5
	return Result{UsableFrames: n, score: Score{Value: value, Terms: terms}}
}

// SSR is the static spatial relationship score of one usable frame, in [-1, 1]: 1 is the ideal
// relation, 0 undecided, -1 its opposite. With d the vector from the object's centre to the
// subject's, and wm and hm their mean width and height:
//
//	R = dx/|d| * min(1, |dx|/wm)     L = -R     T = -dy/|d| * min(1, |dy|/hm)
//
// where |d| = 0 gives 0.
func SSR(r Relation, f *Frame) float64 {
	s, o := &f.Subject, &f.Object
	sx, sy := s.centre()
	ox, oy := o.centre()
	dx, dy := sx-ox, sy-oy
	d := math.Hypot(dx, dy)
	if d == 0 {
		return 0
	}
	switch r {
	case Left:
		return -dx / d * min(1, math.Abs(dx)/((s.width()+o.width())/2))
	case Right:
		return dx / d * min(1, math.Abs(dx)/((s.width()+o.width())/2))
	default:
		return -dy / d * min(1, math.Abs(dy)/((s.height()+o.height())/2))
	}
}
