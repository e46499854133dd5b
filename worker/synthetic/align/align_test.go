package align

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/spatialalign/operator/internal/pairing"
	"github.com/spatialalign/operator/worker/synthetic/draw"
	"github.com/spatialalign/operator/worker/synthetic/model"
	"github.com/spatialalign/operator/worker/synthetic/nn"
	"github.com/spatialalign/operator/worker/synthetic/scene"
)

const words = 10

func normals(n int, key ...uint64) []float32 {
	x := make([]float32, n)
	source := draw.New(draw.TargetNoise, key...)
	source.Normals(x)
	return x
}

// The loss of algorithm.md, term by term, on numbers that one can follow.
func TestLossByHand(t *testing.T) {
	one := func(x float32) []float32 { return []float32{x, x} }
	policy, reference, target := Views{one(1), one(2)}, Views{one(2), one(1)}, Views{one(0), one(0)}
	// winner: s = 4 - 1 = 3; loser: s = 1 - 4 = -3; reg = (1 + 1) / 2
	grad := Views{one(0), one(0)}
	for _, c := range []struct {
		beta, lambda, clip, margin, loss float64
	}{
		{1, 0.5, 10, 6, math.Log1p(math.Exp(-6)) + 0.5},
		{1, 0.5, 5, 5, math.Log1p(math.Exp(-5)) + 0.5},
		{-1, 0.5, 5, -5, math.Log1p(math.Exp(5)) + 0.5},
		{0.5, 0, 5, 3, math.Log1p(math.Exp(-3))},
	} {
		got := ZODPO(c.beta, c.lambda, c.clip)(grad, policy, reference, target)
		if math.Abs(got.Margin-c.margin) > 1e-6 || math.Abs(got.Loss-c.loss) > 1e-6 || math.Abs(got.Regularizer-1) > 1e-6 {
			t.Errorf("%+v: got %+v", c, got)
		}
	}
	// Beyond the clip only the regularizer pulls.
	ZODPO(1, 0, 5)(grad, policy, reference, target)
	if !slices.Equal(grad.Winner, one(0)) || !slices.Equal(grad.Loser, one(0)) {
		t.Errorf("gradient beyond the clip is %v", grad)
	}
}

func TestObjectiveGradient(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const n = 6
		seed := rapid.Uint64().Draw(t, "seed")
		views := func(k uint64) Views { return Views{normals(n, seed, k), normals(n, seed, k+1)} }
		policy, reference, target, grad, scratch := views(0), views(2), views(4), views(6), views(8)
		objective := ZODPO(rapid.Float64Range(0.1, 2).Draw(t, "beta"), rapid.Float64Range(0, 2).Draw(t, "lambda"), 50)
		objective(grad, policy, reference, target)
		for _, side := range []struct{ x, g []float32 }{{policy.Winner, grad.Winner}, {policy.Loser, grad.Loser}} {
			for i := range side.x {
				const h = 1e-2
				kept := side.x[i]
				side.x[i] = kept + h
				up := objective(scratch, policy, reference, target).Loss
				side.x[i] = kept - h
				down := objective(scratch, policy, reference, target).Loss
				side.x[i] = kept
				if want := (up - down) / (2 * h); math.Abs(float64(side.g[i])-want) > 5e-3*(1+math.Abs(want)) {
					t.Fatalf("gradient %g, finite differences say %g", side.g[i], want)
				}
			}
		}
	})
}

// options of a training of 20 steps.
func options(pairsPerStep int) Options {
	return Options{Seed: 5, Iteration: 2, Steps: 20, WarmupSteps: 2, ScheduleSteps: 20, PairsPerStep: pairsPerStep, Rate: 1e-2, Objective: ZODPO(1, 0.5, 5)}
}

// fixture is a training of small random latents against the base model.
func fixture(t testing.TB, pairsPerStep int) (*Trainer, *model.Adapter) {
	t.Helper()
	adapter := model.NewAdapter(words, 4, 4)
	adapter.Randomize(1)
	return prepare(t, adapter, nil, options(pairsPerStep)), adapter
}

