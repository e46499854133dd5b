package align

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/pairing"
	"github.com/spatialalign/operator/worker/synthetic/draw"
	"github.com/spatialalign/operator/worker/synthetic/model"
	"github.com/spatialalign/operator/worker/synthetic/nn"
	"github.com/spatialalign/operator/worker/synthetic/scene"
)

// ErrDiverged means that the loss or the gradient is not a finite number.
var ErrDiverged = errors.New("training diverged: loss or gradient is not a finite number")

// Pair is a preference pair of latents.
type Pair struct {
	Origin        pairing.Origin
	Text          model.Text
	Winner, Loser []float32
}

// Options of a training.
type Options struct {
	// Seed and Iteration enter every draw.
	Seed      uint64
	Iteration int
	// Steps of the optimizer, PairsPerStep each.
	Steps, PairsPerStep int
	// Rate is Adam's peak learning rate: a linear warm-up from 0 over WarmupSteps (0: none), then a half cosine
	// down to a tenth, which ends at ScheduleSteps (at least Steps: the training may stop before).
	Rate                       float64
	WarmupSteps, ScheduleSteps int
	Objective                  Objective
	// Team that takes the steps together; nil for one that trains alone.
	Team Team
}

// Stats of one step; GradNorm is before clipping to 1.
type Stats struct {
	Terms
	Step     int
	GradNorm float64
}

// chunkPairs is how many pairs are computed together. Gradients are summed chunk by chunk in order,
// so that the result does not depend on the number of processors.
const chunkPairs = nn.MaxRows / 2

// Trainer trains an adapter; the reference is the same weights with the reference adapter, or without any.
type Trainer struct {
	base               *model.Weights
	adapter, reference *model.Adapter
	adam               *nn.Adam
	pairs              []Pair
	drawer             *pairing.Drawer
	options            Options
	chunks             []*chunk
}

// New prepares a training that starts from the adapter and changes it in place. The reference, of any rank, is
// only read; nil is the base model alone.
func New(base *model.Weights, adapter, reference *model.Adapter, pairs []Pair, o Options) (*Trainer, error) {
	if len(pairs) == 0 {
		return nil, errors.New("training needs at least one pair")
	}
	if o.Steps < 1 || o.PairsPerStep < 1 {
		return nil, fmt.Errorf("training needs at least one step and one pair per step, not %d and %d", o.Steps, o.PairsPerStep)
	}
	if o.WarmupSteps < 0 || o.WarmupSteps > o.ScheduleSteps || o.ScheduleSteps < o.Steps {
		return nil, fmt.Errorf("a schedule of %d steps with %d of warm-up does not fit a training of %d steps", o.ScheduleSteps, o.WarmupSteps, o.Steps)
	}
	origins := make([]pairing.Origin, len(pairs))
	for i := range pairs {
		origins[i] = pairs[i].Origin
	}
	drawer, err := pairing.NewDrawer(origins, contract.Hash64)
	if err != nil {
		return nil, err
	}
	rank := adapter.Rank
	if reference != nil {
		rank = max(rank, reference.Rank)
	}
	t := &Trainer{base: base, adapter: adapter, reference: reference, adam: nn.NewAdam(model.Size(adapter.Slices())),
		pairs: pairs, drawer: drawer, options: o}
	for first := 0; first < o.PairsPerStep; first += chunkPairs {
		t.chunks = append(t.chunks, newChunk(base.Text1.In, rank, adapter, min(chunkPairs, o.PairsPerStep-first)))
	}
	return t, nil
}

// Done is the number of steps taken.
func (t *Trainer) Done() int { return t.adam.Step }

// Adapter in training.
func (t *Trainer) Adapter() *model.Adapter { return t.adapter }

