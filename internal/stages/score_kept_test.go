package stages_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spatialalign/operator/internal/artifact/storetest"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/stage"
)

var detector = contract.Detector{Name: "d", Digest: contract.Digest([]byte("d")), Revision: "1"}

// film stores a sample's video, of its own bytes, and gives its digest.
func (w *world) film(line contract.IndexLine) string {
	w.Helper()
	data := []byte("GIF of " + line.SampleID)
	video := w.put(contract.SampleFileKey(line.SampleID, "uid", "video.gif"), data)
	_, err := stage.CommitSample(w.Context(), w.store, &contract.Sidecar{
		SampleID: line.SampleID, PromptID: line.PromptID, Seed: line.Seed, Sampling: sampling, Width: 64, Height: 48, FrameCount: 24,
		Video: contract.File{Key: video.Key, Size: int64(len(data)), Digest: video.Digest},
	})
	if err != nil {
		w.Fatal(err)
	}
	return video.Digest
}

// keep keeps the tracks of a video and gives the path of their file.
func (w *world) keep(video string, prompt contract.PromptLine, track contract.TrackLine) string {
	w.Helper()
	key := contract.TrackKey(video, detector, prompt.Subject, prompt.Object)
	if err := stage.KeepTracks(w.Context(), w.store, key, &track, false); err != nil {
		w.Fatal(err)
	}
	return filepath.Join(w.dir, contract.TrackFileKey(key))
}

// keptScoring is a store after tracking, in which the tracks are kept too; kept are the paths of their files.
func keptScoring(t *testing.T) (s *scoring, kept []string) {
	t.Helper()
	samples := fourSamples()[:3]
	s = newScoring(t, 2, samples)
	for _, sample := range samples {
		kept = append(kept, s.keep(s.film(sample.line), promptA, moves(sample)))
	}
	return s, kept
}

// takeKept turns the spec into one that scores kept tracks.
func (s *scoring) takeKept() contract.Spec {
	s.spec.Tracks, s.spec.Detector = nil, &detector
	return s.score()
}

// TestScoreKeptTracks: kept tracks give the scores, to the byte, that the parts of track shards give.
func TestScoreKeptTracks(t *testing.T) {
	s, _ := keptScoring(t)
	tracked := s.done(s.score())
	kept := s.done(s.takeKept())
	if a, b := s.read(tracked.Outputs["scores"]), s.read(kept.Outputs["scores"]); !bytes.Equal(a, b) {
		t.Errorf("kept tracks score\n%swant\n%s", b, a)
	}
	if diff := cmp.Diff(tracked.Counts, kept.Counts); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(tracked.Metrics, kept.Metrics); diff != "" {
		t.Error(diff)
	}
}

// TestScoreGuards: where somebody relies on a guard metric, every scored sample has it. Kept tracks without it are to be found
// again; a tracker that does not measure it will not the next time either.
func TestScoreGuards(t *testing.T) {
	samples := fourSamples()[:3]
	for i := range samples[:2] {
		samples[i].guards = map[string]float64{"clipIQAQuality": 0.25 + 0.5*float64(i)}
	}
	s := newScoring(t, 2, samples)
	s.spec.Guards = []string{"clipIQAQuality"}
	if done := s.done(s.score()); done.Metrics["guard/clipIQAQuality"] != "0.5" {
		t.Errorf("metrics %v", done.Metrics)
	}
	s.spec.Guards = []string{"clipIQAQuality", "identityConsistency"}
	s.fails(s.score(), contract.ExitBadSpec, "guard metric identityConsistency", "2 samples", "sample s1")

	old, _ := keptScoring(t)
	old.spec.Guards = []string{"clipIQAQuality"}
	old.fails(old.takeKept(), contract.ExitBadInput, "2 samples have no guard metric clipIQAQuality", "sample s1", "track again")
}

