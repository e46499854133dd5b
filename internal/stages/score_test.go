package stages_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/artifact/storetest"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/dsr"
)

// sample is one line of the index and what tracking said of it; no track when status is empty.
type sample struct {
	line   contract.IndexLine
	status string
	wins   bool // the subject goes where the prompt says
	guards map[string]float64
}

// moves is a track of 24 frames in which the subject passes over the object from left to right, or back.
func moves(s sample) contract.TrackLine {
	track := contract.TrackLine{
		SampleID: s.line.SampleID, PromptID: s.line.PromptID, Seed: s.line.Seed, Width: 64, Height: 48, FrameCount: 24,
		Status: s.status, Frames: []contract.TrackFrame{}, Guards: s.guards,
	}
	if s.status != contract.StatusTracked {
		track.Reason = contract.ReasonTooFewValidFrames
		return track
	}
	for i := range 24 {
		x := float64(2 * i)
		if !s.wins {
			x = 46 - x
		}
		track.Frames = append(track.Frames, contract.TrackFrame{Index: i, Subject: &contract.Box{x, 10, x + 8, 18}, Object: &contract.Box{20, 10, 28, 18}})
	}
	return track
}

// fourSamples: a winner, a loser, an INVALID one and one without a track.
func fourSamples() []sample {
	line := func(id string, seed uint64) contract.IndexLine {
		return contract.IndexLine{SampleID: id, PromptID: "a", Seed: seed}
	}
	return []sample{
		{line("s1", 1<<63), contract.StatusTracked, true, nil},
		{line("s2", 2), contract.StatusTracked, false, nil},
		{line("s3", 3), contract.StatusInvalid, false, nil},
		{line("s4", 4), "", false, nil},
	}
}

// scoring is the state of a store after tracking, which tests damage.
type scoring struct {
	*world
	spec contract.ScoreSpec
}

func newScoring(t *testing.T, shards int, samples []sample) *scoring {
	t.Helper()
	return fillScoring(newWorld(t), shards, samples)
}

func fillScoring(w *world, shards int, samples []sample) *scoring {
	w.Helper()
	s := &scoring{w, contract.ScoreSpec{Prompts: storetest.PutLines(w, w.store, "prompts.jsonl", promptA), MinUsableFrames: dsr.MinUsableFrames, MaxInvalidFraction: "1"}}
	var index []contract.IndexLine
	parts := make([][]contract.TrackLine, shards)
	for i, sample := range samples {
		index = append(index, sample.line)
		if shard := contract.Shard(i, shards); sample.status != "" {
			parts[shard] = append(parts[shard], moves(sample))
		}
	}
	s.spec.Index = storetest.PutLines(w, w.store, "index.jsonl", index...)
	for shard, part := range parts {
		s.spec.Tracks = append(s.spec.Tracks, s.tracked(shard, shards, part))
	}
	return s
}

// tracked is what a track shard leaves behind.
func (s *scoring) tracked(shard, shards int, part []contract.TrackLine) contract.Artifact {
	s.Helper()
	dir := artifact.ManifestDir("out/track", 0, "uid-track", shard)
	file := storetest.PutLines(s.world, s.store, dir+"/"+contract.TrackPart(shard), part...)
	size, err := s.store.Size(s.Context(), file.Key)
	if err != nil {
		s.Fatal(err)
	}
	a, err := s.store.CommitManifest(s.Context(), "out/track", &contract.Manifest{
		ContractVersion: contract.Version, Stage: contract.Track, SpecDigest: contract.Digest([]byte("track")), PodUID: "uid-track",
		Shard: shard, Shards: shards, Outputs: map[string]contract.Artifact{},
		Files: []contract.File{{Key: file.Key, Size: size, Digest: file.Digest}},
	})
	if err != nil {
		s.Fatal(err)
	}
	return a
}

func (s *scoring) score() contract.Spec { return contract.Spec{Stage: contract.Score, Score: &s.spec} }

