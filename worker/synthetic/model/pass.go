package model

import (
	"math"

	"github.com/spatialalign/operator/worker/synthetic/nn"
	"github.com/spatialalign/operator/worker/synthetic/scene"
)

// Pass is the working memory of one chunk: inputs, outputs and what Backward needs of Forward.
// Reusing it makes steps free of allocation. A Pass serves one goroutine at a time.
type Pass struct {
	// Rows in use, at most nn.MaxRows.
	Rows int
	// Text and Sigma of each row; X and V hold the rows' latents and estimated velocities.
	Text  []Text
	Sigma []float32
	X, V  []float32

	words, features         []float32
	text1, text1Act         []float32
	cond, condAct, condTime []float32
	film                    [Blocks][]float32
	h                       [Blocks + 1][]float32
	up, mod, act            [Blocks][]float32
	hidText1, hidText2      []float32
	hidFilm                 [Blocks][]float32
	dHidden, dH, dAct, dUp  []float32
	dFilm, dCond, dText1    []float32
}

// NewPass for a text of words one-hot positions and adapters of at most the given rank.
func NewPass(words, rank int) *Pass {
	const n = nn.MaxRows
	floats := func(width int) []float32 { return make([]float32, n*width) }
	p := &Pass{
		Text: make([]Text, n), Sigma: floats(1), X: floats(scene.LatentSize), V: floats(scene.LatentSize),
		words: floats(words), features: floats(TimeFeatures),
		text1: floats(TextWidth), text1Act: floats(TextWidth),
		cond: floats(TextWidth), condAct: floats(TextWidth), condTime: floats(TextWidth),
		hidText1: floats(rank), hidText2: floats(rank),
		dHidden: floats(rank), dH: floats(Width), dAct: floats(Width), dUp: floats(Width),
		dFilm: floats(2 * Width), dCond: floats(TextWidth), dText1: floats(TextWidth),
	}
	for i := range Blocks {
		p.film[i] = floats(2 * Width)
		p.up[i], p.mod[i], p.act[i] = floats(Width), floats(Width), floats(Width)
		p.hidFilm[i] = floats(rank)
	}
	for i := range p.h {
		p.h[i] = floats(Width)
	}
	return p
}

// Forward sets p.V from p.X, p.Text and p.Sigma; without an adapter (nil) it is the base model.
func (w *Weights) Forward(p *Pass, a *Adapter) {
	n := p.Rows
	p.encodeInputs(w.Text1.In)

	w.Text1.Forward(p.text1, p.words, n)
	if a != nil {
		a.Text1.Forward(p.text1, p.words, p.hidText1, n)
	}
	nn.Activate(p.text1Act[:n*TextWidth], p.text1[:n*TextWidth])
	w.Text2.Forward(p.cond, p.text1Act, n)
	if a != nil {
		a.Text2.Forward(p.cond, p.text1Act, p.hidText2, n)
	}
	w.Time.Forward(p.condTime, p.features, n)
	add(p.cond[:n*TextWidth], p.condTime)
	nn.Activate(p.condAct[:n*TextWidth], p.cond[:n*TextWidth])

	w.In.Forward(p.h[0], p.X, n)
	for i := range Blocks {
		w.Film[i].Forward(p.film[i], p.condAct, n)
		if a != nil {
			a.Film[i].Forward(p.film[i], p.condAct, p.hidFilm[i], n)
		}
		w.Up[i].Forward(p.up[i], p.h[i], n)
		for r := range n {
			scale, shift := p.film[i][r*2*Width:r*2*Width+Width], p.film[i][r*2*Width+Width:(r+1)*2*Width]
			up, mod := p.up[i][r*Width:(r+1)*Width], p.mod[i][r*Width:(r+1)*Width]
			for j, u := range up {
				mod[j] = u*(1+scale[j]) + shift[j]
			}
		}
		nn.Activate(p.act[i][:n*Width], p.mod[i][:n*Width])
		w.Down[i].Forward(p.h[i+1], p.act[i], n)
		add(p.h[i+1][:n*Width], p.h[i])
	}
	w.Out.Forward(p.V, p.h[Blocks], n)
}

