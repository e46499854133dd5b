package stages_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spatialalign/operator/internal/artifact/storetest"
	"github.com/spatialalign/operator/internal/contract"
)

// scored is a line of scores.jsonl; a negative score makes it INVALID.
func scored(id, promptID string, score float64) contract.ScoreLine {
	if score < 0 {
		return contract.ScoreLine{SampleID: id, PromptID: promptID, Status: contract.StatusInvalid, Reason: contract.ReasonNoVideo}
	}
	return contract.ScoreLine{SampleID: id, PromptID: promptID, Status: contract.StatusScored, Score: &score, Terms: &contract.Terms{}, UsableFrames: 24}
}

func pair(w *world, iterations ...[]contract.ScoreLine) contract.Spec {
	spec := &contract.PairSpec{WinnerThreshold: "0.7", LoserThreshold: "0.5"}
	for i, scores := range iterations {
		spec.Sources = append(spec.Sources, contract.PairSource{Iteration: i + 1, Scores: storetest.PutLines(w, w.store, fmt.Sprintf("scores-%d.jsonl", i+1), scores...)})
	}
	return contract.Spec{Stage: contract.Pair, Pair: spec}
}

// TestPair: pairs are formed within an iteration and a prompt, with the thresholds taken literally.
func TestPair(t *testing.T) {
	w := newWorld(t)
	done := w.done(pair(w,
		[]contract.ScoreLine{scored("a1", "a", 0.7), scored("a2", "a", 0.4), scored("a3", "a", 0.5), scored("b1", "b", 0.1), scored("b2", "b", -1)},
		[]contract.ScoreLine{scored("a4", "a", 0.9), scored("b3", "b", 0.8)},
	))
	if diff := cmp.Diff([]contract.PairLine{
		{PromptID: "a", Iteration: 1, Winner: "a1", Loser: "a2", WinnerScore: 0.7, LoserScore: 0.4},
	}, lines[contract.PairLine](w, done.Outputs["pairs"])); diff != "" {
		t.Errorf("pairs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int64{
		"pairs": 1, "prompts": 2, "usablePrompts": 1, "winners": 3, "losers": 2, "between": 1, "invalid": 1, "missing": 0,
		"latest/pairs": 0, "latest/prompts": 2, "latest/usablePrompts": 0, "latest/winners": 2, "latest/losers": 0,
		"latest/between": 0, "latest/invalid": 0, "latest/missing": 0,
		"outcome/Pairs": 1,
	}, done.Counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}

// TestPairExtends: pairs of earlier iterations come first, as they are. They count as pairs and prompts,
// and not as anything of the newest iteration.
func TestPairExtends(t *testing.T) {
	w := newWorld(t)
	// As a person wrote it: with a space, and without a newline at the end.
	const earlier = `{"promptID":"c","iteration":0,"winner":"x","loser":"y", "winnerScore":0.9,"loserScore":0.2}`
	spec := pair(w, []contract.ScoreLine{scored("a1", "a", 0.7), scored("a2", "a", 0.4), scored("b1", "b", 0.9)})
	a := w.put("earlier.jsonl", []byte(earlier))
	spec.Pair.Extends = &a
	done := w.done(spec)
	const formed = `{"promptID":"a","iteration":1,"winner":"a1","loser":"a2","winnerScore":0.7,"loserScore":0.4}`
	if got := string(w.read(done.Outputs["pairs"])); got != earlier+"\n"+formed+"\n" {
		t.Errorf("pairs.jsonl holds\n%s", got)
	}
	if diff := cmp.Diff(map[string]int64{
		"pairs": 2, "prompts": 3, "usablePrompts": 2, "winners": 2, "losers": 1, "between": 0, "invalid": 0, "missing": 0,
		"latest/pairs": 1, "latest/prompts": 2, "latest/usablePrompts": 1, "latest/winners": 2, "latest/losers": 1,
		"latest/between": 0, "latest/invalid": 0, "latest/missing": 0,
		"outcome/Pairs": 1,
	}, done.Counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}

// TestPairRounds: resampling rounds of an iteration are taken together, and may pair with each other.
func TestPairRounds(t *testing.T) {
	w := newWorld(t)
	spec := pair(w, []contract.ScoreLine{scored("a1", "a", 0.9)}, []contract.ScoreLine{scored("a2", "a", 0.4), scored("a3", "a", 0.3)})
	spec.Pair.Sources[1].Iteration = 1
	spec.Pair.MaxPairsPerPrompt = 1
	done := w.done(spec)
	if got := lines[contract.PairLine](w, done.Outputs["pairs"]); len(got) != 1 || got[0].Winner != "a1" || got[0].Iteration != 1 {
		t.Errorf("pairs %v", got)
	}
	if c := done.Counts; c["latest/winners"] != 1 || c["latest/losers"] != 2 || c["latest/pairs"] != 1 {
		t.Errorf("counts %v", c)
	}
}

// TestPairMargin: scores that differ by the margin as decimals differ enough.
func TestPairMargin(t *testing.T) {
	w := newWorld(t)
	spec := pair(w, []contract.ScoreLine{scored("a1", "a", 0.9), scored("a2", "a", 0.8), scored("a3", "a", 0.2), scored("a4", "a", 0.1)})
	spec.Pair.MinMargin = "0.7"
	var got []string
	for _, p := range lines[contract.PairLine](w, w.done(spec).Outputs["pairs"]) {
		got = append(got, p.Winner+p.Loser)
	}
	if diff := cmp.Diff([]string{"a1a3", "a1a4", "a2a4"}, got); diff != "" {
		t.Errorf("pairs (-want +got):\n%s", diff)
	}
}

// TestManyPairs: pairs are far more than samples; every line read and every pair written is a heartbeat.
func TestManyPairs(t *testing.T) {
	const half = 150
	var scores []contract.ScoreLine
	for i := range half {
		scores = append(scores, scored(fmt.Sprintf("w%03d", i), "a", 0.9), scored(fmt.Sprintf("l%03d", i), "a", 0.1))
	}
	w := newWorld(t)
	got := lines[contract.PairLine](w, w.done(pair(w, scores)).Outputs["pairs"])
	if len(got) != half*half {
		t.Fatalf("%d pairs, want %d", len(got), half*half)
	}
	for i, p := range got {
		if p.Winner != fmt.Sprintf("w%03d", i/half) || p.Loser != fmt.Sprintf("l%03d", i%half) {
			t.Fatalf("pair %d is %v", i, p)
		}
	}
	if steps := w.steps.Load(); steps < half*half+2*half {
		t.Errorf("%d heartbeats for %d samples and %d pairs", steps, 2*half, half*half)
	}
}

// TestNoPairs: zero pairs is a result, and all winners is another one than all losers.
func TestNoPairs(t *testing.T) {
	for outcome, scores := range map[string][]contract.ScoreLine{
		"AllWinners":         {scored("a1", "a", 0.7), scored("a2", "a", 0.9)},
		"AllLosersOrInvalid": {scored("a1", "a", 0.1), scored("a2", "a", -1)},
		"NoUsablePrompts":    {scored("a1", "a", 0.9), scored("b1", "b", 0.1)},
	} {
		t.Run(outcome, func(t *testing.T) {
			w := newWorld(t)
			done := w.done(pair(w, scores))
			if done.Counts["outcome/"+outcome] != 1 || done.Counts["pairs"] != 0 {
				t.Errorf("counts %v", done.Counts)
			}
			if got := w.read(done.Outputs["pairs"]); len(got) != 0 {
				t.Errorf("pairs.jsonl holds %q", got)
			}
		})
	}
}

func TestImportPairs(t *testing.T) {
	w := newWorld(t)
	theirs := []contract.PairLine{
		{PromptID: "a", Iteration: 0, Winner: "x", Loser: "y", WinnerScore: 0.9, LoserScore: 0.2},
		{PromptID: "a", Iteration: 0, Winner: "x", Loser: "z", WinnerScore: 0.9, LoserScore: 0.3},
	}
	a := storetest.PutLines(w, w.store, "mine.jsonl", theirs...)
	done := w.done(contract.Spec{Stage: contract.Pair, Pair: &contract.PairSpec{Import: &contract.Artifact{Key: a.Key}}})
	if done.Outputs["pairs"].Digest != a.Digest || done.Outputs["pairs"].Key == a.Key {
		t.Errorf("output %v is not a copy of %v", done.Outputs["pairs"], a)
	}
	if diff := cmp.Diff(map[string]int64{"pairs": 2, "prompts": 1, "usablePrompts": 1, "outcome/Pairs": 1}, done.Counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}

// TestImportPairsWithMark: what an editor put at the beginning does not reach the trainer.
func TestImportPairsWithMark(t *testing.T) {
	w := newWorld(t)
	const text = `{"promptID":"a","iteration":0,"winner":"x","loser":"y","winnerScore":0.9,"loserScore":0.2}` + "\n"
	a := w.put("mine.jsonl", []byte("\ufeff"+text))
	done := w.done(contract.Spec{Stage: contract.Pair, Pair: &contract.PairSpec{Import: &a}})
	if got := string(w.read(done.Outputs["pairs"])); got != text {
		t.Errorf("pairs.jsonl holds %q", got)
	}
}

func TestPairRefuses(t *testing.T) {
	good := `{"promptID":"a","iteration":0,"winner":"x","loser":"y","winnerScore":0.9,"loserScore":0.2}` + "\n"
	for name, c := range map[string]struct{ text, want string }{
		"a winner that is its own loser":    {`{"promptID":"a","iteration":0,"winner":"x","loser":"x","winnerScore":0.9,"loserScore":0.2}`, "mine.jsonl:2"},
		"a score above one":                 {`{"promptID":"a","iteration":0,"winner":"x","loser":"z","winnerScore":1.9,"loserScore":0.2}`, "mine.jsonl:2"},
		"a winner below its loser":          {`{"promptID":"a","iteration":0,"winner":"x","loser":"z","winnerScore":0.1,"loserScore":0.2}`, "mine.jsonl:2"},
		"the same pair again":               {good, "twice"},
		"a line that is cut":                {good[:40], "mine.jsonl:2"},
		"an unknown field":                  {`{"promptID":"a","iteration":0,"winner":"x","loser":"z","winnerScore":0.9,"loserScore":0.2,"weight":1}`, "weight"},
		"a file of another kind altogether": {"type,prompt_id\n", "mine.jsonl:2"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a := w.put("mine.jsonl", []byte(good+c.text))
			w.fails(contract.Spec{Stage: contract.Pair, Pair: &contract.PairSpec{Import: &a}}, contract.ExitBadInput, c.want)
		})
	}
	scores := []contract.ScoreLine{scored("a1", "a", 0.7), scored("a2", "a", 0.2)}
	for name, c := range map[string]struct {
		change func(w *world, s *contract.PairSpec)
		code   contract.ExitCode
		want   string
	}{
		"a winner threshold below the loser's": {func(_ *world, s *contract.PairSpec) { s.WinnerThreshold = "0.4" }, contract.ExitBadSpec, "winner"},
		"a threshold with an exponent":         {func(_ *world, s *contract.PairSpec) { s.WinnerThreshold = "7e-1" }, contract.ExitBadSpec, "winnerThreshold"},
		"the same scores twice":                {func(_ *world, s *contract.PairSpec) { s.Sources = append(s.Sources, s.Sources[0]) }, contract.ExitBadInput, "sample a1 occurs twice in iteration 1"},
		"a margin with an exponent":            {func(_ *world, s *contract.PairSpec) { s.MinMargin = "1e-1" }, contract.ExitBadSpec, "minMargin"},
		"fewer than no pairs":                  {func(_ *world, s *contract.PairSpec) { s.MaxPairsPerPrompt = -1 }, contract.ExitBadSpec, "maxPairsPerPrompt"},
		"scores with another digest":           {func(_ *world, s *contract.PairSpec) { s.Sources[0].Scores.Digest = contract.Digest(nil) }, contract.ExitBadInput, changed},
		"a sample twice": {func(w *world, s *contract.PairSpec) {
			s.Sources[0].Scores = storetest.PutLines(w, w.store, "x.jsonl", scored("a1", "a", 0.7), scored("a1", "a", 0.2))
		}, contract.ExitBadInput, "x.jsonl:2: sample a1 occurs twice"},
		"earlier pairs with another digest": {func(w *world, s *contract.PairSpec) {
			s.Extends = &contract.Artifact{Key: w.put("mine.jsonl", []byte(good)).Key, Digest: contract.Digest(nil)}
		}, contract.ExitBadInput, changed},
		"earlier pairs that are damaged": {func(w *world, s *contract.PairSpec) {
			a := w.put("mine.jsonl", []byte(good+good))
			s.Extends = &a
		}, contract.ExitBadInput, "mine.jsonl:2: the pair of x and y occurs twice"},
		"an earlier pair formed again": {func(w *world, s *contract.PairSpec) {
			a := storetest.PutLines(w, w.store, "mine.jsonl", contract.PairLine{PromptID: "a", Iteration: 1, Winner: "a1", Loser: "a2", WinnerScore: 0.7, LoserScore: 0.2})
			s.Extends = &a
		}, contract.ExitBadInput, "pair.extends mine.jsonl: the pair of a1 and a2 of iteration 1 is in it already"},
		"an import that extends": {func(w *world, s *contract.PairSpec) {
			a := w.put("mine.jsonl", []byte(good))
			s.Sources, s.Import, s.Extends = nil, &a, &a
		}, contract.ExitBadSpec, "extends"},
		"scores that are none": {func(w *world, s *contract.PairSpec) { s.Sources[0].Scores = w.put("x.jsonl", []byte("{}")) }, contract.ExitBadInput, "x.jsonl:1"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			spec := pair(w, scores)
			c.change(w, spec.Pair)
			w.fails(spec, c.code, c.want)
		})
	}
}