// Step takes the next step. After ErrDiverged, or an error of the team, the adapter is as it was before the step.
func (t *Trainer) Step() (Stats, error) {
	step := t.adam.Step
	t.compute(step)
	terms, err := t.total()
	if err != nil {
		return Stats{}, err
	}
	stats := Stats{Step: step, Terms: terms}
	total := t.chunks[0].gradient.Slices()
	nn.Scale(total, 1/float32(t.options.PairsPerStep))
	stats.GradNorm = nn.Norm(total)
	if sum := stats.Loss + stats.GradNorm; math.IsNaN(sum) || math.IsInf(sum, 0) {
		return stats, fmt.Errorf("step %d: %w", step, ErrDiverged)
	}
	if stats.GradNorm > 1 {
		nn.Scale(total, float32(1/stats.GradNorm))
	}
	rate := nn.Cosine(t.options.Rate, step, t.options.WarmupSteps, t.options.ScheduleSteps)
	t.adam.Update(t.adapter.Slices(), total, rate)
	return stats, nil
}

// compute this trainer's chunks of a step, on as many processors as there are.
func (t *Trainer) compute(step int) {
	workers := min(runtime.GOMAXPROCS(0), len(t.chunks))
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			for i := w; i < len(t.chunks); i += workers {
				if !t.mine(i) {
					continue
				}
				t.fill(t.chunks[i], step*t.options.PairsPerStep+i*chunkPairs)
				t.chunks[i].compute(t.base, t.adapter, t.reference, t.options.Objective)
			}
		})
	}
	wait.Wait()
}

// fill a chunk with the noised latents of draws first, first+1, ... : one noise level for both of a
// pair, independent noises.
func (t *Trainer) fill(c *chunk, first int) {
	seed, iteration := t.options.Seed, uint64(t.options.Iteration)
	for i := range c.pairs {
		n := uint64(first + i)
		pair := &t.pairs[t.drawer.Draw(seed, t.options.Iteration, first+i)]
		level := draw.New(draw.Sigma, seed, iteration, n)
		sigma := level.Float()
		c.noise(i, pair.Text, sigma, pair.Winner, draw.New(draw.WinnerNoise, seed, iteration, n))
		c.noise(c.pairs+i, pair.Text, sigma, pair.Loser, draw.New(draw.LoserNoise, seed, iteration, n))
	}
}

// chunk is a part of a step's batch: winners in the first rows, their losers in the same order after.
type chunk struct {
	pairs                 int
	pass                  *model.Pass
	gradient              *model.Adapter
	target, reference, dV []float32
	sum                   Terms // over the pairs
}

// newChunk holds passes with adapters of at most the given rank.
func newChunk(words, rank int, adapter *model.Adapter, pairs int) *chunk {
	size := 2 * pairs * scene.LatentSize
	c := &chunk{pairs: pairs, pass: model.NewPass(words, rank), gradient: model.NewAdapter(words, adapter.Rank, adapter.Alpha),
		target: make([]float32, size), reference: make([]float32, size), dV: make([]float32, size)}
	c.pass.Rows = 2 * pairs
	return c
}

// noise sets a row to (1-sigma)·x + sigma·e and its target to e - x.
func (c *chunk) noise(row int, text model.Text, sigma float32, latent []float32, source draw.Source) {
	c.pass.Text[row], c.pass.Sigma[row] = text, sigma
	x, target := c.pass.Row(row), c.row(c.target, row)
	source.Normals(target)
	for i, e := range target {
		target[i] = e - latent[i]
		x[i] = latent[i] + sigma*target[i]
	}
}

func (c *chunk) compute(base *model.Weights, adapter, reference *model.Adapter, objective Objective) {
	for _, g := range c.gradient.Slices() {
		clear(g)
	}
	base.Forward(c.pass, reference)
	copy(c.reference, c.pass.V)
	base.Forward(c.pass, adapter)
	c.sum = Terms{}
	for i := range c.pairs {
		terms := objective(c.views(c.dV, i), c.views(c.pass.V, i), c.views(c.reference, i), c.views(c.target, i))
		c.sum.Loss += terms.Loss
		c.sum.Margin += terms.Margin
		c.sum.Regularizer += terms.Regularizer
	}
	base.Backward(c.pass, c.dV, nil, adapter, c.gradient)
}

func (c *chunk) views(x []float32, pair int) Views {
	return Views{c.row(x, pair), c.row(x, c.pairs+pair)}
}

func (c *chunk) row(x []float32, r int) []float32 {
	return x[r*scene.LatentSize : (r+1)*scene.LatentSize]
}
