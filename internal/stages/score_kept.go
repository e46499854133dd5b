package stages

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/scoring"
	"github.com/spatialalign/operator/internal/stage"
)

// takeKept scores the tracks that are kept of the samples' videos. They are read side by side, and no more than `+"`lookups`"+` of
// them are in memory. All must be there: what is missing is found by tracking, not by scoring.
func (m *merger) takeKept(ctx context.Context, t *stage.Task, detector contract.Detector, known map[string]contract.PromptLine) error {
	t.Progress.Total(int64(len(m.index)), "samples")
	lost := make([]error, len(m.index))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(lookups)
	for i, line := range m.index {
		group.Go(func() error {
			defer t.Progress.Add(1)
			track, err := keptTracks(ctx, t, line, detector, known[line.PromptID])
			if absent(err) {
				lost[i] = err
				return nil
			}
			if err != nil {
				return err
			}
			sample := scoring.NewScorer(t.Spec.Score.MinUsableFrames).Score(m.types[line.PromptID], track)
			m.samples[i] = &sample
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return refuseLost(m.index, lost)
}

// keptTracks of a sample's video, under the sample's name.
func keptTracks(ctx context.Context, t *stage.Task, line contract.IndexLine, detector contract.Detector, prompt contract.PromptLine) (*contract.TrackLine, error) {
	video, err := stage.ResolveVideo(ctx, t.Store, line)
	if err != nil {
		return nil, err
	}
	if video.Digest == "" {
		return nil, stage.Errorf(contract.ExitBadInput, "sample %s: the index gives no digest of video %s, by which its tracks are found: add it, or track again", line.SampleID, video.Key)
	}
	track, err := stage.ReadTracks(ctx, t.Store, contract.TrackKey(video.Digest, detector, prompt.Subject, prompt.Object))
	if err != nil {
		return nil, err
	}
	track.SampleID, track.PromptID, track.Seed = line.SampleID, line.PromptID, line.Seed
	return track, nil
}

// refuseLost names the first sample whose tracks are lost, and says how many are.
func refuseLost(index []contract.IndexLine, lost []error) error {
	count, first := 0, 0
	for i := len(lost) - 1; i >= 0; i-- {
		if lost[i] != nil {
			count, first = count+1, i
		}
	}
	if count == 0 {
		return nil
	}
	return stage.Errorf(contract.ExitBadInput, "the tracks of %d of %d samples are missing or damaged in the store, first sample %s: %w: track again",
		count, len(index), index[first].SampleID, lost[first])
}
