package records

import (
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jsonl"
)

var (
	scoreShape = jsonl.Shape{
		Names:    []string{"sampleID", "promptID", "seed", "status", "reason", "score", "terms", "usableFrames"},
		Required: 4,
	}
	termsShape    = jsonl.Shape{Names: []string{"initial", "initialGap", "final", "finalGap"}, Required: 4}
	pairShape     = jsonl.Shape{Names: []string{"promptID", "iteration", "winner", "loser", "winnerScore", "loserScore"}, Required: 6}
	indexShape    = jsonl.Shape{Names: []string{"sampleID", "promptID", "seed", "video"}, Required: 3}
	artifactShape = jsonl.Shape{Names: []string{"key", "digest"}, Required: 1}
)

// MaxIteration bounds the iteration number of a pair.
const MaxIteration = 1 << 20

func decodeScore(s *jsonl.Scanner) (line contract.ScoreLine) {
	for o := scoreShape.Begin(); s.Next(&o); {
		switch scoreShape.Names[o.Field] {
		case "sampleID":
			line.SampleID = id(s)
		case "promptID":
			line.PromptID = id(s)
		case "seed":
			line.Seed = s.Uint(1<<64 - 1)
		case "status":
			line.Status = oneOf(s, contract.StatusScored, contract.StatusInvalid, contract.StatusMissing)
		case "reason":
			line.Reason = oneOf(s, reasons...)
		case "score":
			score := within(s, 0, 1)
			line.Score = &score
		case "terms":
			line.Terms = decodeTerms(s)
		case "usableFrames":
			line.UsableFrames = int(s.Uint(maxFrames))
		}
	}
	scored, invalid := line.Status == contract.StatusScored, line.Status == contract.StatusInvalid
	if scored != (line.Score != nil) || scored != (line.Terms != nil) {
		s.Fail("status %s: exactly a %s sample has a score and terms", line.Status, contract.StatusScored)
	}
	if invalid != (line.Reason != "") {
		s.Fail("status %s and reason %q do not fit: exactly an %s sample has a reason", line.Status, line.Reason, contract.StatusInvalid)
	}
	return line
}

func decodeTerms(s *jsonl.Scanner) *contract.Terms {
	terms := &contract.Terms{}
	fields := [...]*float64{&terms.Initial, &terms.InitialGap, &terms.Final, &terms.FinalGap}
	for o := termsShape.Begin(); s.Next(&o); {
		*fields[o.Field] = within(s, -1, 1)
	}
	return terms
}

func decodePair(s *jsonl.Scanner) (line contract.PairLine) {
	for o := pairShape.Begin(); s.Next(&o); {
		switch pairShape.Names[o.Field] {
		case "promptID":
			line.PromptID = id(s)
		case "iteration":
			line.Iteration = int(s.Uint(MaxIteration))
		case "winner":
			line.Winner = id(s)
		case "loser":
			line.Loser = id(s)
		case "winnerScore":
			line.WinnerScore = within(s, 0, 1)
		case "loserScore":
			line.LoserScore = within(s, 0, 1)
		}
	}
	if line.WinnerScore <= line.LoserScore {
		s.Fail("the winner's score %v is not above the loser's %v", line.WinnerScore, line.LoserScore)
	}
	return line
}

func decodeIndex(s *jsonl.Scanner) (line contract.IndexLine) {
	for o := indexShape.Begin(); s.Next(&o); {
		switch indexShape.Names[o.Field] {
		case "sampleID":
			line.SampleID = id(s)
		case "promptID":
			line.PromptID = id(s)
		case "seed":
			line.Seed = s.Uint(1<<64 - 1)
		case "video":
			line.Video = decodeArtifact(s)
		}
	}
	return line
}

func decodeArtifact(s *jsonl.Scanner) *contract.Artifact {
	artifact := &contract.Artifact{}
	for o := artifactShape.Begin(); s.Next(&o); {
		switch artifactShape.Names[o.Field] {
		case "key":
			artifact.Key = s.String(contract.MaxKey)
			if err := contract.ValidKey(artifact.Key); err != nil {
				s.Fail("%v", err)
			}
		case "digest":
			artifact.Digest = s.String(contract.MaxKey)
		}
	}
	return artifact
}

// within reads a number from low to high.
func within(s *jsonl.Scanner, low, high float64) float64 {
	value := s.Float()
	if value < low || value > high {
		s.Fail("%v is outside [%v, %v]", value, low, high)
		return 0
	}
	return value
}
