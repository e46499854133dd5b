package stages

import (
	"bytes"
	"context"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/pairing"
	"github.com/spatialalign/operator/internal/records"
	"github.com/spatialalign/operator/internal/stage"
	"github.com/spatialalign/operator/worker/synthetic/align"
	"github.com/spatialalign/operator/worker/synthetic/model"
)

// readPairs gives the pairs with their latents, which come through the samples' sidecars, verified.
func readPairs(ctx context.Context, t *stage.Task, byID map[string]prompt, a contract.Artifact) ([]align.Pair, error) {
	data, err := t.Read(ctx, a, maxPairs)
	if err != nil {
		return nil, err
	}
	var lines []contract.PairLine
	err = records.ReadPairs(bytes.NewReader(data), a.Key, func(line contract.PairLine) error {
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		return nil, stage.Errorf(contract.ExitBadInput, "pairs %w", err)
	}
	latents := map[string][]float32{}
	latent := func(sampleID, promptID string) []float32 {
		if l, ok := latents[sampleID]; ok || err != nil {
			return l
		}
		latents[sampleID], err = readLatent(ctx, t, sampleID, promptID)
		return latents[sampleID]
	}
	pairs := make([]align.Pair, len(lines))
	for i, line := range lines {
		p, ok := byID[line.PromptID]
		if !ok {
			return nil, stage.Errorf(contract.ExitBadInput, "pairs %s: prompt %q is not in the prompts", a.Key, line.PromptID)
		}
		pairs[i] = align.Pair{Origin: pairing.Origin{PromptID: line.PromptID, Iteration: line.Iteration}, Text: p.text,
			Winner: latent(line.Winner, line.PromptID), Loser: latent(line.Loser, line.PromptID)}
		if err != nil {
			return nil, err
		}
	}
	return pairs, nil
}

// readLatent of a sample. A pair knows no seed, so that only the prompt is compared.
func readLatent(ctx context.Context, t *stage.Task, sampleID, promptID string) ([]float32, error) {
	sidecar, err := stage.ReadSidecar(ctx, t.Store, sampleID)
	if err != nil {
		return nil, err
	}
	if sidecar.PromptID != promptID {
		return nil, stage.Errorf(contract.ExitBadInput, "sample %s is of prompt %q; the pairs say %q", sampleID, sidecar.PromptID, promptID)
	}
	if sidecar.Latent == nil {
		return nil, stage.Errorf(contract.ExitBadInput, "sample %s has no latent: only training samples keep theirs", sampleID)
	}
	file := contract.Artifact{Key: sidecar.Latent.Key, Digest: sidecar.Latent.Digest}
	data, err := t.Store.ReadVerified(ctx, file, maxLatent)
	if err != nil {
		return nil, err
	}
	latent, err := model.DecodeLatent(data)
	if err != nil {
		return nil, stage.Errorf(contract.ExitBadInput, "%s: %w", file.Key, err)
	}
	return latent, nil
}
