// Package model is the synthetic text-to-video model: a text-conditioned rectified-flow network
// over the latents of package scene, its low-rank adapters, its sampler and its files.
//
//	cond = act(Text2·act(Text1·words) + Time·features(sigma))
//	h    = In·x
//	h   += Down_i·act((Up_i·h)·(1 + scale_i) + shift_i),   (scale_i, shift_i) = Film_i·cond,   i = 0, 1
//	v    = Out·h
//
// words are four one-hot slots: subject, object, initial and final relation. v estimates noise - x.
package model

import (
	"math"

	"github.com/spatialalign/operator/worker/synthetic/draw"
	"github.com/spatialalign/operator/worker/synthetic/nn"
	"github.com/spatialalign/operator/worker/synthetic/scene"
)

// Sizes of the network.
const (
	Blocks       = 2
	Width        = 128 // of the residual stream
	TextWidth    = 64  // of the conditioning
	TimeFeatures = 32  // sines and cosines of sigma
)

// Weights of the base model.
type Weights struct {
	Text1, Text2, Time, In, Out nn.Linear
	Film, Up, Down              [Blocks]nn.Linear
}

// NewWeights are all zero, for a text of words one-hot positions.
func NewWeights(words int) *Weights {
	w := &Weights{
		Text1: nn.NewLinear(words, TextWidth),
		Text2: nn.NewLinear(TextWidth, TextWidth),
		Time:  nn.NewLinear(TimeFeatures, TextWidth),
		In:    nn.NewLinear(scene.LatentSize, Width),
		Out:   nn.NewLinear(Width, scene.LatentSize),
	}
	for i := range Blocks {
		w.Film[i] = nn.NewLinear(TextWidth, 2*Width)
		w.Up[i] = nn.NewLinear(Width, Width)
		w.Down[i] = nn.NewLinear(Width, Width)
	}
	return w
}

// Randomize draws the initial weights: normal with variance 1/inputs; what ends a residual branch
// (Film, Down, Out) starts at zero.
func (w *Weights) Randomize(seed uint64) {
	layers := []*nn.Linear{&w.Text1, &w.Text2, &w.Time, &w.In, &w.Up[0], &w.Up[1]}
	for i, l := range layers {
		source := draw.New(draw.WeightInit, seed, uint64(i))
		source.Normals(l.W)
		fanIn := l.In
		if l == &w.Text1 {
			fanIn = slots // of its inputs, that many are 1 and the others 0
		}
		nn.Scale([][]float32{l.W}, float32(1/math.Sqrt(float64(fanIn))))
	}
}

// named lists the layers under the names they have in files, always in this order.
func (w *Weights) named() (names []string, layers []*nn.Linear) {
	return []string{"text.0", "text.1", "time", "in", "out", "film.0", "film.1", "up.0", "up.1", "down.0", "down.1"},
		[]*nn.Linear{&w.Text1, &w.Text2, &w.Time, &w.In, &w.Out,
			&w.Film[0], &w.Film[1], &w.Up[0], &w.Up[1], &w.Down[0], &w.Down[1]}
}

// Slices are all parameters in a fixed order.
func (w *Weights) Slices() [][]float32 {
	_, layers := w.named()
	var out [][]float32
	for _, l := range layers {
		out = append(out, l.W, l.B)
	}
	return out
}

// Adapter is a LoRA on the text's linears and the FiLM projections.
type Adapter struct {
	Rank         int
	Alpha        float32
	Text1, Text2 nn.LoRA
	Film         [Blocks]nn.LoRA
}

// NewAdapter is all zero, for a text of words one-hot positions.
func NewAdapter(words, rank int, alpha float32) *Adapter {
	a := &Adapter{Rank: rank, Alpha: alpha,
		Text1: nn.NewLoRA(words, TextWidth, rank, alpha),
		Text2: nn.NewLoRA(TextWidth, TextWidth, rank, alpha),
	}
	for i := range Blocks {
		a.Film[i] = nn.NewLoRA(TextWidth, 2*Width, rank, alpha)
	}
	return a
}

// Randomize draws A as Kaiming's normal initialization (variance 2/inputs) and leaves B zero, so
// that the adapter starts without effect.
func (a *Adapter) Randomize(seed uint64) {
	_, loras := a.named()
	for i, l := range loras {
		source := draw.New(draw.AdapterInit, seed, uint64(i))
		source.Normals(l.A)
		nn.Scale([][]float32{l.A}, float32(math.Sqrt(2/float64(l.In))))
	}
}

func (a *Adapter) named() (names []string, loras []*nn.LoRA) {
	return []string{"text.0", "text.1", "film.0", "film.1"},
		[]*nn.LoRA{&a.Text1, &a.Text2, &a.Film[0], &a.Film[1]}
}

// Slices are all parameters in a fixed order.
func (a *Adapter) Slices() [][]float32 {
	_, loras := a.named()
	var out [][]float32
	for _, l := range loras {
		out = append(out, l.A, l.B)
	}
	return out
}

// Size is the number of parameters in slices.
func Size(slices [][]float32) int {
	n := 0
	for _, s := range slices {
		n += len(s)
	}
	return n
}
