package pairing

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"sort"
	"strconv"
)

// group is a prompt's winners and losers of one iteration, each sorted by id.
type group struct {
	promptID        string
	iteration       int
	winners, losers []Sample
	// eligible counts the pairs that are wide enough.
	eligible int64
}

func byPrompt(groups map[string]*group) []*group {
	return slices.SortedFunc(maps.Values(groups), func(a, b *group) int { return cmp.Compare(a.promptID, b.promptID) })
}

// count the eligible pairs, and sort.
func (g *group) count(r Rules) {
	byID := func(a, b Sample) int { return cmp.Compare(a.ID, b.ID) }
	byScore := func(a, b Sample) int { return cmp.Compare(a.Score, b.Score) }
	// A winner has a margin over the losers up to some score: there are far fewer samples than pairs.
	slices.SortFunc(g.losers, byScore)
	for _, winner := range g.winners {
		g.eligible += int64(sort.Search(len(g.losers), func(k int) bool { return !r.wide(winner, g.losers[k]) }))
	}
	slices.SortFunc(g.winners, byID)
	slices.SortFunc(g.losers, byID)
}

// chosen yields the pairs of a group that are kept, as positions of winner and loser, in their order.
func (r Rules) chosen(g *group, hash Hash) iter.Seq2[int, int] {
	if r.capped(g.eligible) == g.eligible {
		return r.wideOf(g)
	}
	return func(yield func(int, int) bool) {
		for _, p := range r.lowest(g, hash) {
			if !yield(p.winner, p.loser) {
				return
			}
		}
	}
}

// wideOf yields every pair of a group that is wide enough.
func (r Rules) wideOf(g *group) iter.Seq2[int, int] {
	return func(yield func(int, int) bool) {
		for w, winner := range g.winners {
			for l, loser := range g.losers {
				if r.wide(winner, loser) && !yield(w, l) {
					return
				}
			}
		}
	}
}

// ticket decides whether a pair is among the kept ones.
type ticket struct {
	hash          uint64
	winner, loser int
}

// lowest are the MaxPairsPerPrompt pairs with the lowest hashes, in the order of pairs. A hash depends on
// the pair alone, so neither the order of samples nor further pairs decide which of two is preferred. It
// holds twice as many pairs as it gives, never all.
func (r Rules) lowest(g *group, hash Hash) []ticket {
	byHash := func(a, b ticket) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.winner, b.winner), cmp.Compare(a.loser, b.loser))
	}
	var kept []ticket
	cut := func() {
		slices.SortFunc(kept, byHash)
		kept = kept[:min(len(kept), r.MaxPairsPerPrompt)]
	}
	iteration := strconv.Itoa(g.iteration)
	for w, l := range r.wideOf(g) {
		kept = append(kept, ticket{hash("keep", g.promptID, iteration, g.winners[w].ID, g.losers[l].ID), w, l})
		if len(kept) == 2*r.MaxPairsPerPrompt {
			cut()
		}
	}
	cut()
	slices.SortFunc(kept, func(a, b ticket) int {
		return cmp.Or(cmp.Compare(a.winner, b.winner), cmp.Compare(a.loser, b.loser))
	})
	return kept
}
