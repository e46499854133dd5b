package conformance

import (
	"testing"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/stage"
)

// settings: what a spec asks for of a video's size is what the video has, or the spec is refused. A
// runtime that ignored it would store videos under the id of others.
func (s *suite) settings(t *testing.T) {
	for name, set := range map[string]func(*contract.Sampling){
		"frames":           func(c *contract.Sampling) { c.Frames = 33 },
		"width and height": func(c *contract.Sampling) { c.Width, c.Height = 128, 96 },
	} {
		t.Run(name, func(t *testing.T) {
			s := s.with(t)
			spec := s.sampleSpec("out/settings")
			set(&spec.Sample.Sampling)
			asked := spec.Sample.Sampling
			lines := s.indexOf(asked, 1, 1)[:1]
			spec.Sample.Index = putLines(s, "in/settings.jsonl", lines)
			end := s.run(pod{spec: spec})
			if end.code == contract.ExitBadSpec {
				return // the runtime knows no such size, and says so
			}
			if end.code != contract.ExitDone {
				t.Fatalf("exit code %d: %s; want 0, or 64 when there is no such size", end.code, end.termination.Message)
			}
			sidecar, err := stage.ResolveSample(t.Context(), s.store, lines[0])
			if err != nil {
				t.Fatal(err)
			}
			for what, n := range map[string][2]int{
				"frames": {asked.Frames, sidecar.FrameCount}, "width": {asked.Width, sidecar.Width}, "height": {asked.Height, sidecar.Height},
			} {
				if n[0] != 0 && n[0] != n[1] {
					t.Errorf("%s: the spec asks for %d, the video has %d", what, n[0], n[1])
				}
			}
		})
	}
}
