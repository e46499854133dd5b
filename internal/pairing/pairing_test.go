package pairing

import (
	"fmt"
	fnvlib "hash/fnv"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var paper = Rules{Winner: 0.7, Loser: 0.7}

func scored(prompt, id string, score float64) Sample {
	return Sample{ID: id, PromptID: prompt, Score: score}
}

func without(prompt, id string, status Status) Sample {
	return Sample{ID: id, PromptID: prompt, Status: status}
}

// fnv is a hash good enough for tests.
func fnv(parts ...string) uint64 {
	h := fnvlib.New64a()
	for _, part := range parts {
		fmt.Fprintf(h, "%d %s", len(part), part)
	}
	return h.Sum64()
}

// show writes pairs as iteration/prompt:winner>loser.
func show(set *Set) string {
	var pairs []string
	for p := range set.Pairs() {
		pairs = append(pairs, fmt.Sprintf("%d/%s:%s>%s", p.Iteration, p.PromptID, p.Winner.ID, p.Loser.ID))
	}
	return strings.Join(pairs, " ")
}

func TestBuild(t *testing.T) {
	for name, c := range map[string]struct {
		sources []Source
		rules   Rules
		pairs   string
		counts  Counts
		outcome Outcome
	}{
		"every winner with every loser of its prompt": {
			sources: []Source{{1, []Sample{
				scored("q", "q2", 0.9), scored("p", "p3", 0.1), scored("p", "p1", 0.7), scored("p", "p2", 0.699),
				scored("q", "q1", 0.2), scored("p", "p4", 1),
			}}},
			rules:   paper,
			pairs:   "1/p:p1>p2 1/p:p1>p3 1/p:p4>p2 1/p:p4>p3 1/q:q2>q1",
			counts:  Counts{Prompts: 2, UsablePrompts: 2, Winners: 3, Losers: 3, Pairs: 5},
			outcome: Pairs,
		},
		"INVALID and missing samples are neither": {
			sources: []Source{{1, []Sample{
				scored("p", "a", 0.9), without("p", "b", Invalid), without("p", "c", Missing), scored("p", "d", 0),
			}}},
			rules:   paper,
			pairs:   "1/p:a>d",
			counts:  Counts{Prompts: 1, UsablePrompts: 1, Winners: 1, Losers: 1, Invalid: 1, Missing: 1, Pairs: 1},
			outcome: Pairs,
		},
		"between the thresholds is neither": {
			sources: []Source{{1, []Sample{scored("p", "a", 0.8), scored("p", "b", 0.5), scored("p", "c", 0.4), scored("p", "d", 0.39)}}},
			rules:   Rules{Winner: 0.8, Loser: 0.4},
			pairs:   "1/p:a>d",
			counts:  Counts{Prompts: 1, UsablePrompts: 1, Winners: 1, Losers: 1, Between: 2, Pairs: 1},
			outcome: Pairs,
		},
		"never across iterations": {
			sources: []Source{
				{2, []Sample{scored("p", "b", 0.9), scored("q", "d", 0.9), scored("q", "e", 0.1)}},
				{1, []Sample{scored("p", "a", 0.1), scored("q", "c", 0.8), scored("q", "f", 0.2)}},
			},
			rules:   paper,
			pairs:   "1/q:c>f 2/q:d>e",
			counts:  Counts{Prompts: 2, UsablePrompts: 1, Winners: 3, Losers: 3, Pairs: 2},
			outcome: Pairs,
		},
		"rounds of an iteration are taken together": {
			sources: []Source{
				{1, []Sample{scored("p", "a", 0.9), scored("q", "c", 0.9)}},
				{2, []Sample{scored("p", "e", 0.1)}},
				{1, []Sample{scored("p", "b", 0.1), without("q", "d", Invalid)}},
			},
			rules:   paper,
			pairs:   "1/p:a>b",
			counts:  Counts{Prompts: 2, UsablePrompts: 1, Winners: 2, Losers: 2, Invalid: 1, Pairs: 1},
			outcome: Pairs,
		},
		"a margin is taken literally, whatever the float64 are": {
			sources: []Source{{1, []Sample{scored("p", "a", 0.9), scored("p", "b", 0.8), scored("p", "c", 0.6), scored("p", "d", 0.599)}}},
			rules:   Rules{Winner: 0.7, Loser: 0.7, MinMargin: 0.3},
			pairs:   "1/p:a>c 1/p:a>d",
			counts:  Counts{Prompts: 1, UsablePrompts: 1, Winners: 2, Losers: 2, Pairs: 2},
			outcome: Pairs,
		},
		"a prompt without a pair that is wide enough is not usable": {
			sources: []Source{{1, []Sample{scored("p", "a", 0.8), scored("p", "b", 0.6)}}},
			rules:   Rules{Winner: 0.7, Loser: 0.7, MinMargin: 0.3},
			counts:  Counts{Prompts: 1, Winners: 1, Losers: 1},
			outcome: NoUsablePrompts,
		},
		"converged": {
			sources: []Source{{1, []Sample{scored("p", "a", 0.9), scored("q", "b", 0.7), without("q", "c", Missing)}}},
			rules:   paper,
			counts:  Counts{Prompts: 2, Winners: 2, Missing: 1},
			outcome: AllWinners,
		},
		"collapsed": {
			sources: []Source{{1, []Sample{scored("p", "a", 0.1), without("q", "b", Invalid)}}},
			rules:   paper,
			counts:  Counts{Prompts: 2, Losers: 1, Invalid: 1},
			outcome: AllLosersOrInvalid,
		},
		"mixed, but no prompt has both": {
			sources: []Source{{1, []Sample{scored("p", "a", 0.1), scored("q", "b", 0.9)}}},
			rules:   paper,
			counts:  Counts{Prompts: 2, Winners: 1, Losers: 1},
			outcome: NoUsablePrompts,
		},
		"winners beside INVALID have not converged": {
			sources: []Source{{1, []Sample{scored("p", "a", 0.9), without("p", "b", Invalid)}}},
			rules:   paper,
			counts:  Counts{Prompts: 1, Winners: 1, Invalid: 1},
			outcome: NoUsablePrompts,
		},
		"all missing": {
			sources: []Source{{1, []Sample{without("p", "a", Missing)}}},
			rules:   paper,
			counts:  Counts{Prompts: 1, Missing: 1},
			outcome: NoUsablePrompts,
		},
		"nothing": {rules: paper, outcome: NoUsablePrompts},
	} {
		t.Run(name, func(t *testing.T) {
			set, err := Build(c.sources, c.rules, fnv)
			if err != nil {
				t.Fatal(err)
			}
			if got := show(set); got != c.pairs {
				t.Errorf("pairs %q, want %q", got, c.pairs)
			}
			if set.Counts != c.counts || set.Outcome() != c.outcome {
				t.Errorf("counts %+v (%s), want %+v (%s)", set.Counts, set.Outcome(), c.counts, c.outcome)
			}
		})
	}
}

func TestBuildCountsEachIteration(t *testing.T) {
	set, err := Build([]Source{
		{3, []Sample{scored("p", "a", 0.9), scored("p", "b", 0.8)}},
		{1, []Sample{scored("p", "a", 0.9), scored("p", "b", 0.1)}},
	}, paper, fnv)
	if err != nil {
		t.Fatal(err)
	}
	want := []IterationCounts{
		{1, Counts{Prompts: 1, UsablePrompts: 1, Winners: 1, Losers: 1, Pairs: 1}},
		{3, Counts{Prompts: 1, Winners: 2}},
	}
	if !slices.Equal(set.Iterations, want) {
		t.Errorf("%+v, want %+v", set.Iterations, want)
	}
	if got := set.Iterations[1].Counts.Outcome(); got != AllWinners {
		t.Errorf("iteration 3 alone is %s", got)
	}
}

func TestBuildRefuses(t *testing.T) {
	one := []Source{{1, []Sample{scored("p", "a", 0.9)}}}
	for message, c := range map[string]struct {
		sources []Source
		rules   Rules
	}{
		"winner threshold 0.6 is below the loser threshold 0.7": {one, Rules{Winner: 0.6, Loser: 0.7}},
		"winner threshold 1.5 is outside":                       {one, Rules{Winner: 1.5, Loser: 0.7}},
		"loser threshold -0.1 is outside":                       {one, Rules{Winner: 0.7, Loser: -0.1}},
		"winner threshold NaN is outside":                       {one, Rules{Winner: math.NaN(), Loser: 0.7}},
		"loser threshold NaN is outside":                        {one, Rules{Winner: 0.7, Loser: math.NaN()}},
		"sample a occurs twice in iteration 1":                  {append(one, one...), paper},
		"sample a occurs twice in iteration 2":                  {[]Source{{2, []Sample{scored("p", "a", 0), scored("q", "a", 1)}}}, paper},
		"minimum margin 2 is outside":                           {one, Rules{Winner: 0.7, Loser: 0.7, MinMargin: 2}},
		"minimum margin NaN is outside":                         {one, Rules{Winner: 0.7, Loser: 0.7, MinMargin: math.NaN()}},
		"at most -1 pairs per prompt":                           {one, Rules{Winner: 0.7, Loser: 0.7, MaxPairsPerPrompt: -1}},
		"no sample id or no prompt id":                          {[]Source{{1, []Sample{scored("", "a", 0)}}}, paper},
		"sample a has the score NaN":                            {[]Source{{1, []Sample{scored("p", "a", math.NaN())}}}, paper},
		"sample a has the score -100":                           {[]Source{{1, []Sample{scored("p", "a", -100)}}}, paper},
	} {
		if _, err := Build(c.sources, c.rules, fnv); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("error %v, want %q", err, message)
		}
	}
}

func TestOrderOfSamplesDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var samples []Sample
		for k := range rapid.IntRange(0, 20).Draw(t, "n") {
			samples = append(samples, scored(rapid.SampledFrom([]string{"p", "q", "r"}).Draw(t, "prompt"), fmt.Sprint(k), rapid.Float64Range(0, 1).Draw(t, "score")))
		}
		a, errA := Build([]Source{{1, samples}}, paper, fnv)
		b, errB := Build([]Source{{1, rapid.Permutation(samples).Draw(t, "order")}}, paper, fnv)
		if errA != nil || errB != nil || show(a) != show(b) || a.Counts != b.Counts {
			t.Fatalf("%v %v: %s and %s", errA, errB, show(a), show(b))
		}
		n := int64(0)
		for p := range a.Pairs() {
			n++
			if p.Winner.PromptID != p.PromptID || p.Loser.PromptID != p.PromptID || p.Winner.Score < 0.7 || p.Loser.Score >= 0.7 {
				t.Fatalf("pair %+v", p)
			}
		}
		if n != a.Counts.Pairs {
			t.Fatalf("%d pairs, counted %d", n, a.Counts.Pairs)
		}
	})
}

// TestAtMostSoManyPairs: of every prompt and iteration so many pairs are kept; which ones does not depend
// on the order of samples, and of the kept ones a smaller number keeps some.
func TestAtMostSoManyPairs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var samples []Sample
		for k := range rapid.IntRange(0, 40).Draw(t, "n") {
			samples = append(samples, scored(rapid.SampledFrom([]string{"p", "q"}).Draw(t, "prompt"), fmt.Sprint(k), float64(rapid.IntRange(0, 10).Draw(t, "score"))/10))
		}
		few, more := rapid.IntRange(1, 10).Draw(t, "few"), rapid.IntRange(10, 30).Draw(t, "more")
		build := func(most int, samples []Sample) *Set {
			set, err := Build([]Source{{1, samples}, {2, nil}}, Rules{Winner: 0.5, Loser: 0.5, MinMargin: 0.2, MaxPairsPerPrompt: most}, fnv)
			if err != nil {
				t.Fatal(err)
			}
			return set
		}
		all, some, least := build(0, samples), build(more, samples), build(few, samples)
		if again := build(few, rapid.Permutation(samples).Draw(t, "order")); show(again) != show(least) {
			t.Fatalf("%s, in another order %s", show(least), show(again))
		}
		for _, of := range [][2]*Set{{least, some}, {some, all}} {
			wider := " " + show(of[1]) + " "
			for _, pair := range strings.Fields(show(of[0])) {
				if !strings.Contains(wider, " "+pair+" ") {
					t.Fatalf("%s is kept, but not of more", pair)
				}
			}
		}
		perPrompt := func(set *Set) map[string]int {
			n := map[string]int{}
			for p := range set.Pairs() {
				n[p.PromptID]++
			}
			return n
		}
		want, total := perPrompt(all), int64(0)
		for prompt, n := range perPrompt(least) {
			if n != min(few, want[prompt]) {
				t.Fatalf("%d pairs of %s, which has %d; want at most %d", n, prompt, want[prompt], few)
			}
			total += int64(n)
		}
		if total != least.Counts.Pairs || least.Counts.UsablePrompts != len(want) {
			t.Fatalf("%d pairs of %d prompts, counted %+v", total, len(want), least.Counts)
		}
	})
}

// TestExtend: pairs of before count, and so do their prompts, once.
func TestExtend(t *testing.T) {
	set, err := Build([]Source{{2, []Sample{scored("p", "a", 0.9), scored("p", "b", 0.1), scored("q", "c", 0.9)}}}, paper, fnv)
	if err != nil {
		t.Fatal(err)
	}
	set.Extend(4, slices.Values([]string{"p", "r"}))
	if want := (Counts{Prompts: 3, UsablePrompts: 2, Winners: 2, Losers: 1, Pairs: 5}); set.Counts != want {
		t.Errorf("%+v, want %+v", set.Counts, want)
	}
	if latest := set.Iterations[0].Counts; latest.Pairs != 1 || latest.Prompts != 2 {
		t.Errorf("the iteration alone: %+v", latest)
	}
}

func TestPairsCanBeLeftEarly(t *testing.T) {
	set, err := Build([]Source{{1, []Sample{scored("p", "a", 1), scored("p", "b", 0), scored("p", "c", 0)}}}, paper, fnv)
	if err != nil {
		t.Fatal(err)
	}
	for p := range set.Pairs() {
		if p.Loser.ID != "b" {
			t.Errorf("first pair %+v", p)
		}
		break
	}
}
