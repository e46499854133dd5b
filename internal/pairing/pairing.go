package pairing

import (
	"iter"
	"maps"
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

// Source holds samples of one iteration.
type Source struct {
	Iteration int
	Samples   []Sample
}

// Pair is one preference: the winner's video shows the prompt's relation better than the loser's.
type Pair struct {
	PromptID      string
	Iteration     int
	Winner, Loser Sample
}

// Set is the result of Build.
type Set struct {
	// Counts over all sources, and over what Extend added.
	Counts Counts
	// Iterations are the counts of each iteration's sources alone, in order of iteration.
	Iterations []IterationCounts

	rules           Rules
	hash            Hash
	groups          []*group
	prompts, usable map[string]bool
}

// IterationCounts are the counts of one iteration alone.
type IterationCounts struct {
	Iteration int
	Counts    Counts
}

// Build classifies the samples of each iteration and pairs winners with losers; sources of the same
// iteration are taken together. It refuses rules that do not fit and a sample id given twice in one
// iteration. The hash chooses where there are more pairs than the rules allow.
func Build(sources []Source, rules Rules, hash Hash) (*Set, error) {
	if err := rules.Validate(); err != nil {
		return nil, err
	}
	iterations := map[int][]Sample{}
	for _, source := range sources {
		iterations[source.Iteration] = append(iterations[source.Iteration], source.Samples...)
	}
	set := &Set{rules: rules, hash: hash, prompts: map[string]bool{}, usable: map[string]bool{}}
	for _, iteration := range slices.Sorted(maps.Keys(iterations)) {
		groups, counts, err := rules.classify(iteration, iterations[iteration])
		if err != nil {
			return nil, err
		}
		for _, g := range groups {
			set.prompts[g.promptID] = true
			if g.eligible > 0 {
				set.usable[g.promptID] = true
				set.groups = append(set.groups, g)
			}
		}
		set.Iterations = append(set.Iterations, IterationCounts{iteration, counts})
		set.Counts.add(counts)
	}
	set.Counts.Prompts, set.Counts.UsablePrompts = len(set.prompts), len(set.usable)
	return set, nil
}

// Extend counts pairs that were formed before and come beside the set's own: how many there are, and
// the prompts that they are of.
func (s *Set) Extend(pairs int64, prompts iter.Seq[string]) {
	for id := range prompts {
		s.prompts[id], s.usable[id] = true, true
	}
	s.Counts.Pairs += pairs
	s.Counts.Prompts, s.Counts.UsablePrompts = len(s.prompts), len(s.usable)
}

// Pairs yields the winners with the losers of the same prompt and iteration, ordered by iteration,
// prompt id, winner id and loser id, so that the order of the input does not matter.
func (s *Set) Pairs() iter.Seq[Pair] {
	return func(yield func(Pair) bool) {
		for _, g := range s.groups {
			for winner, loser := range s.rules.chosen(g, s.hash) {
				if !yield(Pair{g.promptID, g.iteration, g.winners[winner], g.losers[loser]}) {
					return
				}
			}
		}
	}
}

// Outcome of the whole set.
func (s *Set) Outcome() Outcome { return s.Counts.Outcome() }
