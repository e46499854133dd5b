package stages

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/spatialalign/operator/internal/compare"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/dsr"
	"github.com/spatialalign/operator/internal/records"
	"github.com/spatialalign/operator/internal/scoring"
	"github.com/spatialalign/operator/internal/stage"
)

// Compare bootstraps the difference of two evaluations' accuracy. Samples are paired by prompt and seed:
// their ids differ, because the adapter enters those. An evaluation with a missing sample is incomplete
// and is not compared: a lost video must not count as a lost point.
func Compare(ctx context.Context, t *stage.Task) error {
	spec := t.Spec.Compare
	threshold, err := dsr.ParseFraction(spec.Threshold)
	if err != nil {
		return stage.Errorf(contract.ExitBadSpec, "compare.threshold: %w", err)
	}
	confidence, err := strconv.ParseFloat(spec.Confidence, 64)
	if err != nil {
		return stage.Errorf(contract.ExitBadSpec, "compare.confidence: %w", err)
	}
	best, bestOn, err := readEvaluation(ctx, t, "best", spec.Best, threshold)
	if err != nil {
		return err
	}
	candidate, candidateOn, err := readEvaluation(ctx, t, "candidate", spec.Candidate, threshold)
	if err != nil {
		return err
	}
	matched, err := compare.Match(best, candidate)
	if err != nil {
		return stage.Errorf(contract.ExitBadInput, "compare: %w", err)
	}
	t.Progress.Total(1, "comparisons")
	lower, upper := matched.Bounds(compare.Bootstrap{Resamples: spec.Resamples, Confidence: confidence, Seed: spec.Seed})
	t.Progress.Add(1)
	side := func(scores contract.Artifact, successes int, devices []string) contract.VerdictSide {
		return contract.VerdictSide{
			Scores: scores, Successes: successes, Accuracy: scoring.Decimal(float64(successes) / float64(matched.Samples)), Devices: devices,
		}
	}
	return writeVerdict(ctx, t, contract.Verdict{
		Threshold: spec.Threshold, Confidence: spec.Confidence, Resamples: spec.Resamples, Seed: spec.Seed,
		Prompts: matched.Prompts, Samples: matched.Samples,
		Best: side(spec.Best, matched.Best, bestOn), Candidate: side(spec.Candidate, matched.Candidate, candidateOn),
		Delta: scoring.Decimal(matched.Delta()), LowerBound: scoring.Decimal(lower), UpperBound: scoring.Decimal(upper),
	})
}

// readEvaluation reads scores that have no missing sample, and on which GPU models those samples were made.
func readEvaluation(ctx context.Context, t *stage.Task, side string, a contract.Artifact, threshold dsr.Fraction) (samples []compare.Sample, devices []string, err error) {
	data, err := t.Read(ctx, a, maxLines)
	if err != nil {
		return nil, nil, err
	}
	var ids []string
	missing, first := 0, ""
	err = records.ReadScores(bytes.NewReader(data), a.Key, func(line contract.ScoreLine) error {
		if line.Status == contract.StatusMissing {
			if missing++; missing == 1 {
				first = fmt.Sprintf("prompt %s with seed %d", line.PromptID, line.Seed)
			}
		}
		ids = append(ids, line.SampleID)
		samples = append(samples, compare.Sample{
			PromptID: line.PromptID, Seed: line.Seed,
			Success: line.Score != nil && *line.Score >= threshold.Float64(),
		})
		t.Progress.Add(0) // a heartbeat
		return nil
	})
	if err != nil {
		return nil, nil, stage.Errorf(contract.ExitBadInput, "compare.%s: scores %w", side, err)
	}
	if missing > 0 {
		return nil, nil, stage.Errorf(contract.ExitBadInput, "compare.%s %s: the evaluation is incomplete: %d of %d samples are missing, the first is %s; evaluate again",
			side, a.Key, missing, len(samples), first)
	}
	devices, err = devicesOf(ctx, t, ids)
	return samples, devices, err
}

func writeVerdict(ctx context.Context, t *stage.Task, v contract.Verdict) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("verdict.json: %w", err)
	}
	a, err := t.Write(ctx, "verdict.json", append(data, '\n'))
	if err != nil {
		return err
	}
	t.Output("verdict", a)
	t.Counts(map[string]int64{"prompts": int64(v.Prompts), "samples": int64(v.Samples)})
	t.Devices("best", v.Best.Devices)
	t.Devices("candidate", v.Candidate.Devices)
	t.Metrics(map[string]string{"delta": v.Delta, "lowerBound": v.LowerBound, "upperBound": v.UpperBound})
	return nil
}
