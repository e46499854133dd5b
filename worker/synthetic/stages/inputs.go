// Package stages are the stages of the synthetic runtime: sample, track and train, on top of the
// harness in internal/stage.
package stages

import (
	"bytes"
	"context"
	"fmt"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/prompts"
	"github.com/spatialalign/operator/internal/records"
	"github.com/spatialalign/operator/internal/stage"
	"github.com/spatialalign/operator/worker/synthetic/base"
	"github.com/spatialalign/operator/worker/synthetic/model"
	"github.com/spatialalign/operator/worker/synthetic/video"
)

// Bounds on inputs, in bytes.
const (
	maxPrompts = 64 << 20
	maxIndex   = 256 << 20
	maxPairs   = 256 << 20
	maxAdapter = 64 << 20
	maxVideo   = video.MaxBytes
	maxLatent  = 64 << 10
)

// prompt with its place in the model's text encoder.
type prompt struct {
	contract.PromptLine
	text model.Text
}

// loadBase gives the embedded model, which must be the one that the spec names.
func loadBase(want contract.Model, numericsRevision string) (*base.Model, error) {
	m, err := base.Load()
	if err != nil {
		return nil, stage.Errorf(contract.ExitMismatch, "%w", err)
	}
	if want.Digest != m.Digest {
		return nil, stage.Errorf(contract.ExitMismatch, "model %q has digest %s in the spec, this image holds %s: set model.digest of the AlignmentRuntime to what `synthetic info` prints", want.Name, want.Digest, m.Digest)
	}
	if numericsRevision != base.NumericsRevision {
		return nil, stage.Errorf(contract.ExitMismatch, "numericsRevision is %q in the spec, %q in this image", numericsRevision, base.NumericsRevision)
	}
	return m, nil
}

// loadAdapter reads an adapter of the model; nil for none.
func loadAdapter(ctx context.Context, t *stage.Task, m *base.Model, a *contract.Artifact) (*model.Adapter, error) {
	if a == nil {
		return nil, nil
	}
	data, err := t.Read(ctx, *a, maxAdapter)
	if err != nil {
		return nil, err
	}
	adapter, err := model.DecodeAdapter(data, m.Words(), m.Digest)
	if err != nil {
		return nil, stage.Errorf(contract.ExitMismatch, "%s: %w", a.Key, err)
	}
	return adapter, nil
}

// readPrompts gives the prompts by id. A word that the model does not know is an error that names the prompt.
func readPrompts(ctx context.Context, t *stage.Task, vocabulary *model.Vocabulary, a contract.Artifact) (map[string]prompt, error) {
	data, err := t.Read(ctx, a, maxPrompts)
	if err != nil {
		return nil, err
	}
	lines, err := prompts.Read(bytes.NewReader(data), a.Key)
	if err != nil {
		return nil, stage.Errorf(contract.ExitBadSpec, "prompts %w", err)
	}
	byID := make(map[string]prompt, len(lines))
	for _, line := range lines {
		text, err := vocabulary.Encode(line.Subject, line.Object, line.Type)
		if err != nil {
			return nil, stage.Errorf(contract.ExitBadSpec, "prompts %s: prompt %q: %w", a.Key, line.PromptID, err)
		}
		byID[line.PromptID] = prompt{line, text}
	}
	return byID, nil
}

// item is a line of the index with its prompt.
type item struct {
	contract.IndexLine
	prompt prompt
}

// readMine gives this shard's lines of the index.
func readMine(ctx context.Context, t *stage.Task, byID map[string]prompt, a contract.Artifact) ([]item, error) {
	data, err := t.Read(ctx, a, maxIndex)
	if err != nil {
		return nil, err
	}
	var mine []item
	position := 0
	err = records.ReadIndex(bytes.NewReader(data), a.Key, func(line contract.IndexLine) error {
		p, ok := byID[line.PromptID]
		if !ok {
			return fmt.Errorf("sample %s is of prompt %q, which the prompts lack", line.SampleID, line.PromptID)
		}
		if t.Mine(position) {
			mine = append(mine, item{line, p})
		}
		position++
		return nil
	})
	if err != nil {
		return nil, stage.Errorf(contract.ExitBadInput, "index %w", err)
	}
	return mine, nil
}