func TestScore(t *testing.T) {
	for _, shards := range []int{1, 3} {
		t.Run(fmt.Sprint(shards, " shards"), func(t *testing.T) {
			s := newScoring(t, shards, fourSamples())
			done := s.done(s.score())
			got := lines[contract.ScoreLine](s.world, done.Outputs["scores"])
			var summary []string
			for _, line := range got {
				word := fmt.Sprint(line.SampleID, " ", line.Seed, " ", line.Status, " ", line.Reason)
				if line.Score != nil {
					word += fmt.Sprint(*line.Score > 0.7, " ", line.UsableFrames)
				}
				summary = append(summary, word)
			}
			if diff := cmp.Diff([]string{
				"s1 9223372036854775808 Scored true 24", "s2 2 Scored false 24", "s3 3 Invalid TooFewValidFrames", "s4 4 Missing ",
			}, summary); diff != "" {
				t.Errorf("scores (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(map[string]int64{"total": 4, "scored": 2, "invalid": 1, "missing": 1}, done.Counts); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
			if done.Metrics["accuracy/0.7"] != "0.25" || done.Metrics["guard/validFraction"] != "0.5" {
				t.Errorf("metrics %v", done.Metrics)
			}
		})
	}
}

// TestScoreBroughtVideos: an index of a user's own videos, with ids and videos of his choice and no
// digests, is scored like any other.
func TestScoreBroughtVideos(t *testing.T) {
	samples := fourSamples()
	for i := range samples {
		samples[i].line.Video = &contract.Artifact{Key: fmt.Sprintf("my/videos/%d.mp4", i)}
	}
	s := newScoring(t, 2, samples)
	s.spec.Prompts.Digest, s.spec.Index.Digest = "", ""
	if done := s.done(s.score()); done.Counts["scored"] != 2 {
		t.Errorf("counts %v", done.Counts)
	}
}

func TestScoreRefuses(t *testing.T) {
	stranger := sample{contract.IndexLine{SampleID: "s9", PromptID: "a"}, contract.StatusTracked, true, nil}
	otherSeed := fourSamples()[0]
	otherSeed.line.Seed++
	for name, c := range map[string]struct {
		damage func(s *scoring)
		want   []string
	}{
		"a manifest is missing":                 {func(s *scoring) { s.spec.Tracks[0].Key = "nowhere.json" }, []string{"nowhere.json"}},
		"a manifest has another digest":         {func(s *scoring) { s.spec.Tracks[0].Digest = s.spec.Tracks[1].Digest }, []string{changed}},
		"a shard is missing":                    {func(s *scoring) { s.spec.Tracks = s.spec.Tracks[:1] }, []string{"tracks[0]", "2 shards"}},
		"a shard is listed twice":               {func(s *scoring) { s.spec.Tracks[1] = s.spec.Tracks[0] }, []string{"tracks[1]", "twice"}},
		"a part is missing":                     {func(s *scoring) { s.remove(1) }, []string{"part-1.jsonl"}},
		"a part is cut":                         {func(s *scoring) { s.cut(0) }, []string{"part-0.jsonl", changed}},
		"a track of a sample that nobody knows": {func(s *scoring) { s.spec.Tracks[1] = s.tracked(1, 2, []contract.TrackLine{moves(stranger)}) }, []string{"part-1.jsonl:1", "s9", "not in the index"}},
		"a second track of a sample":            {func(s *scoring) { s.spec.Tracks[1] = s.tracked(1, 2, []contract.TrackLine{moves(fourSamples()[0])}) }, []string{"s1", "second track"}},
		"a track with another seed":             {func(s *scoring) { s.spec.Tracks[0] = s.tracked(0, 2, []contract.TrackLine{moves(otherSeed)}) }, []string{"s1", "seed"}},
		"an index of unknown prompts": {func(s *scoring) {
			s.spec.Index = storetest.PutLines(s.world, s.store, "i", contract.IndexLine{SampleID: "s", PromptID: "q"})
		}, []string{"i:1", `"q"`}},
		"an index out of order": {func(s *scoring) {
			index := lines[contract.IndexLine](s.world, s.spec.Index)
			slices.Reverse(index)
			s.spec.Index = storetest.PutLines(s.world, s.store, "i", index...)
		}, []string{"i:2", "in order"}},
		"an empty index": {func(s *scoring) { s.spec.Index = s.put("i", nil) }, []string{"no samples"}},
		"a sample without a track, where all were tracked": {func(s *scoring) { s.spec.RequireTracks = true }, []string{"1 of 4", "first sample s4"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScoring(t, 2, fourSamples())
			c.damage(s)
			s.fails(s.score(), contract.ExitBadInput, c.want...)
		})
	}
	t.Run("more INVALID samples than accepted", func(t *testing.T) {
		s := newScoring(t, 2, fourSamples())
		s.spec.MaxInvalidFraction = "0.24"
		s.fails(s.score(), contract.ExitTooManyInvalid, "1 of 4", "0.24", "2 scored", "1 missing")
	})
	t.Run("every sample has a track where all were tracked", func(t *testing.T) {
		s := newScoring(t, 2, fourSamples()[:3])
		s.spec.RequireTracks = true
		s.done(s.score())
	})
	t.Run("exactly as many INVALID samples as accepted is fine", func(t *testing.T) {
		s := newScoring(t, 2, fourSamples())
		s.spec.MaxInvalidFraction = "0.25"
		s.done(s.score())
	})
}

// part is the path of a shard's part file.
func (s *scoring) part(shard int) string {
	return filepath.Join(s.dir, artifact.ManifestDir("out/track", 0, "uid-track", shard), contract.TrackPart(shard))
}

func (s *scoring) remove(shard int) {
	if err := os.Remove(s.part(shard)); err != nil {
		s.Fatal(err)
	}
}

func (s *scoring) cut(shard int) {
	data, err := os.ReadFile(s.part(shard))
	if err != nil {
		s.Fatal(err)
	}
	// At the end of a line, so that what is left still parses.
	if err := os.WriteFile(s.part(shard), data[:strings.IndexByte(string(data), '\n')+1], 0o600); err != nil {
		s.Fatal(err)
	}
}
