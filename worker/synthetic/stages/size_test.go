package stages_test

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/records"
	"github.com/spatialalign/operator/worker/synthetic/video"
)

// tracksOf reads the only part of a track stage.
func (w *world) tracksOf(termination contract.Termination) []contract.TrackLine {
	w.Helper()
	manifest, err := w.store.ReadManifest(w.Context(), *termination.Manifest)
	if err != nil {
		w.Fatal(err)
	}
	part := manifest.Files[0]
	data := w.read(contract.Artifact{Key: part.Key, Digest: part.Digest})
	var lines []contract.TrackLine
	if err := records.ReadTracks(bytes.NewReader(data), part.Key, func(line *contract.TrackLine) error {
		lines = append(lines, *line)
		return nil
	}); err != nil {
		w.Fatal(err)
	}
	return lines
}

// What is not asked for is the runtime's own; what is asked for is what the file has, and is found in it.
func TestVideosHaveTheSizeAskedFor(t *testing.T) {
	for _, c := range []struct {
		name                     string
		frames, width, height    int
		wantFrames, wantW, wantH int
		atLeast                  int64 // of the 12 samples that must be tracked
	}{
		{"the runtime's own", 0, 0, 0, 24, 64, 48, 9},
		{"its own, spelt out", 24, 64, 48, 24, 64, 48, 9},
		{"longer", 81, 0, 0, 81, 64, 48, 9},
		{"the shortest", 20, 0, 0, 20, 64, 48, 7},
		{"the longest", 256, 0, 0, 256, 64, 48, 9},
		{"wide", 0, 160, 0, 24, 160, 48, 9},
		{"the smallest", 0, 32, 24, 24, 32, 24, 7},
		{"the largest", 0, 512, 512, 24, 512, 512, 9},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			sampling := w.sampling()
			sampling.Frames, sampling.Width, sampling.Height = c.frames, c.width, c.height
			lines := w.index(sampling)
			index := writeLines(w, "index.jsonl", lines)
			spec := w.sampleSpec(index)
			spec.Sample.Sampling = sampling
			w.run(spec, call{wantCounts: map[string]int64{"generated": 12}})
			for _, line := range lines {
				s := w.sidecar(line)
				frames, err := video.Decode(w.read(contract.Artifact{Key: s.Video.Key, Digest: s.Video.Digest}))
				if err != nil {
					t.Fatal(err)
				}
				if size := frames[0].Bounds(); len(frames) != c.wantFrames || size.Dx() != c.wantW || size.Dy() != c.wantH {
					t.Errorf("the video has %d frames of %v", len(frames), size)
				}
				if s.FrameCount != c.wantFrames || s.Width != c.wantW || s.Height != c.wantH {
					t.Errorf("the sidecar says %d frames of %d x %d", s.FrameCount, s.Width, s.Height)
				}
			}
			end := w.run(w.trackSpec(index), call{})
			if got := end.Counts["tracked"]; got < c.atLeast {
				t.Errorf("%d samples are tracked, want at least %d", got, c.atLeast)
			}
			for _, line := range w.tracksOf(end) {
				if line.FrameCount != c.wantFrames || line.Width != c.wantW || line.Height != c.wantH {
					t.Errorf("the track is of %d frames of %d x %d", line.FrameCount, line.Width, line.Height)
				}
			}
		})
	}
}

func TestSamplingThatCannotWorkIsRefused(t *testing.T) {
	w := newWorld(t)
	index := writeLines(w, "index.jsonl", w.index(w.sampling()))
	for name, c := range map[string]struct {
		change  func(*contract.Sampling)
		message string
	}{
		"too short":         {func(s *contract.Sampling) { s.Frames = 19 }, "sample.sampling.frames is 19, want 20 to 256"},
		"too long":          {func(s *contract.Sampling) { s.Frames = 257 }, "sample.sampling.frames is 257, want 20 to 256"},
		"negative":          {func(s *contract.Sampling) { s.Frames = -1 }, "frames"},
		"too narrow":        {func(s *contract.Sampling) { s.Width = 31 }, "sample.sampling.width is 31, want 32 to 512"},
		"too wide":          {func(s *contract.Sampling) { s.Width = 513 }, "sample.sampling.width is 513"},
		"too low":           {func(s *contract.Sampling) { s.Height = 23 }, "sample.sampling.height is 23, want 24 to 512"},
		"too high":          {func(s *contract.Sampling) { s.Height = 513 }, "sample.sampling.height is 513"},
		"guidance":          {func(s *contract.Sampling) { s.GuidanceScale = "5" }, "sample.sampling.guidanceScale"},
		"a negative prompt": {func(s *contract.Sampling) { s.NegativePrompt = "blurry" }, "sample.sampling.negativePrompt"},
	} {
		t.Run(name, func(t *testing.T) {
			sub := *w
			sub.T = t
			spec := sub.sampleSpec(index)
			c.change(&spec.Sample.Sampling)
			sub.run(spec, call{wantCode: contract.ExitBadSpec, wantMessage: c.message})
		})
	}
}

// The bits of the own size. Whoever changes them raises base.NumericsRevision, or stored samples would be
// passed off as what the new program makes.
func TestSamplesAndTrainingsNeverChange(t *testing.T) {
	w := newWorld(t)
	end := w.run(w.trainSpec(), call{})
	sample := w.sidecar(w.index(w.sampling())[0])
	for what, c := range map[string]struct{ got, want string }{
		"video":   {sample.Video.Digest, "sha256:0109ada80fd6287593b02faff1aac7999a7ac408eff76b931dc15623524fa0f1"},
		"latent":  {sample.Latent.Digest, "sha256:8c20e42cc2d807914d46aa46cddcc5db35e203797490a8ba2a5d5cf6020b1af1"},
		"adapter": {end.Outputs["adapter"].Digest, "sha256:d5be1c593ae50ce9be4d2e6a4342e27222eb9853e118c1bfef3461b417536d7e"},
		"metrics": {end.Outputs["metrics"].Digest, "sha256:47a99b768927b4c4c2cd8b7f46aea7d834b452e54620f3c111cd69d67fa54212"},
	} {
		switch {
		case c.got == c.want:
		case runtime.GOARCH == "amd64":
			t.Errorf("the %s is %s, was %s", what, c.got, c.want)
		default:
			t.Logf("on %s, which fuses multiplications and additions, the %s is %s", runtime.GOARCH, what, c.got)
		}
	}
}
