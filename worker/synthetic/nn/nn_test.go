package nn

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/spatialalign/operator/worker/synthetic/draw"
)

func normals(n int, key uint64) []float32 {
	x := make([]float32, n)
	source := draw.New(draw.WeightInit, key)
	source.Normals(x)
	return x
}

func dot(x, y []float32) float64 {
	var sum float64
	for i := range x {
		sum += float64(x[i]) * float64(y[i])
	}
	return sum
}

// checkGradient compares grad with the central difference of f in every coordinate of x.
func checkGradient(t *testing.T, name string, x, grad []float32, f func() float64) {
	t.Helper()
	const h = 1e-2
	for i := range x {
		kept := x[i]
		x[i] = kept + h
		up := f()
		x[i] = kept - h
		down := f()
		x[i] = kept
		want := (up - down) / (2 * h)
		if math.Abs(float64(grad[i])-want) > 2e-3*(1+math.Abs(want)) {
			t.Fatalf("%s: gradient of coordinate %d is %g, finite differences say %g", name, i, grad[i], want)
		}
	}
}

func TestLinearGradients(t *testing.T) {
	const rows, in, out = 3, 37, 201 // across the edges of panels and depths
	l := NewLinear(in, out)
	copy(l.W, normals(in*out, 1))
	copy(l.B, normals(out, 2))
	x, dy, y := normals(rows*in, 3), normals(rows*out, 4), make([]float32, rows*out)
	f := func() float64 { l.Forward(y, x, rows); return dot(y, dy) }

	dx, g := make([]float32, rows*in), NewLinear(in, out)
	l.BackwardInput(dx, dy, rows)
	g.BackwardWeights(x, dy, rows)
	checkGradient(t, "x", x, dx, f)
	checkGradient(t, "W", l.W, g.W, f)
	checkGradient(t, "B", l.B, g.B, f)
}

func TestLoRAGradients(t *testing.T) {
	const rows, in, out, rank = 3, 20, 17, 4
	l := NewLoRA(in, out, rank, 6)
	copy(l.A, normals(len(l.A), 1))
	copy(l.B, normals(len(l.B), 2))
	x, dy, hidden := normals(rows*in, 3), normals(rows*out, 4), make([]float32, rows*rank)
	f := func() float64 {
		y := make([]float32, rows*out)
		l.Forward(y, x, hidden, rows)
		return dot(y, dy)
	}
	f()
	dx, g := make([]float32, rows*in), NewLoRA(in, out, rank, 6)
	l.Backward(&g, dx, x, hidden, make([]float32, rows*rank), dy, rows)
	checkGradient(t, "x", x, dx, f)
	checkGradient(t, "A", l.A, g.A, f)
	checkGradient(t, "B", l.B, g.B, f)
}

func TestActivationGradient(t *testing.T) {
	x, ones, y := normals(50, 1), make([]float32, 50), make([]float32, 50)
	for i := range ones {
		ones[i] = 1
	}
	dy := slices.Clone(ones)
	BackwardActivate(dy, x)
	checkGradient(t, "x", x, dy, func() float64 { Activate(y, x); return dot(y, ones) })
}

// A row's result has the same bits whatever rows share its chunk: samples do not depend on batches.
func TestRowsAreIndependent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in, out := rapid.IntRange(1, 200).Draw(t, "in"), rapid.IntRange(1, 400).Draw(t, "out")
		rows := rapid.IntRange(1, MaxRows).Draw(t, "rows")
		l := NewLinear(in, out)
		copy(l.W, normals(in*out, rapid.Uint64().Draw(t, "seed")))
		x, all, one := normals(rows*in, 5), make([]float32, rows*out), make([]float32, out)
		l.Forward(all, x, rows)
		r := rapid.IntRange(0, rows-1).Draw(t, "row")
		l.Forward(one, x[r*in:(r+1)*in], 1)
		if !slices.Equal(one, all[r*out:(r+1)*out]) {
			t.Fatalf("row %d alone differs from row %d of %d", r, r, rows)
		}
	})
}

func TestLayersDoNotAllocate(t *testing.T) {
	const rows, in, out, rank = MaxRows, 128, 256, 8
	l, lora, g := NewLinear(in, out), NewLoRA(in, out, rank, 8), NewLoRA(in, out, rank, 8)
	x, y, h, dh := make([]float32, rows*in), make([]float32, rows*out), make([]float32, rows*rank), make([]float32, rows*rank)
	if n := testing.AllocsPerRun(3, func() {
		l.Forward(y, x, rows)
		l.BackwardInput(x, y, rows)
		l.BackwardWeights(x, y, rows)
		lora.Forward(y, x, h, rows)
		lora.Backward(&g, x, x, h, dh, y, rows)
	}); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

// However small a gradient is, the first step is as long as the rate, the second too when the gradient stays.
func TestAdamsFirstStepsAreNotTooShort(t *testing.T) {
	x, adam := []float32{3}, NewAdam(1)
	for step := range 2 {
		adam.Update([][]float32{x}, [][]float32{{0.25}}, 0.5)
		if want := 3 - 0.5*float64(step+1); math.Abs(float64(x[0])-want) > 1e-5 {
			t.Errorf("step %d leads to %g, want %g", step, x[0], want)
		}
	}
}

func TestAdamFindsTheMinimum(t *testing.T) {
	x, g := []float32{3, -2}, make([]float32, 2)
	adam := NewAdam(2)
	for range 500 {
		g[0], g[1] = 2*(x[0]-1), 8*(x[1]-0.5)
		adam.Update([][]float32{x}, [][]float32{g}, 0.05)
	}
	if math.Abs(float64(x[0]-1)) > 1e-2 || math.Abs(float64(x[1]-0.5)) > 1e-2 {
		t.Errorf("ended at %v, the minimum is at [1 0.5]", x)
	}
}

func TestCosine(t *testing.T) {
	for _, c := range []struct {
		step int
		want float64
	}{{0, 0}, {6, 0.5}, {12, 1}, {66, 0.55}, {120, 0.1}, {500, 0.1}} {
		if got := Cosine(1, c.step, 12, 120); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("step %d: rate %g, want %g", c.step, got, c.want)
		}
	}
}

func TestFinite(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, c := range []struct {
		x    []float32
		want bool
	}{{nil, true}, {[]float32{1, -2}, true}, {[]float32{1, inf - inf}, false}, {[]float32{-inf}, false}} {
		if got := Finite(c.x); got != c.want {
			t.Errorf("Finite(%v) = %v", c.x, got)
		}
	}
}