// prepare a training of an adapter against a reference.
func prepare(t testing.TB, adapter, reference *model.Adapter, o Options) *Trainer {
	t.Helper()
	weights := model.NewWeights(words)
	for i, s := range weights.Slices() {
		copy(s, normals(len(s), 1, uint64(i)))
		nn.Scale([][]float32{s}, 0.1)
	}
	var pairs []Pair
	for i := range 12 {
		pairs = append(pairs, Pair{Origin: pairing.Origin{PromptID: fmt.Sprint("p", i%3), Iteration: 1 + i%2},
			Text: model.Text{i % 2, 2 + i%2, 4 + i%3, 7 + i%3}, Winner: normals(scene.LatentSize, 2, uint64(i)), Loser: normals(scene.LatentSize, 3, uint64(i))})
	}
	trainer, err := New(weights, adapter, reference, pairs, o)
	if err != nil {
		t.Fatal(err)
	}
	return trainer
}

func clone(a *model.Adapter) *model.Adapter {
	c := model.NewAdapter(words, a.Rank, a.Alpha)
	from := a.Slices()
	for i, to := range c.Slices() {
		copy(to, from[i])
	}
	return c
}

func train(t *testing.T, trainer *Trainer, until int) (history []Stats) {
	t.Helper()
	for trainer.Done() < until {
		s, err := trainer.Step()
		if err != nil {
			t.Fatal(err)
		}
		history = append(history, s)
	}
	return history
}

func equal(a, b *model.Adapter) bool {
	return slices.EqualFunc(a.Slices(), b.Slices(), slices.Equal[[]float32])
}

func TestTheNumberOfProcessorsChangesNoBit(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	serial, want := fixture(t, 80)
	train(t, serial, 5)
	runtime.GOMAXPROCS(4)
	parallel, got := fixture(t, 80)
	train(t, parallel, 5)
	if !equal(got, want) {
		t.Error("adapters differ")
	}
}

func TestAResumedTrainingEndsWithTheSameBits(t *testing.T) {
	through, want := fixture(t, 40)
	all := train(t, through, 20)

	first, _ := fixture(t, 40)
	history := train(t, first, 7)
	checkpoint, err := first.Checkpoint("spec", history)
	if err != nil {
		t.Fatal(err)
	}
	second, got := fixture(t, 40)
	if history, err = second.Restore(checkpoint, "spec"); err != nil {
		t.Fatal(err)
	}
	history = append(history, train(t, second, 20)...)
	if !equal(got, want) {
		t.Error("adapters differ")
	}
	for i := range all {
		if float32(all[i].Loss) != float32(history[i].Loss) || float32(all[i].GradNorm) != float32(history[i].GradNorm) || history[i].Step != i {
			t.Errorf("step %d: %+v, uninterrupted %+v", i, history[i], all[i])
		}
	}
}

func TestWrongCheckpointsAreRefused(t *testing.T) {
	trainer, adapter := fixture(t, 8)
	checkpoint, err := trainer.Checkpoint("spec", nil)
	if err != nil {
		t.Fatal(err)
	}
	before := slices.Concat(adapter.Slices()...)
	for name, c := range map[string]struct {
		data []byte
		key  string
		want string
	}{
		"another spec": {checkpoint, "other", `"spec"`},
		"no step":      {checkpoint, "spec", "step"},
		"truncated":    {checkpoint[:100], "spec", "safetensors"},
	} {
		if _, err := trainer.Restore(c.data, c.key); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one about %q", name, err, c.want)
		}
	}
	if !slices.Equal(slices.Concat(adapter.Slices()...), before) {
		t.Error("a refused checkpoint changed the adapter")
	}
}

// A training that stops before its schedule ends is the first part of the one that goes to the end.
func TestATrainingMayStopBeforeItsSchedule(t *testing.T) {
	through, want := fixture(t, 8)
	train(t, through, 12)
	got := model.NewAdapter(words, 4, 4)
	got.Randomize(1)
	short := options(8)
	short.Steps = 12
	train(t, prepare(t, got, nil, short), 12)
	if !equal(got, want) {
		t.Error("adapters differ")
	}
}

// The first step has rate 0 with a warm-up, and the peak without one.
func TestTheFirstStepOfAWarmupMovesNothing(t *testing.T) {
	for warmup, still := range map[int]bool{0: false, 1: true, 20: true} {
		adapter := model.NewAdapter(words, 4, 4)
		adapter.Randomize(1)
		before := clone(adapter)
		o := options(8)
		o.WarmupSteps = warmup
		train(t, prepare(t, adapter, nil, o), 1)
		if equal(adapter, before) != still {
			t.Errorf("with a warm-up of %d steps the first one leaves the adapter as it was: %v, want %v", warmup, !still, still)
		}
	}
}

