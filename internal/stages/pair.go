package stages

import (
	"bytes"
	"cmp"
	"context"
	"iter"
	"maps"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/dsr"
	"github.com/spatialalign/operator/internal/pairing"
	"github.com/spatialalign/operator/internal/records"
	"github.com/spatialalign/operator/internal/scoring"
	"github.com/spatialalign/operator/internal/stage"
)

// Pair builds preference pairs from the scores of the iterations, behind those of earlier iterations, or
// checks and adopts imported ones. Zero pairs is a result: the count "outcome/<Outcome>" says which.
func Pair(ctx context.Context, t *stage.Task) error {
	if t.Spec.Pair.Import != nil {
		return importPairs(ctx, t, *t.Spec.Pair.Import)
	}
	spec := t.Spec.Pair
	rules, err := pairingRules(spec)
	if err != nil {
		return err
	}
	earlier := &pairFile{}
	if spec.Extends != nil {
		if earlier, err = readPairFile(ctx, t, *spec.Extends); err != nil {
			return err
		}
	}
	sources := make([]pairing.Source, len(spec.Sources))
	t.Progress.Total(int64(len(sources)), "scores")
	for i, source := range spec.Sources {
		if sources[i], err = readSource(ctx, t, source); err != nil {
			return err
		}
		t.Progress.Add(1)
	}
	set, err := pairing.Build(sources, rules, contract.Hash64)
	if err != nil {
		return stage.Errorf(contract.ExitBadInput, "pair.sources: %w", err)
	}
	if err := earlier.checkApart(set, t.Progress); err != nil {
		return stage.Errorf(contract.ExitBadInput, "pair.extends %s: %w", spec.Extends.Key, err)
	}
	t.Counts(pairCounts("latest/", set.Iterations[len(set.Iterations)-1].Counts))
	t.Progress.Total(set.Counts.Pairs, "pairs")
	set.Extend(int64(len(earlier.seen)), maps.Keys(earlier.prompts))
	t.Counts(pairCounts("", set.Counts))
	t.Count("outcome/"+string(set.Outcome()), 1)
	return writeBehind(ctx, t, "pairs", "pairs.jsonl", earlier.data, pairLines(set, t.Progress))
}

func pairingRules(spec *contract.PairSpec) (pairing.Rules, error) {
	rules := pairing.Rules{MaxPairsPerPrompt: spec.MaxPairsPerPrompt}
	for _, f := range []struct {
		name, decimal string
		value         *float64
	}{
		{"winnerThreshold", spec.WinnerThreshold, &rules.Winner},
		{"loserThreshold", spec.LoserThreshold, &rules.Loser},
		{"minMargin", cmp.Or(spec.MinMargin, "0"), &rules.MinMargin},
	} {
		fraction, err := dsr.ParseFraction(f.decimal)
		if err != nil {
			return rules, stage.Errorf(contract.ExitBadSpec, "pair.%s: %w", f.name, err)
		}
		*f.value = fraction.Float64()
	}
	if err := rules.Validate(); err != nil {
		return rules, stage.Errorf(contract.ExitBadSpec, "pair: %w", err)
	}
	return rules, nil
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
	pairs, err := readPairFile(ctx, t, a)
	if err != nil {
		return err
	}
	copied, err := t.Write(ctx, "pairs.jsonl", pairs.data)
	if err != nil {
		return err
	}
	t.Output("pairs", copied)
	outcome := pairing.NoUsablePrompts
	if len(pairs.seen) > 0 {
		outcome = pairing.Pairs
	}
	prompts := int64(len(pairs.prompts))
	t.Counts(map[string]int64{
		"pairs": int64(len(pairs.seen)), "prompts": prompts, "usablePrompts": prompts,
		"outcome/" + string(outcome): 1,
	})
	return nil
}
