// Package controls holds the experiments that keep the synthetic runtime honest: the whole method,
// end to end and in one process, beside variants that must fail in known ways.
package controls

import (
	"cmp"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/dsr"
	"github.com/spatialalign/operator/internal/pairing"
	"github.com/spatialalign/operator/internal/prompts"
	"github.com/spatialalign/operator/internal/scoring"
	"github.com/spatialalign/operator/worker/synthetic/align"
	"github.com/spatialalign/operator/worker/synthetic/base"
	"github.com/spatialalign/operator/worker/synthetic/detect"
	"github.com/spatialalign/operator/worker/synthetic/draw"
	"github.com/spatialalign/operator/worker/synthetic/model"
	"github.com/spatialalign/operator/worker/synthetic/scene"
	"github.com/spatialalign/operator/worker/synthetic/video"
)

// The defaults of the runtime and of the method.
const (
	samplerSteps      = 12
	trainPrompts      = 30
	samplesPerPrompt  = 5
	evalPrompts       = 30
	trainingSteps     = 120
	pairsPerStep      = 64
	learningRate      = 2e-3
	rank              = 8
	beta, lambda, cut = 1, 0.5, 5 // cut is marginClip
	iterations        = 3
	evalPerPrompt     = 20
	winnerThreshold   = 0.7
)

// experiment is a variant of the loop.
type experiment struct {
	name      string
	seed      uint64
	objective align.Objective
	// steps of each training; 0 means trainingSteps.
	steps int
	// previous makes the best adapter so far the reference, in the place of the base model.
	previous bool
	// relabel, unless nil, changes the pairs before training.
	relabel func(seed uint64, pairs []align.Pair)
}

// sample is one generated, stored, detected and scored video.
type sample struct {
	prompt contract.PromptLine
	text   model.Text
	latent []float32
	line   contract.ScoreLine
}

func (s *sample) wins() bool { return s.line.Score != nil && *s.line.Score >= winnerThreshold }

// outcome of an evaluation: shares of all samples asked for.
type outcome struct{ accuracy, valid, heldOut float64 }

func (o outcome) String() string {
	return fmt.Sprintf("acc %.3f  held-out classes %.3f  valid %.3f", o.accuracy, o.heldOut, o.valid)
}

// world is what all experiments share.
type world struct {
	base        *base.Model
	train, eval []contract.PromptLine
	perPrompt   int // samples of each evaluation prompt
	baseline    outcome
}

func newWorld(t *testing.T, perPrompt int) *world {
	t.Helper()
	m, err := base.Load()
	if err != nil {
		t.Fatal(err)
	}
	generate := func(split string, count int, seed uint64) []contract.PromptLine {
		lines, err := prompts.Generate(contract.Generate{Count: count, Seed: seed, Split: split})
		if err != nil {
			t.Fatal(err)
		}
		return lines
	}
	w := &world{base: m, perPrompt: perPrompt,
		train: generate(prompts.SplitTrain, trainPrompts, 1), eval: generate(prompts.SplitEvaluation, evalPrompts, 2)}
	w.baseline = w.evaluate(t, nil)
	return w
}

// evaluate on the held-out prompts, with seeds that never change.
func (w *world) evaluate(t *testing.T, adapter *model.Adapter) outcome {
	samples := w.generate(t, w.eval, contract.SeedRule{Seed: 7}, w.perPrompt, adapter)
	var o outcome
	unseen := 0
	for _, s := range samples {
		if s.line.Status == contract.StatusScored {
			o.valid++
		}
		if prompts.HeldOut(s.prompt) {
			unseen++
		}
		if s.wins() {
			o.accuracy++
			if prompts.HeldOut(s.prompt) {
				o.heldOut++
			}
		}
	}
	n := float64(len(samples))
	return outcome{o.accuracy / n, o.valid / n, o.heldOut / float64(max(1, unseen))}
}

// run the loop: sample, score, pair, train, evaluate; pairs accumulate, the best adapter goes on. It
// gives the outcome of each iteration and the last adapter.
func (w *world) run(t *testing.T, e experiment) ([]outcome, *model.Adapter) {
	t.Helper()
	var (
		adapter  *model.Adapter
		pairs    []align.Pair
		best     *model.Adapter
		bestAcc  = w.baseline.accuracy
		outcomes []outcome
	)
	for iteration := 1; iteration <= iterations; iteration++ {
		samples := w.generate(t, w.train, contract.SeedRule{Seed: e.seed, Iteration: iteration}, samplesPerPrompt, best)
		fresh := pair(samples, iteration)
		if e.relabel != nil {
			e.relabel(e.seed+uint64(iteration)<<32, fresh)
		}
		pairs = append(pairs, fresh...)
		adapter = w.adapt(t, e, iteration, pairs, best)
		got := w.evaluate(t, adapter)
		outcomes = append(outcomes, got)
		if got.accuracy >= bestAcc {
			best, bestAcc = adapter, got.accuracy
		}
	}
	return outcomes, adapter
}

