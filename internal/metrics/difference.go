package metrics

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jobs"
)

// Status is what metrics read of an object's status.
type Status struct {
	// Run says that the object is an AlignmentRun: its scoring and pairing stages are objects of their own, and count there.
	Run bool
	// Owned says that a run owns the object: the run counts its GPU time.
	Owned bool
	// Stages by iteration.
	Stages     map[int32][]v1alpha1.StageStatus
	Conditions []metav1.Condition
}

// Increment of a counter, or an observation of a histogram.
type Increment struct {
	Metric string
	// Stage is empty for metrics of whole runs.
	Stage string
	// Outcome is the last label of metrics that have one.
	Outcome string
	Value   float64
}

// Difference is what a recorded change of status adds to the counters.
func Difference(before, after Status) []Increment {
	d := &difference{}
	for _, k := range iterations(after.Stages) {
		for i := range after.Stages[k] {
			rec := &after.Stages[k][i]
			was := find(before.Stages[k], rec)
			if !after.Owned {
				d.gpuTime(was, rec)
			}
			if !after.Run || !nested(rec.Name) {
				d.attempts(was, rec)
			}
		}
	}
	if after.Run {
		d.ending(before.Conditions, after.Conditions)
	}
	return d.list
}

type difference struct{ list []Increment }

func (d *difference) add(metric string, stage v1alpha1.StageName, outcome string, value int64) {
	if value > 0 {
		d.list = append(d.list, Increment{metric, string(stage), outcome, float64(value)})
	}
}

// gpuTime is what a stage used since, and what of it ended since.
func (d *difference) gpuTime(was, is *v1alpha1.StageStatus) {
	stage := is.Name
	if nested(stage) {
		stage = v1alpha1.StageTrack // the rest of scoring has no GPU
	}
	d.add(UsedGPUSeconds, stage, "", is.GPUSeconds-was.GPUSeconds)
	d.add(GPUSeconds, stage, OutcomeSucceeded, is.SucceededGPUSeconds-was.SucceededGPUSeconds)
	lost, now := ptr.Deref(was.WastedGPUSeconds, v1alpha1.WastedGPUSeconds{}), ptr.Deref(is.WastedGPUSeconds, v1alpha1.WastedGPUSeconds{})
	d.add(GPUSeconds, stage, OutcomeFailed, now.Failed-lost.Failed)
	d.add(GPUSeconds, stage, OutcomeInterrupted, now.Interrupted-lost.Interrupted)
}

// attempts that ended since, the pods that were interrupted, and how long an attempt waited.
func (d *difference) attempts(was, is *v1alpha1.StageStatus) {
	d.add(Attempts, is.Name, OutcomeSucceeded, succeeded(is)-succeeded(was))
	d.add(Attempts, is.Name, class(is.Message), int64(is.Failures)-int64(was.Failures))
	d.add(Attempts, is.Name, OutcomeInterrupted, interrupted(is)-interrupted(was))
	d.add(Interruptions, is.Name, "", interruptions(was.Usage, is.Usage))
	again := ptr.Deref(was.Attempt, 0) != ptr.Deref(is.Attempt, 0)
	if is.WaitSeconds != nil && (was.WaitSeconds == nil || again) {
		d.list = append(d.list, Increment{Wait, string(is.Name), "", float64(*is.WaitSeconds)})
	}
}

// ending of a run.
func (d *difference) ending(before, after []metav1.Condition) {
	for _, kind := range []string{v1alpha1.ConditionComplete, v1alpha1.ConditionFailed} {
		if c := meta.FindStatusCondition(after, kind); c != nil && c.Status == metav1.ConditionTrue && !meta.IsStatusConditionTrue(before, kind) {
			reason := c.Reason
			if !slices.Contains(endings, reason) {
				reason = outcomeOther
			}
			d.add(Finished, "", reason, 1)
		}
	}
}

// nested says that a stage of a run is an object of its own.
func nested(stage v1alpha1.StageName) bool {
	switch stage {
	case v1alpha1.StageScore, v1alpha1.StageEvaluationScore, v1alpha1.StageReevaluationScore, v1alpha1.StageTestScore, v1alpha1.StagePair:
		return true
	}
	return false
}

// succeeded attempts of a stage: one, unless there was nothing to do.
func succeeded(rec *v1alpha1.StageStatus) int64 {
	if rec.State == v1alpha1.StageSucceeded && rec.Child != "" {
		return 1
	}
	return 0
}

// interrupted attempts are those that ended, and neither failed nor succeeded.
func interrupted(rec *v1alpha1.StageStatus) int64 {
	ended := int64(ptr.Deref(rec.Attempt, 0))
	if rec.State != v1alpha1.StageRunning && rec.Child != "" {
		ended++
	}
	return max(ended-int64(rec.Failures)-succeeded(rec), 0)
}

// interruptions are the pods that were seen to be interrupted since.
func interruptions(was, is []v1alpha1.GPUUsage) (n int64) {
	for _, u := range is {
		if lost(u) && !slices.ContainsFunc(was, func(w v1alpha1.GPUUsage) bool { return w.Name == u.Name && lost(w) }) {
			n++
		}
	}
	return n
}

func lost(u v1alpha1.GPUUsage) bool {
	return u.WastedGPUSeconds != nil && u.WastedGPUSeconds.Interrupted > 0
}

// Outcomes of attempts and pods; an attempt that failed has the class of its failure instead.
const (
	OutcomeSucceeded   = "Succeeded"
	OutcomeFailed      = "Failed"
	OutcomeInterrupted = "Interrupted"
	// outcomeOther stands for a class that is on no list, such as a reason of the Job controller.
	outcomeOther = "Other"
)

// classes of failures that have a name among the outcomes. One of them is Interrupted: too often within one Job.
var classes = []string{
	contract.ExitBadSpec.Class(), contract.ExitBadInput.Class(), contract.ExitMismatch.Class(), contract.ExitStorage.Class(),
	contract.ExitBug.Class(), contract.ExitGPU.Class(), contract.ExitOutOfMemory.Class(), contract.ExitDiverged.Class(),
	contract.ExitTooManyInvalid.Class(), contract.ExitCheckpointed.Class(), jobs.ClassNoManifest, jobs.ClassTooManyPods,
}

// class of a failure, that a stage's message begins with.
func class(message string) string {
	word, _, _ := strings.Cut(message, ":")
	if slices.Contains(classes, word) {
		return word
	}
	return outcomeOther
}

func iterations(stages map[int32][]v1alpha1.StageStatus) []int32 {
	var list []int32
	for k := range stages {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

// find the former record of a stage; an empty one where there is none.
func find(records []v1alpha1.StageStatus, rec *v1alpha1.StageStatus) *v1alpha1.StageStatus {
	for i := range records {
		if r := &records[i]; r.Name == rec.Name && ptr.Deref(r.Round, 0) == ptr.Deref(rec.Round, 0) {
			return r
		}
	}
	return &v1alpha1.StageStatus{}
}
