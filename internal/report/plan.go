package report

import (
	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
)

// Plan names the artifacts that a report is made of.
type Plan struct {
	// Threshold is the headline threshold, a decimal.
	Threshold         string             `json:"threshold"`
	TrainPrompts      *contract.Artifact `json:"trainPrompts,omitempty"`
	EvaluationPrompts *contract.Artifact `json:"evaluationPrompts,omitempty"`
	Iterations        []PlanIteration    `json:"iterations"`
	// Best is the iteration whose videos stand beside the baseline's; 0 when there is none.
	Best int32 `json:"best"`
}

// PlanIteration names the artifacts of one iteration, as far as they exist.
type PlanIteration struct {
	Iteration  int32              `json:"iteration"`
	Samples    *contract.Artifact `json:"samples,omitempty"`
	Evaluation *contract.Artifact `json:"evaluation,omitempty"`
	Pairs      *contract.Artifact `json:"pairs,omitempty"`
	Adapter    *contract.Artifact `json:"adapter,omitempty"`
}

// PlanOf a run: what its status pins by digest.
func PlanOf(run *v1alpha1.AlignmentRun) Plan {
	plan := Plan{Threshold: string(run.HeadlineThreshold())}
	if prompts := run.Status.Prompts; prompts != nil {
		plan.TrainPrompts = &contract.Artifact{Key: string(prompts.Train.Key), Digest: string(prompts.Train.Digest)}
		plan.EvaluationPrompts = &contract.Artifact{Key: string(prompts.Evaluation.Key), Digest: string(prompts.Evaluation.Digest)}
	}
	for i := range run.Status.Iterations {
		from := &run.Status.Iterations[i]
		it := PlanIteration{
			Iteration: number(from), Samples: scores(from.Samples), Evaluation: scores(from.Evaluation), Adapter: artifactOf(from.Adapter),
		}
		if from.Pairs != nil {
			it.Pairs = artifactOf(from.Pairs.Artifact)
		}
		if it.Evaluation != nil {
			plan.Best = it.Iteration // the newest, unless one was accepted
		}
		plan.Iterations = append(plan.Iterations, it)
	}
	if best := run.Status.Best; best != nil && best.Iteration != nil && *best.Iteration > 0 {
		plan.Best = *best.Iteration
	}
	return plan
}

func number(it *v1alpha1.IterationStatus) int32 {
	if it.Iteration == nil {
		return 0
	}
	return *it.Iteration
}

func scores(s *v1alpha1.ScoreSummary) *contract.Artifact {
	if s == nil {
		return nil
	}
	return artifactOf(s.Scores)
}

func artifactOf(r *v1alpha1.ArtifactReference) *contract.Artifact {
	if r == nil {
		return nil
	}
	return &contract.Artifact{Key: string(r.Key), Digest: string(r.Digest)}
}
