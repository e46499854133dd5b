package plan

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

// adopt makes the records of stages whose children were created before those were written: status may lag behind what runs.
// Without a record, GPU time would be charged to nobody, and a name be given twice.
func (r *runPlan) adopt() {
	for i := range r.status.Iterations {
		it := &r.status.Iterations[i]
		for j := range it.Stages {
			missed(&it.Stages[j], *it.Iteration, r.Children)
		}
	}
	for i := range r.Children {
		c := &r.Children[i]
		it := r.record(c.Place.Iteration)
		if it == nil && len(r.status.Iterations) > 0 && c.Place.Iteration == r.decided()+1 {
			it = r.iterationRecord(c.Place.Iteration)
		}
		if it != nil && (mayBegin(it, c.Place.Stage) || stageRecord(it.Stages, c.Place.Stage, c.Place.Round) != nil) {
			adopt(&it.Stages, c, r.Now)
		}
	}
}

// mayBegin says that a stage of an iteration can have begun without a record. Those of iterations that are over may have been
// dropped.
func mayBegin(it *v1alpha1.IterationStatus, stage v1alpha1.StageName) bool {
	switch stage {
	case v1alpha1.StageTestPrepare, v1alpha1.StageTestSample, v1alpha1.StageTestScore:
		return true
	case v1alpha1.StageLineage:
		return it.Lineage == nil
	default:
		return it.CompletionTime == nil
	}
}

// adopt makes sure that a child's stage has a record that knows of it.
func adopt(records *[]v1alpha1.StageStatus, c *Child, now metav1.Time) {
	if jobs.Slug(c.Place.Stage) == "" || c.Place.Attempt < 0 || c.Place.Round < 0 || c.Place.Round > maxRound {
		return // no child of ours
	}
	rec := stageRecord(*records, c.Place.Stage, c.Place.Round)
	if rec == nil {
		*records = append(*records, newRecord(c.Place, c, now))
		rec = &(*records)[len(*records)-1]
	}
	know(rec, c)
}

// missed counts the failures of attempts that were followed by another before they were recorded: the write came to nothing.
func missed(rec *v1alpha1.StageStatus, iteration int32, children []Child) {
	if rec.State != v1alpha1.StageRunning {
		return
	}
	s := stages{children: children}
	newest := s.newest(jobs.Place{Iteration: iteration, Round: ptr.Deref(rec.Round, 0), Stage: rec.Name})
	for i := range children {
		c := &children[i]
		if newest != nil && sameStage(c.Place, newest.Place) && c.Place.Attempt >= ptr.Deref(rec.Attempt, 0) && c.Place.Attempt < newest.Place.Attempt &&
			c.Outcome.State == jobs.Failed && !c.Outcome.Disrupted {
			rec.Failures++
			rec.Message = clip(fmt.Sprintf("%s: %s", c.Outcome.Class, c.Outcome.Message), maxStageMessage)
		}
	}
}

// know makes a running stage's record name the child, unless that is of an earlier attempt.
func know(rec *v1alpha1.StageStatus, c *Child) {
	if rec.State == v1alpha1.StageRunning && c.Place.Attempt >= *rec.Attempt {
		rec.Attempt, rec.Child = ptr.To(c.Place.Attempt), c.Object.GetName()
	}
}

// maxRound of resampling.
const maxRound = 5