// With the adapter that it starts from as its reference, the policy has not moved: no advantage, no regularizer.
// From there on it is held to that adapter, and not to the base model, from which it drifts further.
func TestTheReferenceMayBeAnAdapter(t *testing.T) {
	first, start := fixture(t, 8)
	train(t, first, 20)
	kept := clone(start)

	toStart, toBase := clone(start), clone(start)
	previous := train(t, prepare(t, toStart, start, options(8)), 20)
	base := train(t, prepare(t, toBase, nil, options(8)), 20)
	if s := previous[0]; s.Regularizer != 0 || s.Margin != 0 || s.Loss != math.Log(2) {
		t.Errorf("against its own start the first step has %+v", s.Terms)
	}
	if s := base[0]; !(s.Regularizer > 0) {
		t.Errorf("against the base the first step has %+v", s.Terms)
	}
	if !equal(start, kept) {
		t.Error("the training changed its reference")
	}
	drift := func(a *model.Adapter) float64 {
		return train(t, prepare(t, clone(a), nil, options(80)), 1)[0].Regularizer
	}
	if toBase, toStart := drift(toBase), drift(toStart); toStart <= toBase {
		t.Errorf("drift from the base is %.4f against the start, %.4f against the base", toStart, toBase)
	}
}

// Against a reference of another rank, which has no effect, a training has the bits of one against the base.
func TestTheReferenceMayHaveAnotherRank(t *testing.T) {
	without, want := fixture(t, 8)
	train(t, without, 5)
	for _, rank := range []int{1, 16} {
		reference := model.NewAdapter(words, rank, 1)
		reference.Randomize(3) // B is zero
		got := model.NewAdapter(words, 4, 4)
		got.Randomize(1)
		train(t, prepare(t, got, reference, options(8)), 5)
		if !equal(got, want) {
			t.Errorf("rank %d: adapters differ", rank)
		}
	}
}

func TestDivergenceIsNoticed(t *testing.T) {
	trainer, adapter := fixture(t, 8)
	for i := range trainer.pairs {
		trainer.pairs[i].Winner[0] = float32(math.NaN())
	}
	before := slices.Concat(adapter.Slices()...)
	if _, err := trainer.Step(); !errors.Is(err, ErrDiverged) {
		t.Errorf("error is %v, want ErrDiverged", err)
	}
	if !slices.Equal(slices.Concat(adapter.Slices()...), before) {
		t.Error("the failed step changed the adapter")
	}
}

func TestOptionsAreChecked(t *testing.T) {
	weights, adapter := model.NewWeights(words), model.NewAdapter(words, 2, 2)
	pair := Pair{Origin: pairing.Origin{PromptID: "p"}, Winner: make([]float32, scene.LatentSize), Loser: make([]float32, scene.LatentSize)}
	for name, c := range map[string]struct {
		pairs []Pair
		o     Options
		want  string
	}{
		"no pairs":             {nil, Options{Steps: 1, ScheduleSteps: 1, PairsPerStep: 1}, "at least one pair"},
		"no steps":             {[]Pair{pair}, Options{PairsPerStep: 1}, "at least one step"},
		"no pairs per step":    {[]Pair{pair}, Options{Steps: 1, ScheduleSteps: 1}, "at least one step"},
		"a schedule too short": {[]Pair{pair}, Options{Steps: 2, ScheduleSteps: 1, PairsPerStep: 1}, "does not fit"},
		"endless warm-up":      {[]Pair{pair}, Options{Steps: 1, ScheduleSteps: 1, WarmupSteps: 2, PairsPerStep: 1}, "does not fit"},
		"negative warm-up":     {[]Pair{pair}, Options{Steps: 1, ScheduleSteps: 1, WarmupSteps: -1, PairsPerStep: 1}, "does not fit"},
	} {
		if _, err := New(weights, adapter, nil, c.pairs, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one about %q", name, err, c.want)
		}
	}
}

func FuzzRestore(f *testing.F) {
	trainer, _ := fixture(f, 8)
	checkpoint, err := trainer.Checkpoint("spec", nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(checkpoint)
	f.Fuzz(func(t *testing.T, data []byte) {
		if history, err := trainer.Restore(data, "spec"); err == nil && len(history) != trainer.Done() {
			t.Errorf("step %d with a history of %d", trainer.Done(), len(history))
		}
	})
}