func TestScoreRefusesLostTracks(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(s *scoring, kept []string)
		want   []string
	}{
		"missing": {func(s *scoring, kept []string) { s.delete(kept[1]) }, []string{"1 of 3", "sample s2", "track again"}},
		"all missing": {func(s *scoring, kept []string) {
			for _, path := range kept {
				s.delete(path)
			}
		}, []string{"3 of 3", "sample s1"}},
		"cut": {func(s *scoring, kept []string) {
			if err := os.Truncate(kept[2], 100); err != nil {
				s.Fatal(err)
			}
		}, []string{"1 of 3", "sample s3", "track again"}},
		"by another detector": {func(s *scoring, _ []string) {
			other := detector
			other.Revision = "2"
			s.spec.Detector = &other
		}, []string{"3 of 3", "sample s1"}},
		"a sample's video is missing": {func(s *scoring, _ []string) {
			s.delete(filepath.Join(s.dir, contract.SampleFileKey("s1", "uid", "video.gif")))
		}, []string{"1 of 3", "sample s1"}},
		"a video without a digest": {func(s *scoring, _ []string) {
			s.spec.Index = storetest.PutLines(s.world, s.store, "i", contract.IndexLine{SampleID: "mine", PromptID: "a", Video: &contract.Artifact{Key: "mine.gif"}})
		}, []string{"sample mine", "mine.gif", "digest"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, kept := keptScoring(t)
			s.takeKept()
			c.damage(s, kept)
			s.fails(s.score(), contract.ExitBadInput, c.want...)
		})
	}
}

// TestScoreKeptTracksOfBroughtVideos: videos of a user's own are found by the digest that the index gives.
func TestScoreKeptTracksOfBroughtVideos(t *testing.T) {
	w := newWorld(t)
	s := &scoring{w, contract.ScoreSpec{Prompts: storetest.PutLines(w, w.store, "prompts.jsonl", promptA), MinUsableFrames: 20, MaxInvalidFraction: "1"}}
	var index []contract.IndexLine
	for i, sample := range fourSamples()[:2] {
		video := w.put(fmt.Sprintf("mine/%d.gif", i), fmt.Appendf(nil, "GIF %d", i))
		sample.line.Video = &video
		w.keep(video.Digest, promptA, moves(sample))
		index = append(index, sample.line)
	}
	s.spec.Index = storetest.PutLines(w, w.store, "index.jsonl", index...)
	if done := s.done(s.takeKept()); done.Counts["scored"] != 2 {
		t.Errorf("counts %v", done.Counts)
	}
}

// TestPrepareCountsUntracked: of the samples that are asked for, those without whole tracks of the detector.
func TestPrepareCountsUntracked(t *testing.T) {
	w := newWorld(t)
	prompts := storetest.PutLines(w, w.store, "in/prompts.jsonl", promptA, promptB)
	set := contract.SampleSet{Name: "train", Prompts: &prompts, SamplesPerPrompt: 2, Sampling: sampling}
	first := w.done(prepare(contract.PrepareSpec{Sets: []contract.SampleSet{set}}))
	if _, told := first.Counts["train/untracked"]; told {
		t.Errorf("nobody asked for tracks: %v", first.Counts)
	}
	words := map[string]contract.PromptLine{promptA.PromptID: promptA, promptB.PromptID: promptB}
	track := moves(fourSamples()[0])
	var kept []string
	index := lines[contract.IndexLine](w, first.Outputs["index/train"])
	for _, line := range index[:3] { // the last one is missing
		kept = append(kept, w.keep(w.film(line), words[line.PromptID], track))
	}
	w.delete(kept[1])
	if err := os.Truncate(kept[2], 100); err != nil {
		t.Fatal(err)
	}
	set.Detector = &detector
	done := w.done(prepare(contract.PrepareSpec{Sets: []contract.SampleSet{set}}))
	if diff := cmp.Diff(map[string]int64{"train/total": 4, "train/missing": 1, "train/untracked": 3}, done.Counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}

func (w *world) delete(path string) {
	w.Helper()
	if err := os.Remove(path); err != nil {
		w.Fatal(err)
	}
}
