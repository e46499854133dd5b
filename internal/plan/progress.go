package plan

import (
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
)

// progress of the furthest active child. While nothing new is read of it, the last known stands.
func progress(now metav1.Time, active []*Child, last *v1alpha1.ProgressStatus) *v1alpha1.ProgressStatus {
	var furthest *Child
	for _, c := range active {
		if furthest == nil || c.Place.Iteration >= furthest.Place.Iteration {
			furthest = c
		}
	}
	if furthest == nil {
		return last
	}
	if furthest.Progress == nil && furthest.Batch == nil && last != nil &&
		*last.Iteration == furthest.Place.Iteration && last.Stage == furthest.Place.Stage {
		return last
	}
	p := &v1alpha1.ProgressStatus{
		Iteration: ptr.To(furthest.Place.Iteration), Stage: furthest.Place.Stage, Percentage: ptr.To(int32(0)), LastUpdatedTime: &now,
	}
	if furthest.Batch != nil {
		fromBatch(p, furthest.Batch.Status.Progress)
	}
	if furthest.Progress != nil {
		fromPods(p, furthest.Progress)
	}
	if last != nil {
		was := *last
		was.LastUpdatedTime = p.LastUpdatedTime
		if equality.Semantic.DeepEqual(&was, p) {
			return last
		}
	}
	return p
}

func fromPods(p *v1alpha1.ProgressStatus, reported *contract.Progress) {
	p.Percentage = ptr.To(reported.ProgressPercentage)
	p.EstimatedRemainingSeconds = ptr.To(reported.EstimatedRemainingSeconds)
	for _, m := range reported.Metrics {
		p.Metrics = append(p.Metrics, v1alpha1.NamedMetric{Name: m.Name, Value: m.Value})
	}
	t, err := time.Parse(time.RFC3339, reported.LastCheckpointTime)
	if year := t.UTC().Year(); err == nil && year >= 2000 && year < 9999 { // a year of five digits would spoil the whole status
		p.LastCheckpointTime = &metav1.Time{Time: t.Truncate(time.Second)} // what status keeps of it
	}
}

func fromBatch(p *v1alpha1.ProgressStatus, batch *v1alpha1.ProgressStatus) {
	if batch == nil {
		return
	}
	p.Percentage, p.EstimatedRemainingSeconds = batch.Percentage, batch.EstimatedRemainingSeconds
}
