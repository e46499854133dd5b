package plan

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

// adopt makes the records of stages whose children were created before those were written: status may lag behind what runs.
// Without a record, GPU time would be charged to nobody, and a name be given twice.
func (r *runPlan) adopt() {
	decided := r.decided()
	begun := r.begun(decided)
	for i := range r.Children {
		c := &r.Children[i]
		it := r.record(c.Place.Iteration)
		if it == nil && len(r.status.Iterations) > 0 && decided < c.Place.Iteration && c.Place.Iteration <= begun {
			it = r.iterationRecord(c.Place.Iteration)
		}
		if it != nil && (mayBegin(it, c.Place.Stage) || stageRecord(it.Stages, c.Place.Stage, c.Place.Round) != nil) {
			adopt(&it.Stages, c, r.Children, r.Now)
		}
	}
}

// begun is the newest iteration that can have begun: the one after the last decision, or a later one, if a write that was
// lost had decided more. Each has children that the next one began from.
func (r *runPlan) begun(decided int32) int32 {
	k := decided + 1
	for slices.ContainsFunc(r.Children, func(c Child) bool { return c.Place.Iteration == k+1 }) {
		k++
	}
	return k
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
func adopt(records *[]v1alpha1.StageStatus, c *Child, children []Child, now metav1.Time) {
	if jobs.Slug(c.Place.Stage) == "" || c.Place.Attempt < 0 || c.Place.Round < 0 || c.Place.Round > maxRound {
		return // no child of ours
	}
	rec := stageRecord(*records, c.Place.Stage, c.Place.Round)
	if rec == nil {
		*records = append(*records, newRecord(c.Place, c, now))
		rec = &(*records)[len(*records)-1]
	}
	know(rec, c.Place, children)
}

// know makes a running stage's record name the newest attempt that has a child, and count the failures of those between: they
// were followed by another before their own record was written.
func know(rec *v1alpha1.StageStatus, at jobs.Place, children []Child) {
	if rec.State != v1alpha1.StageRunning {
		return
	}
	newest := newest(children, at)
	if newest == nil || newest.Place.Attempt < *rec.Attempt {
		return
	}
	for i := range children {
		c := &children[i]
		if sameStage(c.Place, at) && c.Place.Attempt >= *rec.Attempt && c.Place.Attempt < newest.Place.Attempt &&
			c.Outcome.State == jobs.Failed && !c.Outcome.Disrupted {
			rec.Failures++
			rec.Message = clip(fmt.Sprintf("%s: %s", c.Outcome.Class, c.Outcome.Message), maxStageMessage)
		}
	}
	if newest.Place.Attempt > *rec.Attempt {
		rec.WaitSeconds = nil // that of an earlier one
	}
	rec.Attempt, rec.Child = ptr.To(newest.Place.Attempt), newest.Object.GetName()
}

// maxRound of resampling.
const maxRound = 5
