// Package stages holds the CPU stages of the operator's own image: prepare, score and pair. They are
// thin: what they compute is in internal/prompts, scoring and pairing, what they promise in docs/contract.md.
package stages

import (
	"bytes"
	"context"
	"fmt"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jsonl"
	"github.com/spatialalign/operator/internal/prompts"
	"github.com/spatialalign/operator/internal/records"
	"github.com/spatialalign/operator/internal/stage"
)

// All are the stages of the operator's image.
func All() map[contract.Stage]stage.Func {
	return map[contract.Stage]stage.Func{
		contract.Prepare: Prepare,
		contract.Score:   Score,
		contract.Pair:    Pair,
	}
}

const (
	// maxPrompts bounds a prompt file, in bytes: 100,000 prompts of 600 characters.
	maxPrompts = 64 << 20
	// maxLines bounds an index, scores or pairs file, in bytes: a million lines of 500 characters.
	maxLines = 512 << 20
)

// readPrompts reads a prompt set of the store. A set that cannot be parsed is the user's mistake, and
// no retry can help.
func readPrompts(ctx context.Context, t *stage.Task, a contract.Artifact) ([]contract.PromptLine, error) {
	data, err := t.Read(ctx, a, maxPrompts)
	if err != nil {
		return nil, err
	}
	lines, err := prompts.Read(bytes.NewReader(data), a.Key)
	if err != nil {
		return nil, stage.Errorf(contract.ExitBadSpec, "prompts %w", err)
	}
	return lines, nil
}

// readIndex reads an index whose lines all name a known prompt.
func readIndex(ctx context.Context, t *stage.Task, a contract.Artifact, known map[string]contract.PromptLine) ([]contract.IndexLine, error) {
	data, err := t.Read(ctx, a, maxLines)
	if err != nil {
		return nil, err
	}
	var lines []contract.IndexLine
	err = records.ReadIndex(bytes.NewReader(data), a.Key, func(line contract.IndexLine) error {
		if _, ok := known[line.PromptID]; !ok {
			return fmt.Errorf("promptID %q is not among the prompts", line.PromptID)
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		return nil, stage.Errorf(contract.ExitBadInput, "index %w", err)
	}
	if len(lines) == 0 {
		return nil, stage.Errorf(contract.ExitBadInput, "index %s: there are no samples", a.Key)
	}
	return lines, nil
}

// writeLines stores values as JSONL and names the file as an output.
func writeLines[T any](ctx context.Context, t *stage.Task, output, file string, lines []T) error {
	var data bytes.Buffer
	encoder := jsonl.NewEncoder[T](&data)
	for i := range lines {
		if err := encoder.Write(&lines[i]); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	a, err := t.WriteFrom(ctx, file, &data)
	if err != nil {
		return err
	}
	t.Output(output, a)
	return nil
}

func byID(lines []contract.PromptLine) map[string]contract.PromptLine {
	m := make(map[string]contract.PromptLine, len(lines))
	for _, line := range lines {
		m[line.PromptID] = line
	}
	return m
}
