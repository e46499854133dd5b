// Package stages holds the CPU stages of the operator's own image: prepare, score, pair, compare and
// lineage. They are thin: what they compute is in internal/prompts, scoring, pairing, compare and lineage,
// what they promise in docs/contract.md.
package stages

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"

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
		contract.Compare: Compare,
		contract.Lineage: Lineage,
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
		t.Progress.Add(0)
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

// writeLines stores values as JSONL, encoding them as the store takes them, and names the file as an
// output.
func writeLines[T any](ctx context.Context, t *stage.Task, output, file string, lines iter.Seq[T]) error {
	return writeBehind(ctx, t, output, file, nil, lines)
}

// writeBehind does what writeLines does, behind lines that are encoded already.
func writeBehind[T any](ctx context.Context, t *stage.Task, output, file string, first []byte, lines iter.Seq[T]) error {
	next, stop := iter.Pull(lines)
	defer stop()
	r := &lineReader[T]{next: next, progress: t.Progress}
	r.encoder = jsonl.NewEncoder[T](&r.ready)
	a, err := t.WriteFrom(ctx, file, io.MultiReader(bytes.NewReader(first), r))
	if err != nil {
		return err
	}
	t.Output(output, a)
	return nil
}

// lineReader yields values as JSONL. It holds little more than one Read asks for.
type lineReader[T any] struct {
	next     func() (T, bool)
	progress *stage.Progress
	encoder  *jsonl.Encoder[T]
	ready    bytes.Buffer // encoded and not yet read
}

// Read implements io.Reader.
func (r *lineReader[T]) Read(p []byte) (int, error) {
	r.progress.Add(0) // a heartbeat: a large file takes its time
	for r.ready.Len() < len(p) {
		line, ok := r.next()
		if !ok {
			break
		}
		if err := r.encoder.Write(&line); err != nil {
			return 0, err
		}
	}
	return r.ready.Read(p)
}

func byID(lines []contract.PromptLine) map[string]contract.PromptLine {
	m := make(map[string]contract.PromptLine, len(lines))
	for _, line := range lines {
		m[line.PromptID] = line
	}
	return m
}
