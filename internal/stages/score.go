package stages

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/dsr"
	"github.com/spatialalign/operator/internal/records"
	"github.com/spatialalign/operator/internal/scoring"
	"github.com/spatialalign/operator/internal/stage"
)

// Score scores every sample of the index by the parts of all track shards, or by the tracks that are kept of its video. A
// sample that no part has is Missing, or refused where tracks are required; a track of a sample that the index does not list is refused.
func Score(ctx context.Context, t *stage.Task) error {
	spec := t.Spec.Score
	lines, err := readPrompts(ctx, t, spec.Prompts)
	if err != nil {
		return err
	}
	known := byID(lines)
	index, err := readIndex(ctx, t, spec.Index, known)
	if err != nil {
		return err
	}
	m := merger{
		scorer:   scoring.NewScorer(spec.MinUsableFrames),
		position: make(map[string]int, len(index)),
		index:    index,
		types:    make(map[string]dsr.Type, len(known)),
		samples:  make([]*scoring.Sample, len(index)),
	}
	for i, line := range index {
		m.position[line.SampleID] = i
	}
	for id, prompt := range known {
		if m.types[id], err = dsr.ParseType(prompt.Type); err != nil {
			return stage.Errorf(contract.ExitBadSpec, "prompts %s: prompt %s: %w", spec.Prompts.Key, id, err)
		}
	}
	if spec.Detector != nil {
		err = m.takeKept(ctx, t, *spec.Detector, known)
	} else {
		err = m.mergeParts(ctx, t, spec.Tracks)
	}
	if err != nil {
		return err
	}
	scores, summary := m.finish()
	if err := m.checkMissing(spec.RequireTracks); err != nil {
		return err
	}
	if err := m.checkGuards(spec.Guards, spec.Detector != nil); err != nil {
		return err
	}
	if err := checkInvalid(summary, spec.MaxInvalidFraction); err != nil {
		return err
	}
	return writeScores(ctx, t, scores, summary)
}

// trackParts reads the manifests of all track shards and gives each one's part file. Together they
// must be exactly the shards of one track stage.
func trackParts(ctx context.Context, t *stage.Task, manifests []contract.Artifact) ([]contract.File, error) {
	parts := make([]contract.File, len(manifests))
	specDigest := ""
	t.Progress.Total(int64(len(manifests)), "track shards")
	for i, a := range manifests {
		m, err := t.Store.ReadManifest(ctx, a)
		if err != nil {
			return nil, err
		}
		t.Input(a)
		if i == 0 {
			specDigest = m.SpecDigest
		}
		if m.Stage != contract.Track || m.Shards != len(manifests) || m.SpecDigest != specDigest {
			return nil, stage.Errorf(contract.ExitBadInput, "tracks[%d] %s: it is of stage %s, spec %s, with %d shards; want the %d shards of one track stage (spec %s)",
				i, a.Key, m.Stage, m.SpecDigest, m.Shards, len(manifests), specDigest)
		}
		if parts[m.Shard].Key != "" {
			return nil, stage.Errorf(contract.ExitBadInput, "tracks[%d] %s: shard %d is listed twice", i, a.Key, m.Shard)
		}
		if parts[m.Shard], err = partOf(m); err != nil {
			return nil, stage.Errorf(contract.ExitBadInput, "tracks[%d] %s: %w", i, a.Key, err)
		}
		t.Progress.Add(1)
	}
	return parts, nil
}

func partOf(m *contract.Manifest) (contract.File, error) {
	name := contract.TrackPart(m.Shard)
	for _, f := range m.Files {
		if strings.HasSuffix(f.Key, "/"+name) {
			return f, nil
		}
	}
	return contract.File{}, fmt.Errorf("the manifest lists no file %s", name)
}

// merger scores track lines and puts each at its sample's place in the index.
type merger struct {
	scorer   *scoring.Scorer
	index    []contract.IndexLine
	position map[string]int
	types    map[string]dsr.Type
	samples  []*scoring.Sample
}

// mergeParts scores what the track shards with these manifests wrote.
func (m *merger) mergeParts(ctx context.Context, t *stage.Task, manifests []contract.Artifact) error {
	parts, err := trackParts(ctx, t, manifests)
	if err != nil {
		return err
	}
	t.Progress.Total(int64(len(m.index)), "samples")
	for _, part := range parts {
		if err := m.merge(ctx, t, part); err != nil {
			return err
		}
	}
	return nil
}

