package compare

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var usual = Bootstrap{Resamples: 1000, Confidence: 0.95, Seed: 7}

// samples of one prompt per word: a letter per seed, w for a success.
func samples(words ...string) []Sample {
	var all []Sample
	for i, word := range words {
		for seed, letter := range word {
			all = append(all, Sample{PromptID: fmt.Sprintf("p%03d", i), Seed: uint64(seed), Success: letter == 'w'})
		}
	}
	return all
}

func match(t interface {
	Helper()
	Fatal(...any)
}, best, candidate []Sample) *Matched {
	t.Helper()
	m, err := Match(best, candidate)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestByHand: two prompts, of which the candidate wins one more. A resample holds none, one or both of
// it, with probability 1/4, 1/2 and 1/4: deltas 0, 1/2 and 1.
func TestByHand(t *testing.T) {
	m := match(t, samples("-", "-"), samples("w", "-"))
	if m.Prompts != 2 || m.Samples != 2 || m.Best != 0 || m.Candidate != 1 || m.Delta() != 0.5 {
		t.Fatalf("%+v, delta %v", m, m.Delta())
	}
	for _, c := range []struct{ confidence, lower, upper float64 }{
		{0.95, 0, 1}, {0.80, 0, 1}, {0.70, 0.5, 0.5}, {0.55, 0.5, 0.5},
	} {
		lower, upper := m.Bounds(Bootstrap{Resamples: 10_000, Confidence: c.confidence, Seed: 1})
		if lower != c.lower || upper != c.upper {
			t.Errorf("confidence %v: [%v, %v], want [%v, %v]", c.confidence, lower, upper, c.lower, c.upper)
		}
	}
}

// TestRanks: of 99 resamples, 95 % confidence takes the fifth from either end.
func TestRanks(t *testing.T) {
	m := match(t, samples("----", "wwww", "w---", "--ww"), samples("wwww", "ww--", "wwww", "-www"))
	deltas := make([]float64, 99)
	for k := range deltas {
		deltas[k] = m.resample(3, uint64(k))
	}
	below := func(x float64) (n int) {
		for _, d := range deltas {
			if d < x {
				n++
			}
		}
		return n
	}
	lower, upper := m.Bounds(Bootstrap{Resamples: 99, Confidence: 0.95, Seed: 3})
	if below(lower) > 4 || below(math.Nextafter(lower, 2)) < 5 {
		t.Errorf("lower bound %v: %d resamples are below it", lower, below(lower))
	}
	if 99-below(math.Nextafter(upper, 2)) > 4 || 99-below(upper) < 5 {
		t.Errorf("upper bound %v: %d resamples are below it", upper, below(upper))
	}
	for _, few := range []Bootstrap{{Resamples: 1, Confidence: 0.95}, {Resamples: 10, Confidence: 0.999}, {Resamples: 10, Confidence: 0.001}} {
		m.Bounds(few) // the ends of the list, and no panic
	}
}

// TestSeedsOfAPromptStayTogether: with one prompt there is nothing to resample.
func TestSeedsOfAPromptStayTogether(t *testing.T) {
	m := match(t, samples("w----"), samples("www--"))
	if lower, upper := m.Bounds(usual); lower != 0.4 || upper != 0.4 {
		t.Errorf("[%v, %v]", lower, upper)
	}
}

func TestMatchRefuses(t *testing.T) {
	both := samples("w-", "--")
	for message, c := range map[string]struct{ best, candidate []Sample }{
		"3 are on one side only; prompt p000 with seed 1 is of the best and not of the candidate": {both, both[:1]},
		"1 are on one side only; prompt p001 with seed 1 is of the candidate and not of the best": {both[:3], both},
		"2 are on one side only; prompt p000 with seed 0 is of the best and not of the candidate": {both[:1], both[1:2]},
		"candidate: prompt p001 with seed 0 occurs twice":                                         {both, append(both[:4:4], both[2])},
		"best: prompt p000 with seed 0 occurs twice":                                              {append(both[:4:4], both[0]), both},
		"no samples": {nil, nil},
	} {
		if _, err := Match(c.best, c.candidate); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("error %v, want %q", err, message)
		}
	}
}