// Backward takes the gradient of the loss with respect to p.V and adds to gw (unless nil) that of
// the weights and to ga (unless nil) that of the adapter a, which the last Forward of p used.
func (w *Weights) Backward(p *Pass, dV []float32, gw *Weights, a, ga *Adapter) {
	n := p.Rows
	dH, dAct, dUp, dCond := zero(p.dH, n*Width), p.dAct[:n*Width], p.dUp[:n*Width], zero(p.dCond, n*TextWidth)
	w.Out.BackwardInput(dH, dV, n)
	if gw != nil {
		gw.Out.BackwardWeights(p.h[Blocks], dV, n)
	}
	for i := Blocks - 1; i >= 0; i-- {
		if gw != nil {
			gw.Down[i].BackwardWeights(p.act[i], dH, n)
		}
		w.Down[i].BackwardInput(zero(dAct, n*Width), dH, n)
		nn.BackwardActivate(dAct, p.mod[i][:n*Width])
		p.backwardModulation(i, dAct, dUp)
		if gw != nil {
			gw.Up[i].BackwardWeights(p.h[i], dUp, n)
			gw.Film[i].BackwardWeights(p.condAct, p.dFilm, n)
		}
		if gw != nil || i > 0 {
			w.Up[i].BackwardInput(dH, dUp, n) // the residual path keeps dH itself
		}
		w.Film[i].BackwardInput(dCond, p.dFilm, n)
		if ga != nil {
			a.Film[i].Backward(&ga.Film[i], dCond, p.condAct, p.hidFilm[i], p.dHidden, p.dFilm, n)
		}
	}
	nn.BackwardActivate(dCond, p.cond[:n*TextWidth])
	dText1 := zero(p.dText1, n*TextWidth)
	w.Text2.BackwardInput(dText1, dCond, n)
	if ga != nil {
		a.Text2.Backward(&ga.Text2, dText1, p.text1Act, p.hidText2, p.dHidden, dCond, n)
	}
	nn.BackwardActivate(dText1, p.text1[:n*TextWidth])
	if ga != nil {
		a.Text1.Backward(&ga.Text1, nil, p.words, p.hidText1, p.dHidden, dText1, n)
	}
	if gw != nil {
		gw.In.BackwardWeights(p.X, dH, n)
		gw.Time.BackwardWeights(p.features, dCond, n)
		gw.Text2.BackwardWeights(p.text1Act, dCond, n)
		gw.Text1.BackwardWeights(p.words, dText1, n)
	}
}

// backwardModulation splits the gradient of mod into those of scale, shift (dFilm) and up (dUp).
func (p *Pass) backwardModulation(block int, dMod, dUp []float32) {
	for r := range p.Rows {
		dFilm := p.dFilm[r*2*Width : (r+1)*2*Width]
		scale := p.film[block][r*2*Width : r*2*Width+Width]
		for j := range Width {
			d := dMod[r*Width+j]
			dFilm[j] = d * p.up[block][r*Width+j]
			dFilm[Width+j] = d
			dUp[r*Width+j] = d * (1 + scale[j])
		}
	}
}

// encodeInputs writes the one-hot words and the sines and cosines of sigma at frequencies from
// 1 to 64, geometrically.
func (p *Pass) encodeInputs(words int) {
	clear(p.words[:p.Rows*words])
	for r := range p.Rows {
		for _, w := range p.Text[r] {
			p.words[r*words+w] = 1
		}
		f := p.features[r*TimeFeatures : (r+1)*TimeFeatures]
		if r > 0 && p.Sigma[r] == p.Sigma[r-1] {
			copy(f, p.features[(r-1)*TimeFeatures:r*TimeFeatures])
			continue
		}
		for k, frequency := range frequencies {
			sin, cos := math.Sincos(float64(p.Sigma[r]) * frequency)
			f[2*k], f[2*k+1] = float32(sin), float32(cos)
		}
	}
}

var frequencies = func() (f [TimeFeatures / 2]float64) {
	for k := range f {
		f[k] = math.Pow(64, float64(k)/float64(len(f)-1))
	}
	return f
}()

func add(y, x []float32) {
	for i := range y {
		y[i] += x[i]
	}
}

func zero(x []float32, n int) []float32 {
	x = x[:n]
	clear(x)
	return x
}
