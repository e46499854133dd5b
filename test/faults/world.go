//go:build faults

package faults

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jobs"
	"github.com/spatialalign/operator/internal/plan"
)

// world runs the plan in memory: whatever is created ends at once, as it does on the cluster.
type world struct {
	run      *v1alpha1.AlignmentRun
	runtime  *v1alpha1.AlignmentRuntime
	children []plan.Child
	now      time.Time
	// largest object created, in bytes, and what it is.
	largest     int
	largestName string
}

// step plans once, and carries the plan out.
func (w *world) step() error {
	w.now = w.now.Add(time.Second)
	next := plan.Run(plan.Base{
		Now: metav1.NewTime(w.now), Runtime: w.runtime, Children: w.children,
		Config: plan.Config{Images: jobs.Images{Stage: "operator:1"}, ProgressInterval: 10 * time.Second},
	}, w.run, plan.Related{})
	w.run.Status = next.Status
	for _, o := range next.Create {
		data, err := json.Marshal(o)
		if err != nil {
			return err
		}
		if len(data) > w.largest {
			w.largest, w.largestName = len(data), o.GetName()
		}
		child, err := grown(o)
		if err != nil {
			return err
		}
		w.children = append(w.children, child)
	}
	return nil
}

// forget drops the children of iterations before k, as a user or a time to live may.
func (w *world) forget(k int32) {
	kept := w.children[:0]
	for i := range w.children {
		if w.children[i].Place.Iteration >= k {
			kept = append(kept, w.children[i])
		}
	}
	w.children = kept
}

// grown is a child that has ended well.
func grown(o plan.Object) (plan.Child, error) {
	child := plan.Child{Object: o, Outcome: jobs.Outcome{State: jobs.Succeeded}}
	switch o := o.(type) {
	case *batchv1.Job:
		child.Place = placeOf(o)
		return child, tell(&child.Outcome, o)
	case *v1alpha1.ScoringBatch:
		child.Place, child.Batch = placeOf(o), o
		spec := contract.Spec{Stage: contract.Score, Output: "batches/" + o.Name, Score: &contract.ScoreSpec{Index: contract.Artifact{Key: string(o.Spec.Index.Key)}}}
		score(o, &spec)
		return child, nil
	case *v1alpha1.PreferenceDataset:
		child.Place, child.Dataset = placeOf(o), o
		o.Status.Summary = &v1alpha1.PairSummary{
			Pairs: ptr.To(int64(900)), UsablePrompts: ptr.To(int64(25)), Winners: ptr.To(int64(60)), Losers: ptr.To(int64(80)), Invalid: ptr.To(int64(10)),
			Artifact: &v1alpha1.ArtifactReference{Key: v1alpha1.ArtifactKey("datasets/" + o.Name + "/pairs.jsonl"), Digest: v1alpha1.Digest(contract.Digest([]byte(o.Name)))},
		}
		return child, nil
	default:
		return child, fmt.Errorf("no child is a %T", o)
	}
}

// tell reads what a Job's stage says, shard by shard, as the operator would from its pods.
func tell(o *jobs.Outcome, job *batchv1.Job) error {
	var spec contract.Spec
	if err := json.Unmarshal([]byte(job.Spec.Template.Annotations[v1alpha1.AnnotationSpec]), &spec); err != nil {
		return err
	}
	o.Outputs, o.Counts, o.Metrics, o.Image = map[string]contract.Artifact{}, counts{}, metrics{}, imageID
	for shard := range int(*job.Spec.Completions) {
		last := said(&spec, shard, spec.Output)
		o.Outputs["manifest/"+strconv.Itoa(shard)] = *last.Manifest
		maps.Copy(o.Outputs, last.Outputs)
		for name, n := range last.Counts {
			o.Counts[name] += n
		}
		o.Metrics = last.Metrics
	}
	return nil
}

// score fills a batch's summary in from what its score stage says.
func score(batch *v1alpha1.ScoringBatch, spec *contract.Spec) {
	last := said(spec, 0, spec.Output)
	s := &v1alpha1.ScoreSummary{
		Total: ptr.To(last.Counts["total"]), Scored: ptr.To(last.Counts["scored"]), Invalid: ptr.To(last.Counts["invalid"]), Missing: ptr.To(last.Counts["missing"]),
		MeanScore: "0.5", Guards: []v1alpha1.NamedMetric{{Name: "frozenFrames", Value: "0.01"}},
		Scores: &v1alpha1.ArtifactReference{
			Key: v1alpha1.ArtifactKey(last.Outputs["scores"].Key), Digest: v1alpha1.Digest(last.Outputs["scores"].Digest),
		},
	}
	for tenth := range 10 {
		at := fmt.Sprintf("%.1f", float64(tenth)/10)
		s.Accuracy = append(s.Accuracy, v1alpha1.AccuracyAt{Threshold: v1alpha1.Fraction(at), Value: v1alpha1.Fraction(last.Metrics["accuracy/"+at])})
	}
	batch.Status.Summary = s
}
