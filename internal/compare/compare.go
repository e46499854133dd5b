// Package compare says how sure one may be that a candidate's accuracy is not below the best one's: a
// paired bootstrap over prompts. It is pure and imports the standard library only.
//
// Samples are paired by prompt and seed, so that what makes a prompt or a seed hard cancels out. Prompts
// are resampled with all their seeds, because the samples of one prompt resemble each other and the
// question is about prompts that nobody has seen.
package compare

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
)

// Sample is one sample of an evaluation, with its success: a score of at least the threshold.
type Sample struct {
	PromptID string
	Seed     uint64
	Success  bool
}

// Matched are two evaluations, paired.
type Matched struct {
	Prompts, Samples int
	// Best and Candidate count the successes.
	Best, Candidate int

	prompts []prompt // in the order of their ids
}

// prompt sums a prompt's pairs up: candidate's successes less the best one's, and how many there are.
type prompt struct {
	gain, samples int
}

// Match pairs the samples of two evaluations, whatever their order. Every prompt and seed must be in
// both, once.
func Match(best, candidate []Sample) (*Matched, error) {
	best, err := ordered("best", best)
	if err != nil {
		return nil, err
	}
	if candidate, err = ordered("candidate", candidate); err != nil {
		return nil, err
	}
	if len(best)+len(candidate) == 0 {
		return nil, fmt.Errorf("there are no samples to compare")
	}
	if err := checkSame(best, candidate); err != nil {
		return nil, err
	}
	m := &Matched{Samples: len(best)}
	for i := range best {
		if i == 0 || best[i].PromptID != best[i-1].PromptID {
			m.prompts = append(m.prompts, prompt{})
		}
		p := &m.prompts[len(m.prompts)-1]
		p.samples++
		if best[i].Success {
			m.Best++
			p.gain--
		}
		if candidate[i].Success {
			m.Candidate++
			p.gain++
		}
	}
	m.Prompts = len(m.prompts)
	return m, nil
}

// ordered gives the samples by prompt and seed; side names them in errors.
func ordered(side string, samples []Sample) ([]Sample, error) {
	samples = slices.SortedFunc(slices.Values(samples), byPromptAndSeed)
	for i := 1; i < len(samples); i++ {
		if s := samples[i]; byPromptAndSeed(s, samples[i-1]) == 0 {
			return nil, fmt.Errorf("%s: prompt %s with seed %d occurs twice", side, s.PromptID, s.Seed)
		}
	}
	return samples, nil
}

func byPromptAndSeed(a, b Sample) int {
	return cmp.Or(cmp.Compare(a.PromptID, b.PromptID), cmp.Compare(a.Seed, b.Seed))
}

// checkSame refuses ordered samples that are on one side only, and says how many and the first.
func checkSame(best, candidate []Sample) error {
	alone, first := 0, ""
	note := func(s Sample, side, other string) {
		if alone++; alone == 1 {
			first = fmt.Sprintf("prompt %s with seed %d is of the %s and not of the %s", s.PromptID, s.Seed, side, other)
		}
	}
	for len(best)+len(candidate) > 0 {
		switch {
		case len(candidate) == 0 || len(best) > 0 && byPromptAndSeed(best[0], candidate[0]) < 0:
			note(best[0], "best", "candidate")
			best = best[1:]
		case len(best) == 0 || byPromptAndSeed(best[0], candidate[0]) > 0:
			note(candidate[0], "candidate", "best")
			candidate = candidate[1:]
		default:
			best, candidate = best[1:], candidate[1:]
		}
	}
	if alone > 0 {
		return fmt.Errorf("the evaluations are not of the same samples: %d are on one side only; %s", alone, first)
	}
	return nil
}

// Delta is the candidate's accuracy less the best one's, in [-1, 1].
func (m *Matched) Delta() float64 {
	return float64(m.Candidate-m.Best) / float64(m.Samples)
}

// Bootstrap says how bounds are found.
type Bootstrap struct {
	// Resamples is how often as many prompts as there are are drawn, with replacement; at least 1.
	Resamples int
	// Confidence of each bound alone, in (0, 1).
	Confidence float64
	// Seed of the draws: resample k is a function of the seed, k and the prompts.
	Seed uint64
}

// Bounds are the one-sided percentile bounds of the delta (Efron and Tibshirani, An Introduction to the
// Bootstrap, 13.3): with the given confidence the true delta is at least lower, and with the same at
// most upper. Of B ordered resamples they are the a(B+1)-th from below and from above, a = 1 - confidence.
// Swapping the evaluations swaps the bounds and their signs.
func (m *Matched) Bounds(b Bootstrap) (lower, upper float64) {
	deltas := make([]float64, b.Resamples)
	for k := range deltas {
		deltas[k] = m.resample(b.Seed, uint64(k))
	}
	slices.Sort(deltas)
	const rounding = 1e-9 // 1 - 0.95 is not the float64 nearest to 0.05
	rank := int(math.Floor((1-b.Confidence)*float64(b.Resamples+1) + rounding))
	rank = min(max(rank, 1), b.Resamples)
	return deltas[rank-1], deltas[b.Resamples-rank]
}

// resample draws as many prompts as there are and gives their delta. ChaCha8 keyed by seed and number is
// a counter-based generator: resamples may be computed in any order.
func (m *Matched) resample(seed, number uint64) float64 {
	var key [32]byte
	binary.BigEndian.PutUint64(key[0:], seed)
	binary.BigEndian.PutUint64(key[8:], number)
	random := rand.NewChaCha8(key)
	gain, samples := 0, 0
	for range m.prompts {
		k, _ := bits.Mul64(random.Uint64(), uint64(len(m.prompts)))
		gain += m.prompts[k].gain
		samples += m.prompts[k].samples
	}
	return float64(gain) / float64(samples)
}
