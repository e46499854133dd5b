package pairing

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
)

// Status of a sample.
type Status int

// Every sample asked for has one of these.
const (
	Scored  Status = iota // Score holds a number
	Invalid               // the video cannot be scored
	Missing               // there is no video or no track
)

// Sample is what pairing needs to know of a scored sample.
type Sample struct {
	ID, PromptID string
	Status       Status
	// Score in [0, 1]; meaningful only when Status is Scored.
	Score float64
}

// Source holds the samples of one iteration.
type Source struct {
	Iteration int
	Samples   []Sample
}

// Thresholds that make a winner (score >= Winner) and a loser (score < Loser). Between the two a
// sample is neither.
type Thresholds struct {
	Winner, Loser float64
}

// Validate wants 0 <= Loser <= Winner <= 1.
func (t Thresholds) Validate() error {
	inRange := func(v float64) bool { return v >= 0 && v <= 1 }
	switch {
	case !inRange(t.Winner):
		return fmt.Errorf("winner threshold %v is outside [0, 1]", t.Winner)
	case !inRange(t.Loser):
		return fmt.Errorf("loser threshold %v is outside [0, 1]", t.Loser)
	case t.Winner < t.Loser:
		return fmt.Errorf("winner threshold %v is below the loser threshold %v: a sample could win and lose at once", t.Winner, t.Loser)
	default:
		return nil
	}
}

// Pair is one preference: the winner's video shows the prompt's relation better than the loser's.
type Pair struct {
	PromptID      string
	Iteration     int
	Winner, Loser Sample
}

// Set is the result of Build.
type Set struct {
	// Counts over all sources.
	Counts Counts
	// Iterations are the counts of each source, in order of iteration.
	Iterations []IterationCounts

	groups []group
}

// IterationCounts are the counts of one iteration alone.
type IterationCounts struct {
	Iteration int
	Counts    Counts
}

// group is a prompt's winners and losers of one iteration, each sorted by id.
type group struct {
	promptID        string
	iteration       int
	winners, losers []Sample
}

// Build classifies the samples of each source and pairs winners with losers. It refuses thresholds
// that do not fit, an iteration given twice, and a sample id given twice in one iteration.
func Build(sources []Source, t Thresholds) (*Set, error) {
	if err := t.Validate(); err != nil {
		return nil, err
	}
	sources = slices.SortedFunc(slices.Values(sources), func(a, b Source) int { return cmp.Compare(a.Iteration, b.Iteration) })
	set := &Set{}
	prompts, usable := map[string]bool{}, map[string]bool{}
	for k, source := range sources {
		if k > 0 && source.Iteration == sources[k-1].Iteration {
			return nil, fmt.Errorf("iteration %d is given twice", source.Iteration)
		}
		groups, counts, err := classify(source, t)
		if err != nil {
			return nil, err
		}
		for _, g := range groups {
			prompts[g.promptID] = true
			if g.usable() {
				usable[g.promptID] = true
				set.groups = append(set.groups, g)
			}
		}
		set.Iterations = append(set.Iterations, IterationCounts{source.Iteration, counts})
		set.Counts.add(counts)
	}
	set.Counts.Prompts, set.Counts.UsablePrompts = len(prompts), len(usable)
	return set, nil
}

// Pairs yields every winner with every loser of the same prompt and iteration, ordered by iteration,
// prompt id, winner id and loser id, so that the order of the input does not matter.
func (s *Set) Pairs() iter.Seq[Pair] {
	return func(yield func(Pair) bool) {
		for _, g := range s.groups {
			for _, winner := range g.winners {
				for _, loser := range g.losers {
					if !yield(Pair{g.promptID, g.iteration, winner, loser}) {
						return
					}
				}
			}
		}
	}
}

// Outcome of the whole set.
func (s *Set) Outcome() Outcome { return s.Counts.Outcome() }

// classify sorts one iteration's samples into a group per prompt, ordered by prompt id.
func classify(source Source, t Thresholds) ([]group, Counts, error) {
	var counts Counts
	groups := map[string]*group{}
	seen := make(map[string]bool, len(source.Samples))
	for _, s := range source.Samples {
		if s.ID == "" || s.PromptID == "" {
			return nil, counts, errors.New("a sample has no sample id or no prompt id")
		}
		if seen[s.ID] {
			return nil, counts, fmt.Errorf("sample %s occurs twice in iteration %d", s.ID, source.Iteration)
		}
		seen[s.ID] = true
		if s.Status == Scored && !(s.Score >= 0 && s.Score <= 1) { // also true for NaN
			return nil, counts, fmt.Errorf("sample %s has the score %v, which is outside [0, 1]", s.ID, s.Score)
		}
		g := groups[s.PromptID]
		if g == nil {
			g = &group{promptID: s.PromptID, iteration: source.Iteration}
			groups[s.PromptID] = g
		}
		switch {
		case s.Status == Missing:
			counts.Missing++
		case s.Status == Invalid:
			counts.Invalid++
		case s.Score >= t.Winner:
			counts.Winners++
			g.winners = append(g.winners, s)
		case s.Score < t.Loser:
			counts.Losers++
			g.losers = append(g.losers, s)
		default:
			counts.Between++
		}
	}
	byID := func(a, b Sample) int { return cmp.Compare(a.ID, b.ID) }
	ordered := make([]group, 0, len(groups))
	for _, g := range groups {
		slices.SortFunc(g.winners, byID)
		slices.SortFunc(g.losers, byID)
		ordered = append(ordered, *g)
		if g.usable() {
			counts.UsablePrompts++
			counts.Pairs += int64(len(g.winners)) * int64(len(g.losers))
		}
	}
	slices.SortFunc(ordered, func(a, b group) int { return cmp.Compare(a.promptID, b.promptID) })
	counts.Prompts = len(groups)
	return ordered, counts, nil
}

func (g *group) usable() bool { return len(g.winners) > 0 && len(g.losers) > 0 }
