package plan

import (
	"github.com/spatialalign/operator/api/v1alpha1"
)

// outcome is what a run came to, without when and after how many attempts.
func outcome(s v1alpha1.AlignmentRunStatus) map[string]any {
	type iteration struct {
		Samples    *v1alpha1.ScoreSummary
		Resampled  []v1alpha1.ResampledRound
		Pairs      *v1alpha1.PairSummary
		Adapter    *v1alpha1.ArtifactReference
		Evaluation *v1alpha1.ScoreSummary
		Comparison *v1alpha1.Comparison
		Decision   *v1alpha1.Decision
		Lineage    *v1alpha1.ArtifactReference
	}
	var iterations []iteration
	for _, it := range s.Iterations {
		iterations = append(iterations, iteration{it.Samples, it.Resampled, it.Pairs, it.Adapter, it.Evaluation, it.Comparison, it.Decision, it.Lineage})
	}
	return map[string]any{"phase": s.Phase, "best": s.Best, "test": s.Test, "prompts": s.Prompts, "iterations": iterations}
}
