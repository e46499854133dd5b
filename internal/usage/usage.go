// Package usage adds up the GPU time that runs and batches have in status, for people: kubectl align usage.
package usage

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// Row is GPU time of what shares its keys; a key that was not asked for is empty.
type Row struct {
	Namespace string `json:"namespace,omitempty"`
	Runtime   string `json:"runtime,omitempty"`
	// Run is the name of an AlignmentRun, or scoringbatch/NAME for a batch of no run.
	Run   string `json:"run,omitempty"`
	Stage string `json:"stage,omitempty"`

	// GPUSeconds are UsefulGPUSeconds, in which pods count that have not ended, and those that failed or were interrupted.
	GPUSeconds            int64 `json:"gpuSeconds"`
	UsefulGPUSeconds      int64 `json:"usefulGPUSeconds"`
	FailedGPUSeconds      int64 `json:"failedGPUSeconds"`
	InterruptedGPUSeconds int64 `json:"interruptedGPUSeconds"`
}

// Keys that rows can be told apart by, in the order of columns.
var Keys = []string{"namespace", "runtime", "run", "stage"}

// keys of the row; what is not asked for becomes empty.
func (r *Row) keys() map[string]*string {
	return map[string]*string{"namespace": &r.Namespace, "runtime": &r.Runtime, "run": &r.Run, "stage": &r.Stage}
}

// CheckKeys refuses a key that is unknown, and none at all.
func CheckKeys(by []string) error {
	for _, k := range by {
		if !slices.Contains(Keys, k) {
			return fmt.Errorf("--by %s: the keys are %s", k, strings.Join(Keys, ", "))
		}
	}
	if len(by) == 0 {
		return fmt.Errorf("--by: name at least one of %s", strings.Join(Keys, ", "))
	}
	return nil
}

// earlier is the stage of GPU time whose stages status no longer has.
const earlier = "(earlier iterations)"

// Of adds up what runs and batches used, by the keys asked for; in the order of those keys. What ended before since is left
// out, unless since is zero.
func Of(runs []v1alpha1.AlignmentRun, batches []v1alpha1.ScoringBatch, by []string, since time.Time) []Row {
	t := table{by: by}
	for i := range runs {
		if run := &runs[i]; !endedBefore(run.Status.Conditions, since) {
			t.run(run)
		}
	}
	for i := range batches {
		b := &batches[i]
		if metav1.GetControllerOf(b) != nil || endedBefore(b.Status.Conditions, since) {
			continue // the run counts what its batches used
		}
		row := Row{Namespace: b.Namespace, Runtime: b.Spec.RuntimeRef.Name, Run: "scoringbatch/" + b.Name, Stage: string(v1alpha1.StageTrack)}
		t.add(row, b.Status.GPUSeconds, b.Status.WastedGPUSeconds)
	}
	slices.SortFunc(t.rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Runtime, b.Runtime), cmp.Compare(a.Run, b.Run), cmp.Compare(a.Stage, b.Stage))
	})
	return t.rows
}

// Total of all rows.
func Total(rows []Row) (total Row) {
	for _, r := range rows {
		total.GPUSeconds += r.GPUSeconds
		total.UsefulGPUSeconds += r.UsefulGPUSeconds
		total.FailedGPUSeconds += r.FailedGPUSeconds
		total.InterruptedGPUSeconds += r.InterruptedGPUSeconds
	}
	return total
}

type table struct {
	by   []string
	rows []Row
}

// run adds a run's stages, and what is in its sum beside them.
func (t *table) run(run *v1alpha1.AlignmentRun) {
	row := Row{Namespace: run.Namespace, Runtime: run.Spec.RuntimeRef.Name, Run: run.Name}
	rest, wasted := run.Status.GPUSeconds, ptr.Deref(run.Status.WastedGPUSeconds, v1alpha1.WastedGPUSeconds{})
	for i := range run.Status.Iterations {
		for _, rec := range run.Status.Iterations[i].Stages {
			row.Stage = string(rec.Name)
			t.add(row, rec.GPUSeconds, rec.WastedGPUSeconds)
			w := ptr.Deref(rec.WastedGPUSeconds, v1alpha1.WastedGPUSeconds{})
			rest, wasted.Failed, wasted.Interrupted = rest-rec.GPUSeconds, wasted.Failed-w.Failed, wasted.Interrupted-w.Interrupted
		}
	}
	row.Stage = earlier
	t.add(row, rest, &wasted)
}

// add GPU time to the row that has its keys.
func (t *table) add(row Row, seconds int64, wasted *v1alpha1.WastedGPUSeconds) {
	if seconds <= 0 {
		return
	}
	for key, value := range row.keys() {
		if !slices.Contains(t.by, key) {
			*value = ""
		}
	}
	i := slices.IndexFunc(t.rows, func(r Row) bool {
		return r.Namespace == row.Namespace && r.Runtime == row.Runtime && r.Run == row.Run && r.Stage == row.Stage
	})
	if i < 0 {
		t.rows = append(t.rows, row)
		i = len(t.rows) - 1
	}
	r, w := &t.rows[i], ptr.Deref(wasted, v1alpha1.WastedGPUSeconds{})
	r.GPUSeconds += seconds
	r.FailedGPUSeconds += w.Failed
	r.InterruptedGPUSeconds += w.Interrupted
	r.UsefulGPUSeconds = r.GPUSeconds - r.FailedGPUSeconds - r.InterruptedGPUSeconds
}

// endedBefore says that an object ended before a time; never for the zero time.
func endedBefore(conditions []metav1.Condition, since time.Time) bool {
	for _, kind := range []string{v1alpha1.ConditionComplete, v1alpha1.ConditionFailed} {
		if c := meta.FindStatusCondition(conditions, kind); c != nil && c.Status == metav1.ConditionTrue && c.LastTransitionTime.Time.Before(since) {
			return true
		}
	}
	return false
}
