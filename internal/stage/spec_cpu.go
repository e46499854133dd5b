package stage

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/spatialalign/operator/internal/contract"
)

// The specs of the operator's own stages.

func checkScore(s *contract.ScoreSpec) error {
	if (len(s.Tracks) == 0) == (s.Detector == nil) {
		return errors.New("tracks, detector: exactly one must be set: the manifest of every track shard, or whose kept tracks are to be taken")
	}
	for i, a := range s.Tracks {
		if err := checkPinned(fmt.Sprintf("tracks[%d]", i), a); err != nil {
			return err
		}
	}
	for i, name := range s.Guards {
		if !slices.Contains(contract.TrackGuards, name) || slices.Contains(s.Guards[:i], name) {
			return fmt.Errorf("guards[%d] is %q, want one of %q, each once", i, name, contract.TrackGuards)
		}
	}
	if s.MinUsableFrames < 3 {
		return fmt.Errorf("minUsableFrames is %d, want at least 3 (the score averages the first and last three)", s.MinUsableFrames)
	}
	return errors.Join(
		checkInput("prompts", s.Prompts),
		checkInput("index", s.Index),
		checkDetector("detector", s.Detector),
		checkDecimal("maxInvalidFraction", s.MaxInvalidFraction, 0, 1),
	)
}

func checkPair(s *contract.PairSpec) error {
	if (s.Import == nil) == (len(s.Sources) == 0) {
		return errors.New("sources, import: exactly one must be set")
	}
	if s.Import != nil {
		if s.Extends != nil {
			return errors.New("extends: an import extends nothing")
		}
		return checkInput("import", *s.Import)
	}
	for i, source := range s.Sources {
		if source.Iteration < 0 {
			return fmt.Errorf("sources[%d].iteration is %d, want at least 0", i, source.Iteration)
		}
		if err := checkPinned(fmt.Sprintf("sources[%d].scores", i), source.Scores); err != nil {
			return err
		}
	}
	if s.MaxPairsPerPrompt < 0 {
		return fmt.Errorf("maxPairsPerPrompt is %d, want at least 1, or 0 for all", s.MaxPairsPerPrompt)
	}
	return errors.Join(
		checkOptional("extends", s.Extends),
		checkDecimal("winnerThreshold", s.WinnerThreshold, 0, 1),
		checkDecimal("loserThreshold", s.LoserThreshold, 0, 1),
		checkDecimal("minMargin", cmp.Or(s.MinMargin, "0"), 0, 1),
	)
}

// maxResamples bounds a bootstrap, so that no spec makes a pod compute for ever.
const maxResamples = 1_000_000

func checkCompare(s *contract.CompareSpec) error {
	if s.Resamples < 1 || s.Resamples > maxResamples {
		return fmt.Errorf("resamples is %d, want 1 to %d", s.Resamples, maxResamples)
	}
	if x, err := strconv.ParseFloat(s.Confidence, 64); err != nil || !(x > 0 && x < 1) {
		return fmt.Errorf("confidence is %q, want a decimal between 0 and 1, neither of them", s.Confidence)
	}
	return errors.Join(
		checkPinned("best", s.Best),
		checkPinned("candidate", s.Candidate),
		checkDecimal("threshold", s.Threshold, 0, 1),
	)
}

func checkLineage(r *contract.LineageRecord) error {
	if r.ContractVersion != contract.Version {
		return fmt.Errorf("record.contractVersion is %q, want %s", r.ContractVersion, contract.Version)
	}
	if r.Namespace == "" || r.Run == "" || r.UID == "" || r.Iteration < 0 {
		return fmt.Errorf("record: namespace %q, run %q, uid %q, iteration %d: want names, and an iteration from 0", r.Namespace, r.Run, r.UID, r.Iteration)
	}
	for _, role := range slices.Sorted(maps.Keys(r.Artifacts)) {
		if err := checkPinned(fmt.Sprintf("record.artifacts[%s]", role), r.Artifacts[role]); err != nil {
			return err
		}
	}
	return errors.Join(checkOptional("record.previous", r.Previous), checkModel("record.sampling.model", r.Sampling.Model))
}
