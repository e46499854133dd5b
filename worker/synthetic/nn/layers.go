package nn

import "math"

// Linear is y = x·W + B.
type Linear struct {
	In, Out int
	W       []float32 // In x Out
	B       []float32 // Out
}

// NewLinear is a zero map.
func NewLinear(in, out int) Linear {
	return Linear{In: in, Out: out, W: make([]float32, in*out), B: make([]float32, out)}
}

// Forward sets y (rows x Out) from x (rows x In).
func (l *Linear) Forward(y, x []float32, rows int) {
	for r := range rows {
		copy(y[r*l.Out:(r+1)*l.Out], l.B)
	}
	mulAdd(y, x, l.W, rows, l.In, l.Out, 1)
}

// BackwardInput adds to dx the gradient with respect to x.
func (l *Linear) BackwardInput(dx, dy []float32, rows int) {
	mulAddTransposed(dx, dy, l.W, rows, l.In, l.Out, 1)
}

// BackwardWeights adds to l, which holds gradients here, those of a layer that saw x and dy.
func (l *Linear) BackwardWeights(x, dy []float32, rows int) {
	mulAddGradient(l.W, x, dy, rows, l.In, l.Out, 1)
	for r := range rows {
		for j, d := range dy[r*l.Out : (r+1)*l.Out] {
			l.B[j] += d
		}
	}
}

// LoRA is a low-rank addition to a Linear: y += Scale·(x·A)·B, with A In x Rank and B Rank x Out.
type LoRA struct {
	In, Out, Rank int
	Scale         float32 // alpha / rank
	A, B          []float32
}

// NewLoRA has both factors zero.
func NewLoRA(in, out, rank int, alpha float32) LoRA {
	return LoRA{In: in, Out: out, Rank: rank, Scale: alpha / float32(rank),
		A: make([]float32, in*rank), B: make([]float32, rank*out)}
}

// Forward adds to y; hidden (rows x Rank) keeps x·A for Backward.
func (l *LoRA) Forward(y, x, hidden []float32, rows int) {
	hidden = hidden[:rows*l.Rank]
	clear(hidden)
	mulAdd(hidden, x, l.A, rows, l.In, l.Rank, 1)
	mulAdd(y, hidden, l.B, rows, l.Rank, l.Out, l.Scale)
}

// Backward adds the gradients of A and B to g and, unless dx is nil, that of x to dx. hidden is
// what Forward left; dhidden (rows x Rank) is scratch.
func (l *LoRA) Backward(g *LoRA, dx, x, hidden, dhidden, dy []float32, rows int) {
	dhidden = dhidden[:rows*l.Rank]
	clear(dhidden)
	mulAddTransposed(dhidden, dy, l.B, rows, l.Rank, l.Out, l.Scale)
	mulAddGradient(g.B, hidden, dy, rows, l.Rank, l.Out, l.Scale)
	mulAddGradient(g.A, x, dhidden, rows, l.In, l.Rank, 1)
	if dx != nil {
		mulAddTransposed(dx, dhidden, l.A, rows, l.In, l.Rank, 1)
	}
}

// Activate sets y to x/2·(1 + x/√(1+x²)), a smooth relative of SiLU that needs no exponential and
// so has the same bits on every processor of an architecture.
func Activate(y, x []float32) {
	for i, v := range x {
		y[i] = v / 2 * (1 + v*inverseRoot(v))
	}
}

// BackwardActivate multiplies dy by the derivative at x.
func BackwardActivate(dy, x []float32) {
	for i, v := range x {
		r := inverseRoot(v)
		dy[i] *= (1 + v*r + v*r*r*r) / 2
	}
}

func inverseRoot(v float32) float32 { return 1 / float32(math.Sqrt(float64(1+v*v))) }
