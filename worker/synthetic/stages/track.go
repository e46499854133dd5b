package stages

import (
	"bytes"
	"context"
	"fmt"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jsonl"
	"github.com/spatialalign/operator/internal/stage"
	"github.com/spatialalign/operator/worker/synthetic/base"
	"github.com/spatialalign/operator/worker/synthetic/detect"
	"github.com/spatialalign/operator/worker/synthetic/scene"
	"github.com/spatialalign/operator/worker/synthetic/video"
)

// tracker works on the videos of one shard.
type tracker struct {
	*stage.Task
	spec *contract.TrackSpec
}

// track finds the boxes in the videos of its shard and writes them as one part. The tracks of each
// video are kept under its digest, so that no video is looked at twice.
func track(ctx context.Context, t *stage.Task, pace Pacer) error {
	s := tracker{t, t.Spec.Track}
	if own := detect.Identity(); s.spec.Detector != own {
		return stage.Errorf(contract.ExitMismatch, "the spec wants detector %+v, this image holds %+v: set detector of the AlignmentRuntime to what `synthetic info` prints", s.spec.Detector, own)
	}
	byID, err := readPrompts(ctx, t, base.Vocabulary(), s.spec.Prompts)
	if err != nil {
		return err
	}
	items, err := readMine(ctx, t, byID, s.spec.Index)
	if err != nil {
		return err
	}
	t.Progress.Total(int64(len(items)), "videos")
	t.Metric("paceMilliseconds", float64(pace.Milliseconds))
	counts := map[string]int64{"total": int64(len(items)), "tracked": 0, "invalid": 0, "reused": 0}
	var part bytes.Buffer
	encoder := jsonl.NewEncoder[contract.TrackLine](&part)
	for _, it := range items {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%w: %w", stage.ErrInterrupted, err)
		}
		line, reused, err := s.line(ctx, it)
		if err != nil {
			return err
		}
		if err := encoder.Write(line); err != nil {
			return err
		}
		if line.Status == contract.StatusTracked {
			counts["tracked"]++
		} else {
			counts["invalid"]++
		}
		if reused {
			counts["reused"]++
			t.Progress.Skip(1)
			continue
		}
		t.Progress.Add(1)
		if err := pace.wait(ctx); err != nil {
			return fmt.Errorf("%w: %w", stage.ErrInterrupted, err)
		}
	}
	if _, err := t.Write(ctx, contract.TrackPart(t.Shard), part.Bytes()); err != nil {
		return err
	}
	t.Counts(counts)
	return nil
}

// line gives the tracks of one sample, and whether they were there already.
func (s *tracker) line(ctx context.Context, it item) (*contract.TrackLine, bool, error) {
	var tracks *contract.TrackLine
	reused := false
	where, err := stage.ResolveVideo(ctx, s.Store, it.IndexLine)
	if err == nil {
		tracks, reused, err = s.tracks(ctx, it, where)
	}
	switch missing := artifact.IsMissing(err); {
	case err == nil:
	case s.spec.RequireVideos && (missing || artifact.IsCorrupt(err)):
		return nil, false, stage.Errorf(contract.ExitBadInput, "sample %s: its sidecar or video is missing or damaged: %w: sample it again, which puts a new one in its place", it.SampleID, err)
	case missing:
		s.Log.Warn("sample has no video", "sample", it.SampleID, "error", err.Error())
		tracks = &contract.TrackLine{Status: contract.StatusInvalid, Reason: contract.ReasonNoVideo, Frames: []contract.TrackFrame{}}
	default:
		return nil, false, err
	}
	tracks.SampleID, tracks.PromptID, tracks.Seed = it.SampleID, it.PromptID, it.Seed
	return tracks, reused, nil
}

// tracks of a video, kept ones if there are. They carry no sample: several may have the same video.
func (s *tracker) tracks(ctx context.Context, it item, where contract.Artifact) (*contract.TrackLine, bool, error) {
	var data []byte
	if where.Digest == "" { // a user's video that nobody has pinned
		var err error
		if data, err = s.Store.ReadVerified(ctx, where, maxVideo); err != nil {
			return nil, false, err
		}
		where.Digest = contract.Digest(data)
	}
	key := contract.TrackKey(where.Digest, s.spec.Detector, it.prompt.Subject, it.prompt.Object)
	kept, err := stage.ReadTracks(ctx, s.Store, key)
	damaged := artifact.IsCorrupt(err)
	switch {
	case damaged:
		s.Log.Warn("kept tracks are damaged and made again", "error", err.Error())
	case !artifact.IsMissing(err):
		return kept, err == nil, err
	}
	if data == nil {
		if data, err = s.Store.ReadVerified(ctx, where, maxVideo); err != nil {
			return nil, false, err
		}
	}
	frames, err := video.Decode(data)
	if err != nil {
		return nil, false, stage.Errorf(contract.ExitBadInput, "sample %s: %s: %w", it.SampleID, where.Key, err)
	}
	subject, _ := scene.Find(scene.Subjects, it.prompt.Subject) // readPrompts knows all words
	object, _ := scene.Find(scene.Objects, it.prompt.Object)
	found := detect.Track(frames, subject.Color, object.Color)
	size := frames[0].Bounds()
	line := &contract.TrackLine{Width: size.Dx(), Height: size.Dy(), FrameCount: len(frames),
		Status: contract.StatusTracked, Frames: found.Frames}
	if found.Reason != "" {
		line.Status, line.Reason = contract.StatusInvalid, found.Reason
	}
	return line, false, stage.KeepTracks(ctx, s.Store, key, line, damaged)
}
