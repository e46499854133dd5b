package controls

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/dsr"
	"github.com/spatialalign/operator/internal/scoring"
	"github.com/spatialalign/operator/worker/synthetic/align"
	"github.com/spatialalign/operator/worker/synthetic/draw"
	"github.com/spatialalign/operator/worker/synthetic/scene"
)

// The experiments of docs/synthetic.md. They need some two minutes of processor time, and several times
// that under the race detector.
func TestControls(t *testing.T) {
	w := newWorld(t, evalPerPrompt)
	dpo := align.ZODPO(beta, lambda, cut)
	results := map[string][]outcome{}
	experiments := []experiment{
		{name: "DPO", seed: 1, objective: dpo},
		{name: "DPO", seed: 2, objective: dpo},
		{name: "DPO", seed: 3, objective: dpo},
		{name: "reference previous", seed: 1, objective: dpo, previous: true},
		{name: "winners only", seed: 1, objective: winnersOnly},
		{name: "shuffled labels", seed: 1, objective: dpo, relabel: shuffle},
		{name: "lambda 0", seed: 1, objective: align.ZODPO(beta, 0, cut)},
	}
	var table strings.Builder
	fmt.Fprintf(&table, "\nbase                      %v\n", w.baseline)
	for _, e := range experiments {
		results[e.String()], _ = w.run(t, e)
		for i, o := range results[e.String()] {
			fmt.Fprintf(&table, "%-25s %v  (iteration %d)\n", e, o, i+1)
		}
	}
	t.Log(table.String())
	plot(t, w.baseline, results)

	last := func(name string) outcome { return results[name][iterations-1] }
	if a := w.baseline.accuracy; a < 0.3 || a > 0.4 {
		t.Errorf("the base model has Acc@0.7 %.3f, want about 0.35: spatially clueless, but not hopeless", a)
	}
	if v := w.baseline.valid; v < 0.9 || v > 0.97 {
		t.Errorf("%.3f of the base model's samples are valid, want 3 to 10 %% INVALID through the pixels", v)
	}
	for _, seed := range []string{"1", "2", "3"} {
		if o := last("DPO seed " + seed); o.accuracy < 0.75 {
			t.Errorf("DPO seed %s ends at %v, want Acc@0.7 >= 0.75", seed, o)
		}
		if o := last("DPO seed " + seed); o.heldOut < 0.6 {
			t.Errorf("DPO seed %s ends at %v, want held-out classes to follow", seed, o)
		}
	}
	// Before there is a previous adapter, the reference is the base in either case.
	if first, base := results["reference previous seed 1"][0], results["DPO seed 1"][0]; first != base {
		t.Errorf("reference previous begins with %v, DPO with %v", first, base)
	}
	for i, o := range results["shuffled labels seed 1"] {
		if o.accuracy > w.baseline.accuracy+0.05 {
			t.Errorf("shuffled labels, iteration %d: %v improves on the base's %v: something but the labels teaches", i+1, o, w.baseline)
		}
	}
	if o := last("lambda 0 seed 1"); o.accuracy > w.baseline.accuracy/2 || o.valid > w.baseline.valid/2 {
		t.Errorf("lambda 0 ends at %v, want a collapse: the regularizer would be without use", o)
	}
	if o := last("winners only seed 1"); o.accuracy > last("DPO seed 1").accuracy {
		t.Errorf("winners only ends at %v, above DPO's %v", o, last("DPO seed 1"))
	}
}

// The whole loop again, with the same seed and other processors: the same outcomes, the same bits.
func TestARunIsRepeatable(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	e := experiment{name: "DPO", seed: 4, objective: align.ZODPO(beta, lambda, cut), steps: 15}
	w := newWorld(t, 2)
	want, first := w.run(t, e)
	runtime.GOMAXPROCS(1)
	got, second := w.run(t, e)
	if !slices.Equal(got, want) {
		t.Errorf("outcomes are %v, then %v", want, got)
	}
	for i, x := range first.Slices() {
		if !slices.Equal(x, second.Slices()[i]) {
			t.Fatalf("tensor %d of the adapter differs", i)
		}
	}
}

// The captioned videos of the pre-training, seen through the pixels: a right story wins, a wrong one
// loses, a subject that vanishes is INVALID.
func TestStories(t *testing.T) {
	type tally struct{ wins, invalid, all float64 }
	tallies := map[scene.Story]*tally{}
	scorer := scoring.NewScorer(dsr.MinUsableFrames)
	latent := make([]float32, scene.LatentSize)
	for i := range uint64(2000) {
		source := draw.New(draw.Caption, 99, i)
		caption, story := scene.DrawCaption(&source)
		scene.Encode(latent, scene.Film(&source, caption, story))
		line := score(t, scorer, contract.PromptLine{Subject: caption.Subject.Word, Object: caption.Object.Word,
			Type: string([]byte{caption.Initial, caption.Final})}, latent)
		if tallies[story] == nil {
			tallies[story] = &tally{}
		}
		tallies[story].all++
		switch {
		case line.Status == contract.StatusInvalid:
			tallies[story].invalid++
		case *line.Score >= winnerThreshold:
			tallies[story].wins++
		}
	}
	for _, c := range []struct {
		story                     scene.Story
		name                      string
		minWins, maxWins, invalid float64 // invalid: at least that share
	}{
		{scene.Right, "right", 0.95, 1, 0},
		{scene.Static, "static", 0, 0, 0},
		{scene.Wanders, "wanders", 0, 0.2, 0},
		{scene.Short, "short", 0, 0.3, 0},
		{scene.Reversed, "reversed", 0, 0, 0},
		{scene.Random, "random", 0, 0.5, 0},
		{scene.Vanishes, "vanishes", 0, 0.05, 0.95},
	} {
		got := tallies[c.story]
		if wins, invalid := got.wins/got.all, got.invalid/got.all; wins < c.minWins || wins > c.maxWins || invalid < c.invalid {
			t.Errorf("%s: %.2f of %.0f win and %.2f are INVALID, want %.2f to %.2f and at least %.2f", c.name, wins, got.all, invalid, c.minWins, c.maxWins, c.invalid)
		}
	}
}
