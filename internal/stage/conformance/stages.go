package conformance

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jsonl"
	"github.com/spatialalign/operator/internal/records"
	"github.com/spatialalign/operator/internal/stage"
)

// samplesPerPrompt is odd, so that two shards differ in size.
const samplesPerPrompt = 3

func newSuite(t *testing.T, r Runtime) *suite {
	t.Helper()
	dir := t.TempDir()
	store, err := artifact.Open(t.Context(), "file://"+dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	s := &suite{T: t, Runtime: r, dir: dir, store: store, pods: new(atomic.Int64)}
	s.prompts = putLines(s, "in/prompts.jsonl", r.Prompts)
	s.lines = s.indexOf(s.sampling(), 1, samplesPerPrompt)
	s.index = putLines(s, "in/index.jsonl", s.lines)
	return s
}

func (s *suite) sampling() contract.Sampling {
	return contract.Sampling{Model: s.Model, NumericsRevision: s.NumericsRevision, Steps: s.SamplingSteps}
}

// indexOf lists samples of all prompts, as the stage prepare does.
func (s *suite) indexOf(sampling contract.Sampling, seed uint64, perPrompt int) []contract.IndexLine {
	var lines []contract.IndexLine
	for _, p := range s.Prompts {
		for j := range perPrompt {
			seed := contract.Seed(contract.SeedRule{Seed: seed, Iteration: 1}, p.PromptID, j)
			lines = append(lines, contract.IndexLine{SampleID: contract.SampleKey(sampling, p.Prompt, seed), PromptID: p.PromptID, Seed: seed})
		}
	}
	slices.SortFunc(lines, func(a, b contract.IndexLine) int { return strings.Compare(a.SampleID, b.SampleID) })
	return lines
}

func (s *suite) sampleSpec(output string) *contract.Spec {
	return &contract.Spec{
		ContractVersion: contract.Version, Stage: contract.Sample, Output: output,
		Sample: &contract.SampleSpec{Prompts: s.prompts, Index: s.index, Sampling: s.sampling(), KeepLatents: true},
	}
}

func (s *suite) trackSpec(output string) *contract.Spec {
	return &contract.Spec{
		ContractVersion: contract.Version, Stage: contract.Track, Output: output,
		Track: &contract.TrackSpec{Prompts: s.prompts, Index: s.index, Detector: s.Detector},
	}
}

// trainSpec trains on pairs of the first two samples of each prompt, whichever looks better.
func (s *suite) trainSpec(output string) *contract.Spec {
	s.Helper()
	var pairs []contract.PairLine
	for _, p := range s.Prompts {
		var own []string
		for _, line := range s.lines {
			if line.PromptID == p.PromptID {
				own = append(own, line.SampleID)
			}
		}
		pairs = append(pairs, contract.PairLine{PromptID: p.PromptID, Iteration: 1, Winner: own[0], Loser: own[1], WinnerScore: 0.9, LoserScore: 0.1})
	}
	return &contract.Spec{
		ContractVersion: contract.Version, Stage: contract.Train, Output: output,
		Train: &contract.TrainSpec{
			Prompts: s.prompts, Pairs: putLines(s, "in/pairs.jsonl", pairs),
			Model: s.Model, NumericsRevision: s.NumericsRevision, Seed: 1, Iteration: 1, Training: s.Training,
		},
	}
}

// sample: two shards make all samples, each once; what is there is adopted or reused, what is damaged
// is made again.
func (s *suite) sample() {
	total := int64(len(s.lines))
	counts := func(output string) (generated, reused int64, first ended) {
		s.Helper()
		for shard := range 2 {
			p := pod{spec: s.sampleSpec(output), shard: shard, shards: 2}
			end, m := s.done(p)
			s.checkList(m)
			if c := end.termination.Counts; c["total"] != c["generated"]+c["reused"] {
				s.Errorf("%s, shard %d: counts %v do not add up", output, shard, c)
			}
			generated += end.termination.Counts["generated"]
			reused += end.termination.Counts["reused"]
			if shard == 0 {
				first = end
			}
		}
		return generated, reused, first
	}
	generated, reused, first := counts("out/sample-1")
	if generated != total || reused != 0 {
		s.Errorf("in an empty store %d samples were generated and %d reused, want all %d generated", generated, reused, total)
	}
	s.checkSamples()
	s.checkPlaces()
	s.adopts(pod{spec: s.sampleSpec("out/sample-1"), shard: 0, shards: 2}, first)

	if generated, reused, _ := counts("out/sample-2"); generated != 0 || reused != total {
		s.Errorf("asked again %d samples were generated and %d reused, want all %d reused", generated, reused, total)
	}
	sidecar, err := stage.ResolveSample(s.Context(), s.store, s.lines[0])
	if err != nil {
		s.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(s.dir, filepath.FromSlash(sidecar.Video.Key)), sidecar.Video.Size/2); err != nil {
		s.Fatal(err)
	}
	if generated, _, _ := counts("out/sample-3"); generated != 1 {
		s.Errorf("after one video was cut %d samples were generated, want 1", generated)
	}
	s.checkSamples()
	s.sampleOfDevice()
}

// sampleOfDevice: a GPU model enters the key and the sidecar's sampling, wherever the stage runs.
func (s *suite) sampleOfDevice() {
	spec := s.sampleSpec("out/sample-device")
	spec.Sample.Sampling.Device = "any model"
	line := s.indexOf(spec.Sample.Sampling, 1, 1)[0]
	spec.Sample.Index = putLines(s, "in/index-device.jsonl", []contract.IndexLine{line})
	if end, _ := s.done(pod{spec: spec, shards: 1}); end.termination.Counts["generated"] != 1 {
		s.Errorf("of a GPU model %d samples were generated, want 1", end.termination.Counts["generated"])
	}
	if sidecar, err := stage.ResolveSample(s.Context(), s.store, line); err != nil || sidecar.Sampling.Device != "any model" {
		s.Errorf("the sample of a GPU model is %+v, %v", sidecar, err)
	}
}

// checkList wants samples.jsonl to hold the sidecars of the shard's samples.
func (s *suite) checkList(m *contract.Manifest) {
	s.Helper()
	want := map[string]bool{}
	for i, line := range s.lines {
		if contract.Shard(i, m.Shards) == m.Shard {
			want[line.SampleID] = true
		}
	}
	for _, text := range bytes.Split(s.file(m, "samples.jsonl"), []byte("\n")) {
		if len(text) == 0 {
			continue
		}
		var sidecar contract.Sidecar
		if err := artifact.DecodeStrict(text, &sidecar); err != nil || !want[sidecar.SampleID] {
			s.Errorf("samples.jsonl of shard %d: %s is not a sidecar of one of its samples, %v", m.Shard, text, err)
		}
		delete(want, sidecar.SampleID)
	}
	if len(want) > 0 {
		s.Errorf("samples.jsonl of shard %d lacks %d samples", m.Shard, len(want))
	}
}

// checkSamples wants every sample in the store, whole, and made as its id says.
func (s *suite) checkSamples() {
	s.Helper()
	for _, line := range s.lines {
		sidecar, err := stage.ResolveSample(s.Context(), s.store, line)
		if err != nil {
			s.Error(err)
			continue
		}
		if err := s.store.Verify(s.Context(), sidecar.Video); err != nil {
			s.Error(err)
		}
		if sidecar.Latent == nil {
			s.Errorf("sample %s: no latent was kept", line.SampleID)
		} else if err := s.store.Verify(s.Context(), *sidecar.Latent); err != nil {
			s.Error(err)
		}
		i := slices.IndexFunc(s.Prompts, func(p contract.PromptLine) bool { return p.PromptID == line.PromptID })
		if contract.SampleKey(sidecar.Sampling, s.Prompts[i].Prompt, sidecar.Seed) != line.SampleID {
			s.Errorf("sample %s: its sidecar says another model, adapter, revision or number of steps", line.SampleID)
		}
	}
}

// checkPlaces wants every key where the contract puts it.
func (s *suite) checkPlaces() {
	s.Helper()
	keys, err := s.store.List(s.Context(), "")
	if err != nil {
		s.Fatal(err)
	}
	for _, key := range keys {
		switch parts := strings.Split(key, "/"); {
		case parts[0] == "in", parts[0] == "tracks", parts[0] == "embeds":
		case parts[0] == "out" && len(parts) > 4 && strings.Contains(parts[2], "-uid-"):
		case parts[0] == "samples" && len(parts) > 4 && strings.HasPrefix(parts[3], "uid-"):
		case parts[0] == "samples" && key == contract.SidecarKey(parts[len(parts)-2]):
		default:
			s.Errorf("a pod wrote %s, which is not its own", key)
		}
	}
}

// track: two shards give a line for every sample, each once and in the right shard; a video that is not
// there is INVALID and does not stop the rest.
func (s *suite) track() {
	seen := map[string]bool{}
	for shard := range 2 {
		p := pod{spec: s.trackSpec("out/track-1"), shard: shard, shards: 2}
		end, m := s.done(p)
		for _, track := range s.part(m) {
			i := slices.IndexFunc(s.lines, func(l contract.IndexLine) bool { return l.SampleID == track.SampleID })
			if i < 0 || contract.Shard(i, 2) != shard || seen[track.SampleID] {
				s.Errorf("sample %s: its track is not of shard %d, or there twice", track.SampleID, shard)
				continue
			}
			if track.PromptID != s.lines[i].PromptID || track.Seed != s.lines[i].Seed {
				s.Errorf("sample %s: its track has prompt %s and seed %d, want %s and %d", track.SampleID, track.PromptID, track.Seed, s.lines[i].PromptID, s.lines[i].Seed)
			}
			seen[track.SampleID] = true
		}
		if shard == 0 {
			s.adopts(p, end)
		}
	}
	if len(seen) != len(s.lines) {
		s.Errorf("%d of %d samples have a track", len(seen), len(s.lines))
	}

	// Videos that a user brings: one that is there, and one that is not.
	video, err := stage.ResolveVideo(s.Context(), s.store, s.lines[0])
	if err != nil {
		s.Fatal(err)
	}
	video.Digest = ""
	brought := s.trackSpec("out/track-2")
	brought.Track.Index = putLines(s, "in/brought.jsonl", []contract.IndexLine{
		{SampleID: "mine-1", PromptID: s.lines[0].PromptID, Seed: 1, Video: &video},
		{SampleID: "mine-2", PromptID: s.lines[0].PromptID, Seed: 2, Video: &contract.Artifact{Key: "in/nowhere.mp4"}},
	})
	_, m := s.done(pod{spec: brought})
	tracks := s.part(m)
	if len(tracks) != 2 || tracks[0].SampleID != "mine-1" || tracks[0].FrameCount == 0 {
		s.Errorf("tracks of a user's video: %+v", tracks)
	}
	if last := tracks[len(tracks)-1]; last.Status != contract.StatusInvalid || last.Reason != contract.ReasonNoVideo {
		s.Errorf("a video that is not there has status %s and reason %s", last.Status, last.Reason)
	}
}

// file reads a file that a manifest vouches for.
func (s *suite) file(m *contract.Manifest, name string) []byte {
	s.Helper()
	i := slices.IndexFunc(m.Files, func(f contract.File) bool { return strings.HasSuffix(f.Key, "/"+name) })
	if i < 0 {
		s.Fatalf("the manifest lists no file %s", name)
	}
	data, err := s.store.ReadVerified(s.Context(), contract.Artifact{Key: m.Files[i].Key, Digest: m.Files[i].Digest}, m.Files[i].Size)
	if err != nil {
		s.Fatal(err)
	}
	return data
}

// part reads the lines of a track shard.
func (s *suite) part(m *contract.Manifest) []contract.TrackLine {
	s.Helper()
	name := contract.TrackPart(m.Shard)
	var tracks []contract.TrackLine
	err := records.ReadTracks(bytes.NewReader(s.file(m, name)), name, func(line *contract.TrackLine) error {
		tracks = append(tracks, *line)
		return nil
	})
	if err != nil {
		s.Error(err)
	}
	return tracks
}

// train: an adapter comes out, which sampling takes and a further training starts from.
func (s *suite) train() {
	p := pod{spec: s.trainSpec("out/train-1")}
	end, m := s.done(p)
	adapter, ok := m.Outputs["adapter"]
	if !ok {
		s.Fatalf("outputs %v hold no adapter", m.Outputs)
	}
	if m.Counts["steps"] != int64(s.Training.Steps) {
		s.Errorf("counts %v, want %d steps", m.Counts, s.Training.Steps)
	}
	if m.Metrics["loss"] == "" {
		s.Errorf("metrics %v hold no loss", m.Metrics)
	}
	s.adopts(p, end)
	if s.Reproducible {
		if _, again := s.done(pod{spec: s.trainSpec("out/train-2")}); again.Outputs["adapter"].Digest != adapter.Digest {
			s.Error("training the same again gave another adapter")
		}
	}

	further := s.trainSpec("out/train-3")
	further.Train.StartAdapter, further.Train.Iteration = &adapter, 2
	s.done(pod{spec: further})

	aligned := s.sampleSpec("out/sample-4")
	aligned.Sample.Sampling.Adapter = &adapter
	lines := s.indexOf(aligned.Sample.Sampling, 1, 1)
	aligned.Sample.Index = putLines(s, "in/aligned.jsonl", lines)
	s.done(pod{spec: aligned})
	if _, err := stage.ResolveSample(s.Context(), s.store, lines[0]); err != nil {
		s.Errorf("a sample of the adapter: %v", err)
	}
}

// put stores an input.
func (s *suite) put(key string, r io.Reader) contract.Artifact {
	s.Helper()
	f, err := s.store.Write(s.Context(), key, r)
	if err != nil {
		s.Fatal(err)
	}
	return contract.Artifact{Key: f.Key, Digest: f.Digest}
}

func putLines[T any](s *suite, key string, lines []T) contract.Artifact {
	s.Helper()
	var data bytes.Buffer
	encoder := jsonl.NewEncoder[T](&data)
	for i := range lines {
		if err := encoder.Write(&lines[i]); err != nil {
			s.Fatal(err)
		}
	}
	return s.put(key, &data)
}
