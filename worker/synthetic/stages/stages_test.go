package stages_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/records"
	"github.com/spatialalign/operator/worker/synthetic/model"
	"github.com/spatialalign/operator/worker/synthetic/stages"
)

func TestSamplesAreMadeOnceAndKept(t *testing.T) {
	w := newWorld(t)
	lines := w.index(w.sampling())
	spec := w.sampleSpec(writeLines(w, "index.jsonl", lines))
	w.run(spec, call{shard: 0, shards: 2, wantCounts: map[string]int64{"total": 6, "generated": 6, "reused": 0}})
	w.run(spec, call{shard: 1, shards: 2, wantCounts: map[string]int64{"total": 6, "generated": 6}})
	digests := map[string]string{}
	for _, line := range lines {
		s := w.sidecar(line)
		if s.Latent == nil || s.FrameCount != 24 {
			t.Errorf("sidecar %+v", s)
		}
		digests[line.SampleID] = s.Video.Digest + s.Latent.Digest
	}

	// The work of all shards is found by one that has it all to do, under another output.
	spec.Output = "run/again"
	w.run(spec, call{wantCounts: map[string]int64{"total": 12, "generated": 0, "reused": 12}})

	// One sample is damaged without changing its size: it alone is made again, with the same bits.
	at := w.sidecar(lines[5]).Video
	data := w.read(contract.Artifact{Key: at.Key, Digest: at.Digest})
	data[len(data)/2] ^= 1
	w.write(at.Key, data)
	spec.Output = "run/repair"
	w.run(spec, call{pod: "pod-repair", wantCounts: map[string]int64{"generated": 1, "reused": 11}})
	for _, line := range lines {
		if s := w.sidecar(line); s.Video.Digest+s.Latent.Digest != digests[line.SampleID] {
			t.Errorf("sample %s has other bits", line.SampleID)
		}
	}
}

func TestAnInterruptedSampleStageGoesOn(t *testing.T) {
	w := newWorld(t)
	spec := w.sampleSpec(writeLines(w, "index.jsonl", w.index(w.sampling())))
	w.run(spec, call{ctx: t.Context(), pace: stopAfter(5), wantCode: contract.ExitCheckpointed})
	w.run(spec, call{attempt: 1, wantCounts: map[string]int64{"generated": 7, "reused": 5}})
}

// stopAfter pauses as if the process had been told to end after n pauses.
func stopAfter(n int) func(context.Context) error {
	return func(context.Context) error {
		if n--; n <= 0 {
			return context.Canceled
		}
		return nil
	}
}

