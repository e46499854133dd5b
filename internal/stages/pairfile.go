package stages

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/pairing"
	"github.com/spatialalign/operator/internal/records"
	"github.com/spatialalign/operator/internal/stage"
)

// pairFile is a pairs.jsonl that was checked. The zero value has no pairs.
type pairFile struct {
	// data is the file, which ends with a newline if it holds anything.
	data    []byte
	seen    map[pairKey]bool
	prompts map[string]bool
}

// pairKey is what makes a pair a different one.
type pairKey struct {
	iteration             int
	prompt, winner, loser string
}

// readPairFile reads pairs that somebody else formed: no sample may win against itself, and no pair may
// occur twice, or training would draw it twice as often.
func readPairFile(ctx context.Context, t *stage.Task, a contract.Artifact) (*pairFile, error) {
	data, err := t.Read(ctx, a, maxLines)
	if err != nil {
		return nil, err
	}
	// Not every runtime need know the mark that some editors put at the beginning of a file.
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	f := &pairFile{data: data, seen: map[pairKey]bool{}, prompts: map[string]bool{}}
	t.Progress.Total(int64(bytes.Count(data, []byte("\n"))), "pairs")
	err = records.ReadPairs(bytes.NewReader(data), a.Key, func(line contract.PairLine) error {
		key := pairKey{line.Iteration, line.PromptID, line.Winner, line.Loser}
		switch {
		case line.Winner == line.Loser:
			return fmt.Errorf("sample %s is both winner and loser", line.Winner)
		case f.seen[key]:
			return fmt.Errorf("the pair of %s and %s occurs twice", line.Winner, line.Loser)
		}
		f.seen[key], f.prompts[line.PromptID] = true, true
		t.Progress.Add(1)
		return nil
	})
	if err != nil {
		return nil, stage.Errorf(contract.ExitBadInput, "pairs %w", err)
	}
	if len(data) > 0 && !bytes.HasSuffix(data, []byte("\n")) {
		f.data = slices.Concat(data, []byte("\n"))
	}
	return f, nil
}

// checkApart refuses a set with a pair that the file has too.
func (f *pairFile) checkApart(set *pairing.Set, progress *stage.Progress) error {
	if len(f.seen) == 0 {
		return nil
	}
	for p := range set.Pairs() {
		if f.seen[pairKey{p.Iteration, p.PromptID, p.Winner.ID, p.Loser.ID}] {
			return fmt.Errorf("the pair of %s and %s of iteration %d is in it already", p.Winner.ID, p.Loser.ID, p.Iteration)
		}
		progress.Add(0) // a heartbeat
	}
	return nil
}
