package scoring

import (
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/pairing"
)

// PairingSample is what pairing needs of a score line.
func PairingSample(line contract.ScoreLine) pairing.Sample {
	sample := pairing.Sample{ID: line.SampleID, PromptID: line.PromptID}
	switch {
	case line.Score != nil:
		sample.Score = *line.Score
	case line.Status == contract.StatusInvalid:
		sample.Status = pairing.Invalid
	default:
		sample.Status = pairing.Missing
	}
	return sample
}

// PairLine is the record of a pair.
func PairLine(p pairing.Pair) contract.PairLine {
	return contract.PairLine{
		PromptID: p.PromptID, Iteration: p.Iteration, Winner: p.Winner.ID, Loser: p.Loser.ID,
		WinnerScore: p.Winner.Score, LoserScore: p.Loser.Score,
	}
}
