// Package scoring turns track lines into score lines and sums them up: the glue between the stage
// contract's records and the geometry of internal/dsr, shared by the score stage and the commands on files.
package scoring

import (
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/dsr"
)

// Scorer scores one sample after the other, reusing its memory. Each goroutine needs its own.
type Scorer struct {
	minUsableFrames int
	frames          []dsr.Frame
}

// NewScorer makes samples with fewer usable frames than that INVALID (the method's: dsr.MinUsableFrames).
func NewScorer(minUsableFrames int) *Scorer {
	return &Scorer{minUsableFrames: minUsableFrames}
}

// Sample is a scored sample.
type Sample struct {
	Line contract.ScoreLine
	// Motion holds the guard metrics; meaningful only when the sample was scored.
	Motion dsr.Motion
	// Guards that the tracker measured, by contract.TrackGuards, whether or not the sample was scored.
	Guards map[string]float64
}

// Score computes a sample's score for the type of its prompt. Frames may come in any order. What the
// tracker found INVALID stays so, with its reason.
func (s *Scorer) Score(t dsr.Type, track *contract.TrackLine) Sample {
	sample := Sample{Line: contract.ScoreLine{
		SampleID: track.SampleID, PromptID: track.PromptID, Seed: track.Seed,
		Status: contract.StatusInvalid, Reason: track.Reason,
	}, Guards: track.Guards}
	if track.Status != contract.StatusTracked {
		return sample
	}
	s.load(track.Frames)
	result := dsr.Evaluate(t, s.frames, s.minUsableFrames)
	sample.Line.UsableFrames = result.UsableFrames
	score, ok := result.Score()
	if !ok {
		sample.Line.Reason = string(result.Reason)
		return sample
	}
	terms := contract.Terms(score.Terms)
	sample.Line.Status, sample.Line.Reason = contract.StatusScored, ""
	sample.Line.Score, sample.Line.Terms = &score.Value, &terms
	sample.Motion = dsr.Measure(s.frames)
	return sample
}

// Missing is the line of a sample that was asked for and has no track.
func Missing(index contract.IndexLine) Sample {
	return Sample{Line: contract.ScoreLine{
		SampleID: index.SampleID, PromptID: index.PromptID, Seed: index.Seed, Status: contract.StatusMissing,
	}}
}

func (s *Scorer) load(frames []contract.TrackFrame) {
	s.frames = s.frames[:0]
	for k := range frames {
		frame := dsr.Frame{Index: frames[k].Index}
		if box := frames[k].Subject; box != nil {
			frame.Subject = dsr.Box(*box)
		}
		if box := frames[k].Object; box != nil {
			frame.Object = dsr.Box(*box)
		}
		s.frames = append(s.frames, frame)
	}
	dsr.SortFrames(s.frames)
}
