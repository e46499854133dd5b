package records

import (
	"io"
	"path"
	"strings"

	"github.com/spatialalign/operator/internal/contract"
)

// SampleRef is a sample that a file of a stage names.
type SampleRef struct {
	ID string
	// PromptID of the sample; empty where the file does not say.
	PromptID string
	// Video is set where the file names the video itself: one that a user brought.
	Video *contract.Artifact
}

// NamesSamples tells by its name whether a stage's file names samples: an index, scores or pairs.
func NamesSamples(key string) bool { return samplesReader(key) != nil }

// ReadSamples calls fn with every sample that a stage's file names and that there should be a video of.
// One may come several times.
func ReadSamples(r io.Reader, key string, fn func(SampleRef) error) error {
	return samplesReader(key)(r, key, fn)
}

func samplesReader(key string) func(io.Reader, string, func(SampleRef) error) error {
	switch name := path.Base(key); {
	case strings.HasPrefix(name, "index-") && strings.HasSuffix(name, ".jsonl"):
		return indexSamples
	case name == "scores.jsonl":
		return scoredSamples
	case name == "pairs.jsonl":
		return pairedSamples
	default:
		return nil
	}
}

func indexSamples(r io.Reader, name string, fn func(SampleRef) error) error {
	return ReadIndex(r, name, func(line contract.IndexLine) error {
		return fn(SampleRef{line.SampleID, line.PromptID, line.Video})
	})
}

func scoredSamples(r io.Reader, name string, fn func(SampleRef) error) error {
	return ReadScores(r, name, func(line contract.ScoreLine) error {
		if line.Status == contract.StatusMissing || line.Reason == contract.ReasonNoVideo {
			return nil
		}
		return fn(SampleRef{line.SampleID, line.PromptID, nil})
	})
}

func pairedSamples(r io.Reader, name string, fn func(SampleRef) error) error {
	return ReadPairs(r, name, func(line contract.PairLine) error {
		if err := fn(SampleRef{line.Winner, line.PromptID, nil}); err != nil {
			return err
		}
		return fn(SampleRef{line.Loser, line.PromptID, nil})
	})
}