// evaluation draws the outcomes of a set of prompts with a few seeds each.
func evaluation(t *rapid.T) (best, candidate []Sample) {
	for p := range rapid.IntRange(1, 12).Draw(t, "prompts") {
		for range rapid.IntRange(1, 5).Draw(t, "seeds") {
			seed := uint64(len(best))
			best = append(best, Sample{fmt.Sprint(p), seed, rapid.Bool().Draw(t, "best")})
			candidate = append(candidate, Sample{fmt.Sprint(p), seed, rapid.Bool().Draw(t, "candidate")})
		}
	}
	return best, candidate
}

func TestEqualsGainNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		best, _ := evaluation(t)
		m := match(t, best, best)
		if lower, upper := m.Bounds(usual); m.Delta() != 0 || lower != 0 || upper != 0 {
			t.Fatalf("delta %v, bounds [%v, %v]", m.Delta(), lower, upper)
		}
	})
}

func TestSwappingMirrors(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		best, candidate := evaluation(t)
		there, back := match(t, best, candidate), match(t, candidate, best)
		lower, upper := there.Bounds(usual)
		mirroredLower, mirroredUpper := back.Bounds(usual)
		if there.Delta() != -back.Delta() || lower != -mirroredUpper || upper != -mirroredLower {
			t.Fatalf("[%v, %v] and [%v, %v]", lower, upper, mirroredLower, mirroredUpper)
		}
		if lower > there.Delta() && upper < there.Delta() || lower > upper {
			t.Fatalf("delta %v, bounds [%v, %v]", there.Delta(), lower, upper)
		}
	})
}

func TestOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		best, candidate := evaluation(t)
		lower, upper := match(t, best, candidate).Bounds(usual)
		m := match(t, rapid.Permutation(best).Draw(t, "order"), rapid.Permutation(candidate).Draw(t, "other order"))
		if l, u := m.Bounds(usual); l != lower || u != upper {
			t.Fatalf("[%v, %v], in another order [%v, %v]", lower, upper, l, u)
		}
	})
}

// TestCoverage simulates evaluations of prompts drawn from a population in which the candidate is better
// by 0.1 on average, but not on every prompt: the lower bound must be below that, and the upper above,
// about as often as promised. Resampling single samples instead of prompts would fall short.
func TestCoverage(t *testing.T) {
	const worlds, prompts, seeds, truth = 600, 40, 5, 0.1
	random := rand.New(rand.NewPCG(1, 2))
	below, above := 0, 0
	for world := range worlds {
		var best, candidate []Sample
		for p := range prompts {
			ease := 0.15 + 0.5*random.Float64()
			gain := truth + 0.5*(random.Float64()-0.5)
			for seed := range uint64(seeds) {
				id := fmt.Sprint(p)
				best = append(best, Sample{id, seed, random.Float64() < ease})
				candidate = append(candidate, Sample{id, seed, random.Float64() < ease+gain})
			}
		}
		lower, upper := match(t, best, candidate).Bounds(Bootstrap{Resamples: 400, Confidence: 0.95, Seed: uint64(world)})
		if lower <= truth {
			below++
		}
		if upper >= truth {
			above++
		}
	}
	// Three standard deviations of 600 draws are 0.027; the percentile bound falls short by a further percent.
	for name, n := range map[string]int{"lower": below, "upper": above} {
		if got := float64(n) / worlds; got < 0.91 || got > 0.98 {
			t.Errorf("the %s bound holds in %.3f of the worlds, want 0.95", name, got)
		}
	}
}

// BenchmarkBounds is the published evaluation set: 120 prompts with 5 seeds.
func BenchmarkBounds(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	var best, candidate []Sample
	for p := range 120 {
		for seed := range uint64(5) {
			best = append(best, Sample{fmt.Sprint(p), seed, random.IntN(2) == 0})
			candidate = append(candidate, Sample{fmt.Sprint(p), seed, random.IntN(3) > 0})
		}
	}
	m := match(b, best, candidate)
	for b.Loop() {
		m.Bounds(Bootstrap{Resamples: 10_000, Confidence: 0.95, Seed: 1})
	}
}
