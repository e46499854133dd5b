package stages

import (
	"bytes"
	"context"
	"fmt"
	"iter"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/dsr"
	"github.com/spatialalign/operator/internal/pairing"
	"github.com/spatialalign/operator/internal/records"
	"github.com/spatialalign/operator/internal/scoring"
	"github.com/spatialalign/operator/internal/stage"
)

// Pair builds preference pairs from the scores of the iterations, or checks and adopts imported ones.
// Zero pairs is a result: the count "outcome/<Outcome>" says which.
func Pair(ctx context.Context, t *stage.Task) error {
	if t.Spec.Pair.Import != nil {
		return importPairs(ctx, t, *t.Spec.Pair.Import)
	}
	spec := t.Spec.Pair
	winner, err := dsr.ParseFraction(spec.WinnerThreshold)
	if err != nil {
		return stage.Errorf(contract.ExitBadSpec, "pair.winnerThreshold: %w", err)
	}
	loser, err := dsr.ParseFraction(spec.LoserThreshold)
	if err != nil {
		return stage.Errorf(contract.ExitBadSpec, "pair.loserThreshold: %w", err)
	}
	thresholds := pairing.Thresholds{Winner: winner.Float64(), Loser: loser.Float64()}
	if err := thresholds.Validate(); err != nil {
		return stage.Errorf(contract.ExitBadSpec, "pair: %w", err)
	}
	sources := make([]pairing.Source, len(spec.Sources))
	t.Progress.Total(int64(len(sources)), "iterations")
	for i, source := range spec.Sources {
		if sources[i], err = readSource(ctx, t, source); err != nil {
			return err
		}
		t.Progress.Add(1)
	}
	set, err := pairing.Build(sources, thresholds)
	if err != nil {
		return stage.Errorf(contract.ExitBadInput, "pair.sources: %w", err)
	}
	t.Counts(pairCounts("", set.Counts))
	t.Counts(pairCounts("latest/", set.Iterations[len(set.Iterations)-1].Counts))
	t.Count("outcome/"+string(set.Outcome()), 1)
	t.Progress.Total(set.Counts.Pairs, "pairs")
	return writeLines(ctx, t, "pairs", "pairs.jsonl", pairLines(set, t.Progress))
}

// pairLines yields a set's pairs as they are stored, and counts them as progress. There may be many
// more pairs than samples: they are never held together.
func pairLines(set *pairing.Set, progress *stage.Progress) iter.Seq[contract.PairLine] {
	return func(yield func(contract.PairLine) bool) {
		for p := range set.Pairs() {
			if !yield(scoring.PairLine(p)) {
				return
			}
			progress.Add(1)
		}
	}
}

// pairCounts names counts as contract.Termination does; those of the latest iteration alone have a prefix.
func pairCounts(prefix string, c pairing.Counts) map[string]int64 {
	return map[string]int64{
		prefix + "pairs":         c.Pairs,
		prefix + "prompts":       int64(c.Prompts),
		prefix + "usablePrompts": int64(c.UsablePrompts),
		prefix + "winners":       int64(c.Winners),
		prefix + "losers":        int64(c.Losers),
		prefix + "between":       int64(c.Between),
		prefix + "invalid":       int64(c.Invalid),
		prefix + "missing":       int64(c.Missing),
	}
}

func readSource(ctx context.Context, t *stage.Task, source contract.PairSource) (pairing.Source, error) {
	data, err := t.Read(ctx, source.Scores, maxLines)
	if err != nil {
		return pairing.Source{}, err
	}
	result := pairing.Source{Iteration: source.Iteration}
	err = records.ReadScores(bytes.NewReader(data), source.Scores.Key, func(line contract.ScoreLine) error {
		result.Samples = append(result.Samples, scoring.PairingSample(line))
		t.Progress.Add(0) // a heartbeat
		return nil
	})
	if err != nil {
		return pairing.Source{}, stage.Errorf(contract.ExitBadInput, "scores %w", err)
	}
	return result, nil
}

// importPairs checks a user's pairs and copies them, so that the data set stays what it was even when
// the user's file changes later.
func importPairs(ctx context.Context, t *stage.Task, a contract.Artifact) error {
	data, err := t.Read(ctx, a, maxLines)
	if err != nil {
		return err
	}
	type pair struct {
		iteration             int
		prompt, winner, loser string
	}
	seen, perPrompt := map[pair]bool{}, map[string]bool{}
	t.Progress.Total(int64(bytes.Count(data, []byte("\n"))), "pairs")
	err = records.ReadPairs(bytes.NewReader(data), a.Key, func(line contract.PairLine) error {
		key := pair{line.Iteration, line.PromptID, line.Winner, line.Loser}
		switch {
		case line.Winner == line.Loser:
			return fmt.Errorf("sample %s is both winner and loser", line.Winner)
		case seen[key]:
			return fmt.Errorf("the pair of %s and %s occurs twice", line.Winner, line.Loser)
		}
		seen[key] = true
		perPrompt[line.PromptID] = true
		t.Progress.Add(1)
		return nil
	})
	if err != nil {
		return stage.Errorf(contract.ExitBadInput, "pairs %w", err)
	}
	// Not every runtime need know the mark that some editors put at the beginning of a file.
	copied, err := t.Write(ctx, "pairs.jsonl", bytes.TrimPrefix(data, []byte("\ufeff")))
	if err != nil {
		return err
	}
	t.Output("pairs", copied)
	outcome := pairing.NoUsablePrompts
	if len(seen) > 0 {
		outcome = pairing.Pairs
	}
	t.Counts(map[string]int64{
		"pairs": int64(len(seen)), "prompts": int64(len(perPrompt)), "usablePrompts": int64(len(perPrompt)),
		"outcome/" + string(outcome): 1,
	})
	return nil
}
