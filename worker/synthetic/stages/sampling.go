package stages

import (
	"cmp"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/stage"
	"github.com/spatialalign/operator/worker/synthetic/detect"
	"github.com/spatialalign/operator/worker/synthetic/scene"
	"github.com/spatialalign/operator/worker/synthetic/video"
)

// minWidth and minHeight of a video are half the runtime's own: below, a sprite is a pixel or two, and the detector
// loses it.
const (
	minWidth  = scene.WorldWidth / 2
	minHeight = scene.WorldHeight / 2
)

// videoSize that a sampling asks for; what it leaves open is the runtime's own. The error names the field.
func videoSize(s contract.Sampling) (scene.Size, error) {
	own := scene.OwnSize
	size := scene.Size{Frames: cmp.Or(s.Frames, own.Frames), Width: cmp.Or(s.Width, own.Width), Height: cmp.Or(s.Height, own.Height)}
	for _, c := range []struct {
		field            string
		value, low, high int
	}{
		{"frames", size.Frames, detect.MinValid, video.MaxFrames}, // fewer are never enough valid ones
		{"width", size.Width, minWidth, video.MaxSide},
		{"height", size.Height, minHeight, video.MaxSide},
	} {
		if c.value < c.low || c.value > c.high {
			return size, stage.Errorf(contract.ExitBadSpec, "sample.sampling.%s is %d, want %d to %d", c.field, c.value, c.low, c.high)
		}
	}
	return size, nil
}

// checkGuidance refuses what this model cannot do, rather than to leave it out in silence.
func checkGuidance(s contract.Sampling) error {
	for _, c := range []struct{ field, value string }{{"guidanceScale", s.GuidanceScale}, {"negativePrompt", s.NegativePrompt}} {
		if c.value != "" {
			return stage.Errorf(contract.ExitBadSpec, "sample.sampling.%s is %q, but this model has no unconditional branch that guidance could lead away from: leave it empty", c.field, c.value)
		}
	}
	return nil
}