func TestTracksAreFoundInTheStoredVideos(t *testing.T) {
	w := newWorld(t)
	lines := w.index(w.sampling())
	index := writeLines(w, "index.jsonl", lines)
	w.run(w.sampleSpec(index), call{})

	// A sample that nobody made is INVALID for want of a video.
	absent := contract.IndexLine{SampleID: "f" + strings.Repeat("f", 63), PromptID: w.prompts[0].PromptID, Seed: 1}
	all := writeLines(w, "all.jsonl", append(slices.Clone(lines), absent))
	first := w.run(w.trackSpec(all), call{shards: 2, wantCounts: map[string]int64{"total": 7, "reused": 0}})
	second := w.run(w.trackSpec(all), call{shard: 1, shards: 2, wantCounts: map[string]int64{"total": 6, "reused": 0}})
	var tracks []contract.TrackLine
	for shard, termination := range []contract.Termination{first, second} {
		manifest, err := w.store.ReadManifest(t.Context(), *termination.Manifest)
		if err != nil {
			t.Fatal(err)
		}
		part := manifest.Files[0]
		if !strings.HasSuffix(part.Key, "/"+contract.TrackPart(shard)) {
			t.Errorf("part is at %s", part.Key)
		}
		data := w.read(contract.Artifact{Key: part.Key, Digest: part.Digest})
		if err := records.ReadTracks(bytes.NewReader(data), part.Key, func(line *contract.TrackLine) error {
			kept := *line
			kept.Frames = slices.Clone(line.Frames)
			tracks = append(tracks, kept)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	tracked := 0
	for _, line := range tracks {
		if line.SampleID == absent.SampleID && line.Reason != contract.ReasonNoVideo {
			t.Errorf("the absent sample's reason is %q", line.Reason)
		}
		if line.Status == contract.StatusTracked {
			tracked++
			if line.Width != 64 || line.Height != 48 || len(line.Frames) != 24 {
				t.Errorf("track of %d x %d with %d frames", line.Width, line.Height, len(line.Frames))
			}
		}
	}
	if len(tracks) != 13 || tracked < 9 {
		t.Errorf("%d tracks, %d of them tracked", len(tracks), tracked)
	}

	// No video is looked at twice.
	spec := w.trackSpec(all)
	spec.Output = "run/again"
	w.run(spec, call{wantCounts: map[string]int64{"total": 13, "reused": 12}})
	// Kept tracks that are damaged are found anew.
	key := contract.TrackFileKey(contract.TrackKey(w.sidecar(lines[0]).Video.Digest, w.info.Detector, w.subject(lines[0]), w.object(lines[0])))
	w.write(key, []byte(`{"sampleID":"`))
	spec.Output = "run/third"
	w.run(spec, call{wantCounts: map[string]int64{"reused": 11}})
}

func (w *world) prompt(line contract.IndexLine) contract.PromptLine {
	i := slices.IndexFunc(w.prompts, func(p contract.PromptLine) bool { return p.PromptID == line.PromptID })
	return w.prompts[i]
}

func (w *world) subject(line contract.IndexLine) string { return w.prompt(line).Subject }
func (w *world) object(line contract.IndexLine) string  { return w.prompt(line).Object }

func TestAUsersOwnVideosAreTracked(t *testing.T) {
	w := newWorld(t)
	lines := w.index(w.sampling())
	w.run(w.sampleSpec(writeLines(w, "index.jsonl", lines)), call{})
	at := w.sidecar(lines[0]).Video
	video := w.write("mine/clip.gif", w.read(contract.Artifact{Key: at.Key, Digest: at.Digest}))
	own := contract.IndexLine{SampleID: "clip", PromptID: lines[0].PromptID, Video: &contract.Artifact{Key: video.Key}}
	w.run(w.trackSpec(writeLines(w, "own.jsonl", []contract.IndexLine{own})), call{wantCounts: map[string]int64{"total": 1}})

	own.Video = &contract.Artifact{Key: video.Key, Digest: contract.Digest([]byte("another"))}
	w.run(w.trackSpec(writeLines(w, "own2.jsonl", []contract.IndexLine{own})), call{wantCode: contract.ExitBadInput, wantMessage: "mine/clip.gif"})

	text := w.write("mine/text.gif", []byte("no video"))
	own.Video = &text
	w.run(w.trackSpec(writeLines(w, "own3.jsonl", []contract.IndexLine{own})), call{wantCode: contract.ExitBadInput, wantMessage: "mine/text.gif"})
}

// trainSpec pairs the first two samples of each prompt, after sampling them.
func (w *world) trainSpec() *contract.Spec {
	lines := w.index(w.sampling())
	w.run(w.sampleSpec(writeLines(w, "index.jsonl", lines)), call{})
	var pairs []contract.PairLine
	for _, p := range w.prompts {
		var ids []string
		for _, line := range lines {
			if line.PromptID == p.PromptID {
				ids = append(ids, line.SampleID)
			}
		}
		pairs = append(pairs, contract.PairLine{PromptID: p.PromptID, Iteration: 1, Winner: ids[0], Loser: ids[1], WinnerScore: 0.9, LoserScore: 0.2})
	}
	return &contract.Spec{ContractVersion: contract.Version, Stage: contract.Train, Output: "run/train",
		Train: &contract.TrainSpec{Prompts: w.promptsAt, Pairs: writeLines(w, "pairs.jsonl", pairs),
			Model: w.info.Model, NumericsRevision: w.info.NumericsRevision, Seed: 1, Iteration: 1,
			Training: contract.Training{Steps: 30, ScheduleSteps: 30, WarmupSteps: 3, CheckpointEverySteps: 10, PairsPerStep: 8, LearningRate: "0.002", Beta: "1", Lambda: "0.5", MarginClip: "5", LoRARank: 8, LoRAAlpha: 8}}}
}

func TestAnInterruptedTrainingEndsWithTheSameBits(t *testing.T) {
	w := newWorld(t)
	spec := w.trainSpec()
	through := w.run(spec, call{wantCounts: map[string]int64{"steps": 30}})

	other := newWorld(t)
	spec = other.trainSpec()
	other.run(spec, call{pace: stopAfter(25), wantCode: contract.ExitCheckpointed, wantMessage: "step 25 of 30"})
	// The newest checkpoint is damaged: the training goes back to the one before, of step 20.
	keys, err := other.store.List(t.Context(), spec.Output+"/")
	if err != nil {
		t.Fatal(err)
	}
	newest := keys[slices.IndexFunc(keys, func(k string) bool { return strings.Contains(k, "checkpoint-00000025-") })]
	other.write(newest, []byte("truncated"))
	taken := 0
	resumed := other.run(spec, call{attempt: 1, pace: func(context.Context) error { taken++; return nil }, wantCounts: map[string]int64{"steps": 30}})
	if taken != 10 {
		t.Errorf("%d steps were taken after the restart, want 10", taken)
	}
	for _, name := range []string{"adapter", "metrics"} {
		if through.Outputs[name].Digest != resumed.Outputs[name].Digest {
			t.Errorf("%s differs from that of an uninterrupted training", name)
		}
	}
	if fmt.Sprint(through.Metrics) != fmt.Sprint(resumed.Metrics) {
		t.Errorf("metrics %v, uninterrupted %v", resumed.Metrics, through.Metrics)
	}

	// The adapter is one to sample with and to go on from; of another rank it is refused.
	adapter := through.Outputs["adapter"]
	spec = w.trainSpec()
	spec.Output, spec.Train.StartAdapter, spec.Train.Iteration = "run/train2", &adapter, 2
	w.run(spec, call{})
	spec.Output, spec.Train.Training.LoRARank = "run/train3", 4
	w.run(spec, call{wantCode: contract.ExitMismatch, wantMessage: "rank 8"})
	sampling := w.sampling()
	sampling.Adapter = &adapter
	sampleSpec := w.sampleSpec(writeLines(w, "adapted.jsonl", w.index(sampling)))
	sampleSpec.Output, sampleSpec.Sample.Sampling = "run/adapted", sampling
	w.run(sampleSpec, call{wantCounts: map[string]int64{"generated": 12}})
}

func TestWhatCannotBeDoneIsRefused(t *testing.T) {
	w := newWorld(t)
	train := w.trainSpec()
	index := writeLines(w, "index.jsonl", w.index(w.sampling()))
	foreign, err := model.EncodeAdapter(model.NewAdapter(30, 8, 8), "sha256:other")
	if err != nil {
		t.Fatal(err)
	}
	foreignAt := w.write("adapters/foreign.safetensors", foreign)
	cow := slices.Clone(w.prompts)
	cow[1].Subject = "cow"
	cowAt := w.writePrompts("cow.jsonl", cow)
	latentless := contract.PairLine{PromptID: w.prompts[0].PromptID, Iteration: 1, Winner: "a", Loser: "b", WinnerScore: 0.9}

	for name, c := range map[string]struct {
		base    *contract.Spec
		change  func(*contract.Spec)
		code    contract.ExitCode
		message string
	}{
		"another model": {w.sampleSpec(index), func(s *contract.Spec) { s.Sample.Sampling.Model.Digest = contract.Digest(nil) },
			contract.ExitMismatch, "synthetic info"},
		"other numerics": {w.sampleSpec(index), func(s *contract.Spec) { s.Sample.Sampling.NumericsRevision = "0" },
			contract.ExitMismatch, "numericsRevision"},
		"an index of other sampling": {w.sampleSpec(index), func(s *contract.Spec) { s.Sample.Sampling.Steps = 7 },
			contract.ExitBadInput, "index.jsonl"},
		"an unknown animal": {w.sampleSpec(index), func(s *contract.Spec) { s.Sample.Prompts = cowAt },
			contract.ExitBadSpec, w.prompts[1].PromptID},
		"an adapter of another base": {w.sampleSpec(index), func(s *contract.Spec) { s.Sample.Sampling.Adapter = &foreignAt },
			contract.ExitMismatch, "foreign.safetensors"},
		"another detector": {w.trackSpec(index), func(s *contract.Spec) { s.Track.Detector.Revision = "0" },
			contract.ExitMismatch, "synthetic info"},
		"an index of other prompts": {w.trackSpec(index), func(s *contract.Spec) { s.Track.Prompts = w.writePrompts("one.jsonl", w.prompts[:1]) },
			contract.ExitBadInput, "prompts lack"},
		"a start adapter of another base": {train, func(s *contract.Spec) { s.Train.StartAdapter = &foreignAt },
			contract.ExitMismatch, "foreign.safetensors"},
		"a rank without end": {train, func(s *contract.Spec) { s.Train.Training.LoRARank = 1 << 30 },
			contract.ExitBadSpec, "loraRank"},
		"no pairs": {train, func(s *contract.Spec) { s.Train.Pairs = w.write("none.jsonl", nil) },
			contract.ExitBadInput, "at least one pair"},
		"pairs of samples that are not there": {train, func(s *contract.Spec) {
			s.Train.Pairs = writeLines(w, "absent.jsonl", []contract.PairLine{latentless})
		}, contract.ExitBadInput, "sample.json"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := clone(c.base)
			c.change(spec)
			spec.Output = "run/" + strings.ReplaceAll(name, " ", "-")
			w.run(spec, call{wantCode: c.code, wantMessage: c.message})
		})
	}
}

func clone(spec *contract.Spec) *contract.Spec {
	c := *spec
	switch {
	case c.Sample != nil:
		block := *c.Sample
		c.Sample = &block
	case c.Track != nil:
		block := *c.Track
		c.Track = &block
	case c.Train != nil:
		block := *c.Train
		c.Train = &block
	}
	return &c
}

func TestPace(t *testing.T) {
	for value, want := range map[string]int{"": 0, "0": 0, "250": 250, "60000": 60000, "-1": -1, "60001": -1, "1s": -1} {
		pace, err := stages.ParsePace(value)
		if (err != nil) != (want < 0) || err == nil && pace.Milliseconds != want {
			t.Errorf("%q: %+v, %v", value, pace, err)
		}
	}
}