func (m *merger) merge(ctx context.Context, t *stage.Task, part contract.File) error {
	a := contract.Artifact{Key: part.Key, Digest: part.Digest}
	r, err := t.Store.OpenVerified(ctx, a)
	if err != nil {
		return err
	}
	defer r.Close()
	t.Input(a)
	err = records.ReadTracks(r, part.Key, func(track *contract.TrackLine) error {
		i, ok := m.position[track.SampleID]
		switch {
		case !ok:
			return fmt.Errorf("sample %s is not in the index", track.SampleID)
		case m.samples[i] != nil:
			return fmt.Errorf("sample %s has a second track", track.SampleID)
		case track.PromptID != m.index[i].PromptID || track.Seed != m.index[i].Seed:
			return fmt.Errorf("sample %s: prompt %s and seed %d are not those of the index, %s and %d",
				track.SampleID, track.PromptID, track.Seed, m.index[i].PromptID, m.index[i].Seed)
		}
		sample := m.scorer.Score(m.types[track.PromptID], track)
		m.samples[i] = &sample
		t.Progress.Add(1)
		return nil
	})
	// A damaged file rarely parses: say that it is damaged rather than how.
	if damage := r.Finish(); damage != nil {
		return damage
	}
	if err != nil {
		return stage.Errorf(contract.ExitBadInput, "tracks %w", err)
	}
	return nil
}

// finish fills in the missing samples and sums up.
func (m *merger) finish() ([]contract.ScoreLine, *scoring.Summary) {
	summary := &scoring.Summary{}
	scores := make([]contract.ScoreLine, len(m.index))
	for i, sample := range m.samples {
		if sample == nil {
			missing := scoring.Missing(m.index[i])
			sample = &missing
		}
		summary.Add(sample)
		scores[i] = sample.Line
	}
	return scores, summary
}

// checkMissing refuses to score without the samples that no part has, where all were to be tracked: an evaluation without
// them is none.
func (m *merger) checkMissing(required bool) error {
	if !required {
		return nil
	}
	count, first := 0, 0
	for i := len(m.samples) - 1; i >= 0; i-- {
		if m.samples[i] == nil {
			count, first = count+1, i
		}
	}
	if count == 0 {
		return nil
	}
	return stage.Errorf(contract.ExitBadInput, "%d of %d samples have no track in any part, first sample %s: the tracking is incomplete",
		count, len(m.samples), m.index[first].SampleID)
}

// checkGuards refuses scores without a guard metric that somebody relies on. Kept tracks may be older than the weights for it;
// new ones come from a tracker that has none.
func (m *merger) checkGuards(names []string, kept bool) error {
	for _, name := range names {
		count, first := 0, ""
		for _, sample := range m.samples {
			if sample == nil || sample.Line.Status != contract.StatusScored {
				continue
			}
			if _, ok := sample.Guards[name]; !ok {
				count++
				first = cmp.Or(first, sample.Line.SampleID)
			}
		}
		switch {
		case count > 0 && kept:
			return stage.Errorf(contract.ExitBadInput, "the kept tracks of %d samples have no guard metric %s, first sample %s: track again", count, name, first)
		case count > 0:
			return stage.Errorf(contract.ExitBadSpec, "guard metric %s is asked for, and the runtime's tracker did not measure it of %d samples, first sample %s: give it the weights for it, or do not ask for it",
				name, count, first)
		}
	}
	return nil
}

// checkInvalid refuses scores of a set in which more samples are INVALID than the spec accepts: that
// is a failure of the model or the detector and no data to learn from.
func checkInvalid(summary *scoring.Summary, limit string) error {
	most, err := strconv.ParseFloat(limit, 64)
	if err != nil {
		return stage.Errorf(contract.ExitBadSpec, "score.maxInvalidFraction: %w", err)
	}
	// Divided, not multiplied: 29/100 is the decimal 0.29, but 0.29*100 is less than 29.
	if float64(summary.Invalid)/float64(summary.Asked()) <= most {
		return nil
	}
	return stage.Errorf(contract.ExitTooManyInvalid, "%d of %d samples are INVALID, more than maxInvalidFraction %s accepts (%d scored, %d missing): look at their videos and tracks",
		summary.Invalid, summary.Asked(), limit, summary.Scored, summary.Missing)
}

func writeScores(ctx context.Context, t *stage.Task, scores []contract.ScoreLine, summary *scoring.Summary) error {
	if err := writeLines(ctx, t, "scores", "scores.jsonl", slices.Values(scores)); err != nil {
		return err
	}
	t.Counts(summary.Counts())
	t.Metrics(summary.Metrics())
	data, err := json.MarshalIndent(map[string]any{"counts": summary.Counts(), "metrics": summary.Metrics()}, "", "  ")
	if err != nil {
		return fmt.Errorf("summary.json: %w", err)
	}
	_, err = t.Write(ctx, "summary.json", append(data, '\n'))
	return err
}
