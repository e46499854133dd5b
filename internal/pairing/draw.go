package pairing

import (
	"errors"
	"maps"
	"math/bits"
	"slices"
	"strconv"
)

// Origin says where a pair of a list comes from.
type Origin struct {
	PromptID  string
	Iteration int
}

// Hash is a counter-based hash of its parts, such as contract.Hash64.
type Hash func(parts ...string) uint64

// Drawer draws pairs of a list for training: a prompt uniformly, then an iteration that has pairs
// for it uniformly, then a pair uniformly. A prompt or an iteration with many pairs is therefore
// drawn no more often than one with few.
//
// It holds no random state: every draw is a function of the seed, the iteration in training and the
// draw's number, so that neither a restart nor the number of workers changes one. It is safe for
// concurrent use.
type Drawer struct {
	hash    Hash
	prompts [][][]int // prompt, iteration, pair: positions in the list
}

// NewDrawer prepares drawing from a list of pairs, given by the origin of each. Prompts are ordered by
// id and iterations by number; the order of the list matters only among the pairs of one origin.
func NewDrawer(pairs []Origin, hash Hash) (*Drawer, error) {
	if len(pairs) == 0 {
		return nil, errors.New("there are no pairs to draw from")
	}
	positions := map[string]map[int][]int{}
	for k, p := range pairs {
		if positions[p.PromptID] == nil {
			positions[p.PromptID] = map[int][]int{}
		}
		positions[p.PromptID][p.Iteration] = append(positions[p.PromptID][p.Iteration], k)
	}
	d := &Drawer{hash: hash}
	for _, id := range slices.Sorted(maps.Keys(positions)) {
		var iterations [][]int
		for _, n := range slices.Sorted(maps.Keys(positions[id])) {
			iterations = append(iterations, positions[id][n])
		}
		d.prompts = append(d.prompts, iterations)
	}
	return d, nil
}

// Draw gives the position in the list of draw number n (from 0) of a training.
func (d *Drawer) Draw(seed uint64, iteration, n int) int {
	pick := func(purpose string, choices int) int {
		h := d.hash("pair", strconv.FormatUint(seed, 10), strconv.Itoa(iteration), strconv.Itoa(n), purpose)
		scaled, _ := bits.Mul64(h, uint64(choices))
		return int(scaled)
	}
	prompt := d.prompts[pick("prompt", len(d.prompts))]
	pairs := prompt[pick("iteration", len(prompt))]
	return pairs[pick("pair", len(pairs))]
}