// adapt trains one iteration's adapter, from the best so far or a fresh one.
func (w *world) adapt(t *testing.T, e experiment, iteration int, pairs []align.Pair, best *model.Adapter) *model.Adapter {
	adapter := model.NewAdapter(w.base.Words(), rank, rank)
	if best == nil {
		adapter.Randomize(e.seed)
	} else {
		from := best.Slices()
		for i, to := range adapter.Slices() {
			copy(to, from[i])
		}
	}
	var reference *model.Adapter
	if e.previous {
		reference = best
	}
	steps := cmp.Or(e.steps, trainingSteps)
	trainer, err := align.New(w.base.Weights, adapter, reference, pairs, align.Options{Seed: e.seed, Iteration: iteration,
		Steps: steps, PairsPerStep: pairsPerStep, Rate: learningRate, WarmupSteps: steps / 10, ScheduleSteps: steps,
		Objective: e.objective})
	if err != nil {
		t.Fatal(err)
	}
	for trainer.Done() < steps {
		if _, err := trainer.Step(); err != nil {
			t.Fatal(err)
		}
	}
	return adapter
}

// generate samples and find out from their stored pixels how well they show their prompts.
func (w *world) generate(t *testing.T, lines []contract.PromptLine, seeds contract.SeedRule, perPrompt int, adapter *model.Adapter) []sample {
	samples := make([]sample, 0, len(lines)*perPrompt)
	requests := make([]model.Request, 0, cap(samples))
	for _, line := range lines {
		text, err := w.base.Encode(line.Subject, line.Object, line.Type)
		if err != nil {
			t.Fatal(err)
		}
		for j := range perPrompt {
			samples = append(samples, sample{prompt: line, text: text})
			requests = append(requests, model.Request{Text: text, Seed: contract.Seed(seeds, line.PromptID, j)})
		}
	}
	latents := w.base.Generate(adapter, requests, samplerSteps)
	var wait sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for worker := range workers {
		wait.Go(func() {
			scorer := scoring.NewScorer(dsr.MinUsableFrames)
			for i := worker; i < len(samples); i += workers {
				samples[i].latent = latents[i]
				samples[i].line = score(t, scorer, samples[i].prompt, latents[i])
			}
		})
	}
	wait.Wait()
	return samples
}

// score goes through the stored video: rendered, written as GIF, read again, detected, scored.
func score(t *testing.T, scorer *scoring.Scorer, prompt contract.PromptLine, latent []float32) contract.ScoreLine {
	data, err := video.Encode(scene.Render(scene.Decode(latent), scene.OwnSize))
	if err != nil {
		t.Error(err)
		return contract.ScoreLine{}
	}
	frames, err := video.Decode(data)
	if err != nil {
		t.Error(err)
		return contract.ScoreLine{}
	}
	subject, _ := scene.Find(scene.Subjects, prompt.Subject)
	object, _ := scene.Find(scene.Objects, prompt.Object)
	kind, err := dsr.ParseType(prompt.Type)
	if err != nil {
		t.Error(err)
	}
	tracks := detect.Track(frames, subject.Color, object.Color)
	line := contract.TrackLine{SampleID: "s", PromptID: prompt.PromptID, FrameCount: len(frames), Status: contract.StatusTracked, Frames: tracks.Frames}
	if tracks.Reason != "" {
		line.Status, line.Reason = contract.StatusInvalid, tracks.Reason
	}
	return scorer.Score(kind, &line).Line
}

// pair every winner with every loser of a prompt.
func pair(samples []sample, iteration int) []align.Pair {
	var pairs []align.Pair
	for _, winner := range samples {
		for _, loser := range samples {
			if winner.prompt.PromptID == loser.prompt.PromptID && winner.wins() && loser.line.Score != nil && !loser.wins() {
				pairs = append(pairs, align.Pair{Origin: pairing.Origin{PromptID: winner.prompt.PromptID, Iteration: iteration},
					Text: winner.text, Winner: winner.latent, Loser: loser.latent})
			}
		}
	}
	return pairs
}

// shuffle swaps winner and loser of every pair with even chance.
func shuffle(seed uint64, pairs []align.Pair) {
	for i := range pairs {
		source := draw.New(draw.Pair, seed, uint64(i))
		if source.Uint64()>>63 == 1 {
			pairs[i].Winner, pairs[i].Loser = pairs[i].Loser, pairs[i].Winner
		}
	}
}

// winnersOnly is plain fine-tuning: the flow-matching loss of the winners, and no loser or reference.
func winnersOnly(grad, policy, _, target align.Views) align.Terms {
	clear(grad.Loser)
	var sum float64
	n := float32(len(policy.Winner))
	for i, v := range policy.Winner {
		d := v - target.Winner[i]
		sum += float64(d * d)
		grad.Winner[i] = 2 * d / n
	}
	return align.Terms{Loss: sum / float64(n)}
}

func (e experiment) String() string { return e.name + " seed " + strconv.FormatUint(e.seed, 10) }
