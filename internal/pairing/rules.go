package pairing

import (
	"errors"
	"fmt"
)

// Rules say which samples win (score >= Winner) and lose (score < Loser), and which pairs are formed of
// them. Between the two thresholds a sample is neither.
type Rules struct {
	Winner, Loser float64
	// MinMargin is the least difference of a pair's scores, in [0, 1].
	MinMargin float64
	// MaxPairsPerPrompt keeps at most that many pairs of a prompt and iteration; 0 keeps all.
	MaxPairsPerPrompt int
}

// rounding is by how much a difference of two scores may miss MinMargin: 0.9 - 0.7 is less than 0.2.
const rounding = 1e-12

// Validate wants 0 <= Loser <= Winner <= 1 and the rest in its range.
func (r Rules) Validate() error {
	inRange := func(v float64) bool { return v >= 0 && v <= 1 }
	switch {
	case !inRange(r.Winner):
		return fmt.Errorf("winner threshold %v is outside [0, 1]", r.Winner)
	case !inRange(r.Loser):
		return fmt.Errorf("loser threshold %v is outside [0, 1]", r.Loser)
	case r.Winner < r.Loser:
		return fmt.Errorf("winner threshold %v is below the loser threshold %v: a sample could win and lose at once", r.Winner, r.Loser)
	case !inRange(r.MinMargin):
		return fmt.Errorf("minimum margin %v is outside [0, 1]", r.MinMargin)
	case r.MaxPairsPerPrompt < 0:
		return fmt.Errorf("at most %d pairs per prompt: want at least 1, or 0 for all", r.MaxPairsPerPrompt)
	default:
		return nil
	}
}

// wide reports whether a pair's scores differ enough.
func (r Rules) wide(winner, loser Sample) bool {
	return winner.Score-loser.Score >= r.MinMargin-rounding
}

// classify sorts one iteration's samples into a group per prompt, ordered by prompt id.
func (r Rules) classify(iteration int, samples []Sample) ([]*group, Counts, error) {
	var counts Counts
	groups := map[string]*group{}
	seen := make(map[string]bool, len(samples))
	for _, s := range samples {
		if s.ID == "" || s.PromptID == "" {
			return nil, counts, errors.New("a sample has no sample id or no prompt id")
		}
		if seen[s.ID] {
			return nil, counts, fmt.Errorf("sample %s occurs twice in iteration %d", s.ID, iteration)
		}
		seen[s.ID] = true
		if s.Status == Scored && !(s.Score >= 0 && s.Score <= 1) { // also true for NaN
			return nil, counts, fmt.Errorf("sample %s has the score %v, which is outside [0, 1]", s.ID, s.Score)
		}
		g := groups[s.PromptID]
		if g == nil {
			g = &group{promptID: s.PromptID, iteration: iteration}
			groups[s.PromptID] = g
		}
		switch {
		case s.Status == Missing:
			counts.Missing++
		case s.Status == Invalid:
			counts.Invalid++
		case s.Score >= r.Winner:
			counts.Winners++
			g.winners = append(g.winners, s)
		case s.Score < r.Loser:
			counts.Losers++
			g.losers = append(g.losers, s)
		default:
			counts.Between++
		}
	}
	for _, g := range groups {
		g.count(r)
		if g.eligible > 0 {
			counts.UsablePrompts++
			counts.Pairs += r.capped(g.eligible)
		}
	}
	counts.Prompts = len(groups)
	return byPrompt(groups), counts, nil
}

// capped is how many of a group's pairs are kept.
func (r Rules) capped(eligible int64) int64 {
	if r.MaxPairsPerPrompt == 0 {
		return eligible
	}
	return min(eligible, int64(r.MaxPairsPerPrompt))
}
