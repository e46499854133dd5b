package model

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/spatialalign/operator/worker/synthetic/draw"
	"github.com/spatialalign/operator/worker/synthetic/nn"
	"github.com/spatialalign/operator/worker/synthetic/scene"
)

var vocabulary = &Vocabulary{Subjects: []string{"cat", "dog"}, Objects: []string{"log", "stone"}}

// fixture is a small batch on random weights, adapter and inputs.
func fixture(rows int) (*Weights, *Adapter, *Pass) {
	words := vocabulary.Words()
	w, a, p := NewWeights(words), NewAdapter(words, 3, 6), NewPass(words, 3)
	for i, slices := range [][][]float32{w.Slices(), a.Slices()} {
		for j, s := range slices {
			source := draw.New(draw.WeightInit, uint64(i), uint64(j))
			source.Normals(s)
			nn.Scale([][]float32{s}, 0.2)
		}
	}
	p.Rows = rows
	for r := range rows {
		source := draw.New(draw.TargetNoise, uint64(r))
		source.Normals(p.Row(r))
		p.Sigma[r] = source.Float()
		p.Text[r] = Text{source.Intn(2), 2 + source.Intn(2), 4 + source.Intn(3), 7 + source.Intn(3)}
	}
	return w, a, p
}

// The gradient of every tensor, weights and adapter, against central differences in its largest coordinate.
func TestGradients(t *testing.T) {
	const rows = 4
	w, a, p := fixture(rows)
	dV := make([]float32, rows*scene.LatentSize)
	source := draw.New(draw.WinnerNoise, 1)
	source.Normals(dV)
	loss := func() float64 {
		w.Forward(p, a)
		var sum float64
		for i, d := range dV {
			sum += float64(d) * float64(p.V[i])
		}
		return sum
	}
	loss()
	gw, ga := NewWeights(vocabulary.Words()), NewAdapter(vocabulary.Words(), 3, 6)
	w.Backward(p, dV, gw, a, ga)

	params := append(w.Slices(), a.Slices()...)
	for i, grad := range append(gw.Slices(), ga.Slices()...) {
		at := 0
		for j, g := range grad {
			if math.Abs(float64(g)) > math.Abs(float64(grad[at])) {
				at = j
			}
		}
		const h = 2e-3
		kept := params[i][at]
		params[i][at] = kept + h
		up := loss()
		params[i][at] = kept - h
		down := loss()
		params[i][at] = kept
		if want := (up - down) / (2 * h); math.Abs(float64(grad[at])-want) > 2e-2*math.Abs(want)+1e-3 {
			t.Errorf("tensor %d coordinate %d: gradient %g, finite differences say %g", i, at, grad[at], want)
		}
	}
}

func TestAFreshAdapterChangesNothing(t *testing.T) {
	w, _, p := fixture(5)
	w.Forward(p, nil)
	base := slices.Clone(p.V)
	a := NewAdapter(vocabulary.Words(), 3, 3)
	a.Randomize(1)
	w.Forward(p, a)
	if !slices.Equal(p.V, base) {
		t.Error("outputs differ")
	}
}

func TestASampleDependsOnItsRequestAlone(t *testing.T) {
	w, a, _ := fixture(1)
	requests := make([]Request, 2*nn.MaxRows+3)
	for i := range requests {
		requests[i] = Request{Text: Text{i % 2, 2 + i/2%2, 4 + i%3, 7 + (i+1)%3}, Seed: uint64(i)}
	}
	all := w.Generate(a, requests, 3)
	for _, i := range []int{0, 5, nn.MaxRows, len(requests) - 1} {
		if alone := w.Generate(a, requests[i:i+1], 3)[0]; !slices.Equal(alone, all[i]) {
			t.Errorf("sample %d alone has other bits than in a batch of %d", i, len(requests))
		}
	}
}

func TestForwardAndBackwardDoNotAllocate(t *testing.T) {
	w, a, p := fixture(nn.MaxRows)
	dV, ga := make([]float32, nn.MaxRows*scene.LatentSize), NewAdapter(vocabulary.Words(), 3, 6)
	if n := testing.AllocsPerRun(2, func() { w.Forward(p, a); w.Backward(p, dV, nil, a, ga) }); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

func TestEncode(t *testing.T) {
	for _, c := range []struct {
		subject, object, relations string
		want                       Text
		err                        string
	}{
		{"dog", "log", "LT", Text{1, 2, 4, 9}, ""},
		{"cat", "stone", "TR", Text{0, 3, 6, 8}, ""},
		{"cow", "log", "LT", Text{}, `subject "cow"`},
		{"dog", "dog", "LT", Text{}, `object "dog"`},
		{"dog", "log", "LL", Text{}, `relations "LL"`},
		{"dog", "log", "LU", Text{}, `relations "LU"`},
		{"dog", "log", "", Text{}, `relations ""`},
	} {
		got, err := vocabulary.Encode(c.subject, c.object, c.relations)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%+v: got %v, %v", c, got, err)
		}
	}
}

func TestFilesComeBack(t *testing.T) {
	w, a, _ := fixture(1)
	words := vocabulary.Words()
	data, err := EncodeWeights(w, vocabulary)
	if err != nil {
		t.Fatal(err)
	}
	weights, v, err := DecodeWeights(data)
	if err != nil || !slices.Equal(v.Objects, vocabulary.Objects) || !equal(weights.Slices(), w.Slices()) {
		t.Errorf("weights did not come back: %v", err)
	}
	if data, err = EncodeAdapter(a, "sha256:base"); err != nil {
		t.Fatal(err)
	}
	adapter, err := DecodeAdapter(data, words, "sha256:base")
	if err != nil || adapter.Rank != 3 || adapter.Alpha != 6 || !equal(adapter.Slices(), a.Slices()) {
		t.Errorf("adapter did not come back: %v", err)
	}
	if _, err := DecodeAdapter(data, words, "sha256:other"); err == nil || !strings.Contains(err.Error(), "sha256:base") {
		t.Errorf("adapter of another base: %v", err)
	}
	if _, err := DecodeAdapter(data, words+1, "sha256:base"); err == nil {
		t.Error("adapter of another vocabulary is accepted")
	}
	a.Film[1].B[7] = float32(math.NaN())
	if data, err = EncodeAdapter(a, "sha256:base"); err != nil {
		t.Fatal(err)
	}
	if _, err := DecodeAdapter(data, words, "sha256:base"); err == nil || !strings.Contains(err.Error(), "film.1.lora_B") {
		t.Errorf("adapter with NaN: %v", err)
	}
	latent := make([]float32, scene.LatentSize)
	latent[3] = 1.5
	if data, err = EncodeLatent(latent); err != nil {
		t.Fatal(err)
	}
	if got, err := DecodeLatent(data); err != nil || !slices.Equal(got, latent) {
		t.Errorf("latent did not come back: %v", err)
	}
}

func equal(x, y [][]float32) bool {
	return slices.EqualFunc(x, y, slices.Equal[[]float32])
}

func FuzzDecodeAdapter(f *testing.F) {
	_, a, _ := fixture(1)
	data, err := EncodeAdapter(a, "b")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("\x02\x00\x00\x00\x00\x00\x00\x00{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if a, err := DecodeAdapter(data, vocabulary.Words(), "b"); err == nil && a.Rank < 1 {
			t.Errorf("rank %d", a.Rank)
		}
	})
}
