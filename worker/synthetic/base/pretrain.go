// Package base makes and holds the weights of the synthetic base model.
//
// The weights are pre-trained by Pretrain on videos whose captions are right only part of the time
// (package scene) and embedded into the binary; the program in cmd reproduces them.
package base

import (
	"context"
	"sync"

	"github.com/spatialalign/operator/worker/synthetic/draw"
	"github.com/spatialalign/operator/worker/synthetic/model"
	"github.com/spatialalign/operator/worker/synthetic/nn"
	"github.com/spatialalign/operator/worker/synthetic/scene"
)

// Recipe of the pre-training. The zero Recipe is none; Published made the embedded weights.
type Recipe struct {
	Seed  uint64
	Steps int
	// Chunks of nn.MaxRows samples per step, each computed on a processor of its own.
	Chunks int
	// Rate is Adam's peak learning rate.
	Rate float64
	// Average is the decay of the moving average of the weights that is kept in the end.
	Average float32
}

// Published is the recipe of the embedded weights.
var Published = Recipe{Seed: 1, Steps: 8000, Chunks: 2, Rate: 2e-3, Average: 0.999}

// Pretrain trains weights from scratch by flow matching: x_t = (1-sigma)·x + sigma·e with sigma
// uniform in [0, 1), loss = mean((v(x_t) - (e - x))²). The result is a function of the recipe alone.
// It reports each step's loss and ends early, without weights, when the context does.
func Pretrain(ctx context.Context, r Recipe, report func(step int, loss float64)) (*model.Weights, error) {
	vocabulary := Vocabulary()
	words := vocabulary.Words()
	weights := model.NewWeights(words)
	weights.Randomize(r.Seed)
	average := model.NewWeights(words)
	copyAll(average.Slices(), weights.Slices())

	chunks := make([]*chunk, r.Chunks)
	for i := range chunks {
		chunks[i] = &chunk{vocabulary: vocabulary, pass: model.NewPass(words, 1), gradient: model.NewWeights(words),
			target: make([]float32, nn.MaxRows*scene.LatentSize), dV: make([]float32, nn.MaxRows*scene.LatentSize)}
	}
	params, kept, total := weights.Slices(), average.Slices(), chunks[0].gradient.Slices()
	adam := nn.NewAdam(model.Size(params))
	for step := range r.Steps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var wait sync.WaitGroup
		for i, c := range chunks {
			wait.Go(func() { c.step(weights, r, step, i) })
		}
		wait.Wait()
		loss := chunks[0].loss
		for _, c := range chunks[1:] {
			addAll(total, c.gradient.Slices())
			loss += c.loss
		}
		if norm := nn.Norm(total); norm > 1 {
			nn.Scale(total, float32(1/norm))
		}
		adam.Update(params, total, nn.Cosine(r.Rate, step, min(200, r.Steps/10), r.Steps))
		decay := min(r.Average, float32(step)/float32(step+10))
		for i, p := range params {
			for j, v := range p {
				kept[i][j] += (1 - decay) * (v - kept[i][j])
			}
		}
		report(step, loss)
	}
	return average, nil
}

// chunk computes one part of a step's batch.
type chunk struct {
	vocabulary *model.Vocabulary
	pass       *model.Pass
	gradient   *model.Weights
	target, dV []float32
	loss       float64
}

func (c *chunk) step(w *model.Weights, r Recipe, step, index int) {
	for _, g := range c.gradient.Slices() {
		clear(g)
	}
	p := c.pass
	p.Rows = nn.MaxRows
	for row := range p.Rows {
		n := uint64((step*r.Chunks+index)*nn.MaxRows + row)
		source := draw.New(draw.Caption, r.Seed, n)
		caption, story := scene.DrawCaption(&source)
		x := p.Row(row)
		scene.Encode(x, scene.Film(&source, caption, story))
		p.Text[row] = c.text(caption)
		sigma := source.Float()
		p.Sigma[row] = sigma
		target := c.target[row*scene.LatentSize : (row+1)*scene.LatentSize]
		noise := draw.New(draw.TargetNoise, r.Seed, n)
		noise.Normals(target)
		for i, e := range target {
			target[i] = e - x[i]
			x[i] += sigma * target[i]
		}
	}
	w.Forward(p, nil)
	count := float32(r.Chunks * p.Rows * scene.LatentSize)
	c.loss = 0
	for i, v := range p.V[:p.Rows*scene.LatentSize] {
		d := v - c.target[i]
		c.loss += float64(d*d) / float64(count)
		c.dV[i] = 2 * d / count
	}
	w.Backward(p, c.dV, c.gradient, nil, nil)
}

// text of a caption; the caption's words are the vocabulary's own, so that there is no error.
func (c *chunk) text(caption scene.Caption) model.Text {
	text, err := c.vocabulary.Encode(caption.Subject.Word, caption.Object.Word, string([]byte{caption.Initial, caption.Final}))
	if err != nil {
		panic(err)
	}
	return text
}

func addAll(to, from [][]float32) {
	for i, t := range to {
		for j, v := range from[i] {
			t[j] += v
		}
	}
}

func copyAll(to, from [][]float32) {
	for i, t := range to {
		copy(t, from[i])
	}
}

// Vocabulary of the base model.
func Vocabulary() *model.Vocabulary {
	return &model.Vocabulary{Subjects: scene.Words(scene.Subjects), Objects: scene.Words(scene.Objects)}
}
