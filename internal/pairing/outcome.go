package pairing

// Counts of what was classified.
type Counts struct {
	// Prompts that have at least one sample, and those of them that have a winner and a loser within
	// one iteration.
	Prompts, UsablePrompts int
	// Samples by kind. Between counts scores that neither win nor lose.
	Winners, Losers, Between, Invalid, Missing int
	// Pairs of a winner and a loser.
	Pairs int64
}

func (c *Counts) add(o Counts) {
	c.Winners += o.Winners
	c.Losers += o.Losers
	c.Between += o.Between
	c.Invalid += o.Invalid
	c.Missing += o.Missing
	c.Pairs += o.Pairs
}

// Outcome of pairing. Having no pairs is an outcome, not an error.
type Outcome string

const (
	// Pairs means that there is at least one pair.
	Pairs Outcome = "Pairs"
	// AllWinners means that every sample wins: nothing is left to learn, the method has converged.
	AllWinners Outcome = "AllWinners"
	// AllLosersOrInvalid means that every sample loses or is INVALID: the model has collapsed.
	AllLosersOrInvalid Outcome = "AllLosersOrInvalid"
	// NoUsablePrompts means that there are no pairs for another reason: no prompt has both a winner
	// and a loser, or there are no samples at all.
	NoUsablePrompts Outcome = "NoUsablePrompts"
)

// Outcome that the counts amount to. Missing samples tell nothing and are left aside.
func (c Counts) Outcome() Outcome {
	found := c.Winners + c.Losers + c.Between + c.Invalid
	switch {
	case c.Pairs > 0:
		return Pairs
	case found > 0 && c.Winners == found:
		return AllWinners
	case found > 0 && c.Losers+c.Invalid == found:
		return AllLosersOrInvalid
	default:
		return NoUsablePrompts
	}
}
