package verify

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// Unrecorded says of each iteration of a run that has ended why it has no lineage: a sentence each, of those that have none.
func Unrecorded(run *v1alpha1.AlignmentRun) []string {
	conditions := run.Status.Conditions
	if !meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionComplete) && !meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionFailed) {
		return nil
	}
	var missing []string
	for i := range run.Status.Iterations {
		it := &run.Status.Iterations[i]
		if it.Lineage != nil || it.Iteration == nil || *it.Iteration == 0 {
			continue
		}
		missing = append(missing, fmt.Sprintf("iteration %d has no lineage: %s", *it.Iteration, whyUnrecorded(it)))
	}
	return missing
}

func whyUnrecorded(it *v1alpha1.IterationStatus) string {
	for i := range it.Stages {
		switch rec := &it.Stages[i]; {
		case rec.Name != v1alpha1.StageLineage:
		case rec.State == v1alpha1.StageRunning:
			return "it is being written"
		default:
			return fmt.Sprintf("its stage is %s: %s", rec.State, rec.Message)
		}
	}
	return "the run ended before its samples were complete, or with an operator that did not write one then; what it made stands in status"
}
