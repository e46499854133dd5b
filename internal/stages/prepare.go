package stages

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/prompts"
	"github.com/spatialalign/operator/internal/stage"
)

// lookups is how many samples are looked up in the store at once.
const lookups = 32

// Prepare resolves the prompt sources, refuses sets that overlap, and lists the samples of each sample
// set and how many of them the store lacks, and how many of the set's detector's tracks.
func Prepare(ctx context.Context, t *stage.Task) error {
	spec := t.Spec.Prepare
	resolved := map[string][]contract.PromptLine{}
	var named []prompts.Named
	for _, source := range spec.Prompts {
		lines, err := resolvePrompts(ctx, t, source)
		if err != nil {
			return err
		}
		resolved[source.Name] = lines
		named = append(named, prompts.Named{Name: source.Name, Prompts: lines})
	}
	if err := prompts.CheckOverlap(named...); err != nil {
		return &stage.Error{Code: contract.ExitBadSpec, Err: err}
	}
	for _, set := range named {
		if err := writeLines(ctx, t, "prompts/"+set.Name, "prompts-"+set.Name+".jsonl", slices.Values(set.Prompts)); err != nil {
			return err
		}
		t.Count(set.Name+"/prompts", int64(len(set.Prompts)))
	}
	for _, set := range spec.Sets {
		if err := prepareSet(ctx, t, set, resolved[set.Name]); err != nil {
			return err
		}
	}
	return nil
}

func resolvePrompts(ctx context.Context, t *stage.Task, source contract.PromptSource) ([]contract.PromptLine, error) {
	var lines []contract.PromptLine
	var err error
	switch {
	case source.Generate != nil:
		lines, err = prompts.Generate(*source.Generate)
	case source.File != "":
		lines, err = prompts.ReadFile(source.File)
	default:
		return readPrompts(ctx, t, *source.Artifact)
	}
	if err != nil {
		return nil, stage.Errorf(contract.ExitBadSpec, "%s prompts: %w", source.Name, err)
	}
	return lines, nil
}

// prepareSet writes a set's index and counts what is missing.
func prepareSet(ctx context.Context, t *stage.Task, set contract.SampleSet, lines []contract.PromptLine) error {
	if set.Prompts != nil {
		var err error
		if lines, err = readPrompts(ctx, t, *set.Prompts); err != nil {
			return err
		}
	}
	index := listSamples(set, lines)
	// The index comes first: from then on garbage collection spares the samples that are found.
	if err := writeLines(ctx, t, "index/"+set.Name, "index-"+set.Name+".jsonl", slices.Values(index)); err != nil {
		return err
	}
	missing, untracked, err := countMissing(ctx, t, set, index, byID(lines))
	if err != nil {
		return err
	}
	t.Count(set.Name+"/total", int64(len(index)))
	t.Count(set.Name+"/missing", missing)
	if set.Detector != nil {
		t.Count(set.Name+"/untracked", untracked)
	}
	return nil
}

// listSamples lists the samples of a set in the order of their ids, which are hashes: neighbours in
// the prompt file land in different shards.
func listSamples(set contract.SampleSet, lines []contract.PromptLine) []contract.IndexLine {
	index := make([]contract.IndexLine, 0, len(lines)*set.SamplesPerPrompt)
	for _, prompt := range lines {
		for j := range set.SamplesPerPrompt {
			seed := contract.Seed(set.Seeds, prompt.PromptID, j)
			index = append(index, contract.IndexLine{
				SampleID: contract.SampleKey(set.Sampling, prompt.Prompt, seed),
				PromptID: prompt.PromptID,
				Seed:     seed,
			})
		}
	}
	slices.SortFunc(index, func(a, b contract.IndexLine) int { return strings.Compare(a.SampleID, b.SampleID) })
	return index
}

// countMissing looks every sample up, and counts those that the store lacks and those whose tracks it lacks.
func countMissing(ctx context.Context, t *stage.Task, set contract.SampleSet, index []contract.IndexLine, known map[string]contract.PromptLine) (missing, untracked int64, err error) {
	t.Progress.Total(int64(len(index)), "samples")
	var samples, tracks atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(lookups)
	for _, line := range index {
		group.Go(func() error {
			defer t.Progress.Add(1)
			stored, tracked, err := lookUp(ctx, t, set, line, known[line.PromptID])
			if err != nil {
				return err
			}
			if !stored {
				samples.Add(1)
			}
			if !tracked {
				tracks.Add(1)
			}
			return nil
		})
	}
	err = group.Wait()
	return samples.Load(), tracks.Load(), err
}

// lookUp says whether a sample is stored and, if the set has a detector, whether its tracks are kept. A sample that is there
// but damaged, or not what its id says, is not stored: it will be made again. Neither are its tracks, then.
func lookUp(ctx context.Context, t *stage.Task, set contract.SampleSet, line contract.IndexLine, prompt contract.PromptLine) (stored, tracked bool, err error) {
	sidecar, err := stage.ResolveSample(ctx, t.Store, line)
	switch {
	case absent(err):
		return false, false, nil
	case err != nil:
		return false, false, err
	case contract.SampleKey(sidecar.Sampling, prompt.Prompt, sidecar.Seed) != line.SampleID,
		set.KeepLatents && sidecar.Latent == nil:
		return false, false, nil
	case set.Detector == nil:
		return true, false, nil
	}
	_, err = stage.ReadTracks(ctx, t.Store, contract.TrackKey(sidecar.Video.Digest, *set.Detector, prompt.Subject, prompt.Object))
	if absent(err) {
		return true, false, nil
	}
	return true, err == nil, err
}

// absent says that what was looked for is to be made, or made again.
func absent(err error) bool { return artifact.IsMissing(err) || artifact.IsCorrupt(err) }
