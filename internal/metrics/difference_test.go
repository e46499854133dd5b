package metrics_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/metrics"
)

// record of a stage whose second attempt runs, after the first was interrupted.
func record(stage v1alpha1.StageName, edits ...func(*v1alpha1.StageStatus)) v1alpha1.StageStatus {
	rec := v1alpha1.StageStatus{
		Name: stage, State: v1alpha1.StageRunning, Child: "child", Round: ptr.To(int32(0)), Attempt: ptr.To(int32(1)),
		GPUSeconds: 100, WastedGPUSeconds: &v1alpha1.WastedGPUSeconds{Interrupted: 40}, WaitSeconds: ptr.To(int64(5)),
		Usage: []v1alpha1.GPUUsage{{Name: "a", WastedGPUSeconds: &v1alpha1.WastedGPUSeconds{Interrupted: 40}}, {Name: "b", GPUs: 1}},
	}
	for _, edit := range edits {
		edit(&rec)
	}
	return rec
}

func used(seconds int64) func(*v1alpha1.StageStatus) {
	return func(rec *v1alpha1.StageStatus) { rec.GPUSeconds = seconds }
}

func state(s v1alpha1.StageState) func(*v1alpha1.StageStatus) {
	return func(rec *v1alpha1.StageStatus) { rec.State = s }
}

// attempt that runs next, after one that has not failed.
func attempt(n int32) func(*v1alpha1.StageStatus) {
	return func(rec *v1alpha1.StageStatus) { rec.Attempt, rec.WaitSeconds = ptr.To(n), nil }
}

func failed(n int32, message string) func(*v1alpha1.StageStatus) {
	return func(rec *v1alpha1.StageStatus) { rec.Failures, rec.Message = n, message }
}

func waited(seconds int64) func(*v1alpha1.StageStatus) {
	return func(rec *v1alpha1.StageStatus) { rec.WaitSeconds = &seconds }
}

func wasted(failed, interrupted int64) func(*v1alpha1.StageStatus) {
	return func(rec *v1alpha1.StageStatus) {
		rec.WastedGPUSeconds = &v1alpha1.WastedGPUSeconds{Failed: failed, Interrupted: interrupted}
	}
}

func succeeded(seconds int64) func(*v1alpha1.StageStatus) {
	return func(rec *v1alpha1.StageStatus) { rec.SucceededGPUSeconds = seconds }
}

func evicted(pods ...string) func(*v1alpha1.StageStatus) {
	return func(rec *v1alpha1.StageStatus) {
		rec.Usage = nil
		for _, p := range pods {
			rec.Usage = append(rec.Usage, v1alpha1.GPUUsage{Name: p, WastedGPUSeconds: &v1alpha1.WastedGPUSeconds{Interrupted: 1}})
		}
	}
}

// What one write of status adds to the counters. Before it, each stage is as record makes it.
func TestDifferenceOfAStage(t *testing.T) {
	train, track := v1alpha1.StageTrain, v1alpha1.StageTrack
	for _, tt := range []struct {
		name   string
		before *v1alpha1.StageStatus // nil for a stage that had no record
		after  v1alpha1.StageStatus
		want   []metrics.Increment
	}{
		{"nothing is new", ptr.To(record(train)), record(train), nil},
		{"a stage begins", nil, record(train, attempt(0), used(0), wasted(0, 0), evicted()), nil},
		{"a pod ends well, and another goes on", ptr.To(record(train)), record(train, used(130), succeeded(20)), []metrics.Increment{
			{metrics.UsedGPUSeconds, "Train", "", 30}, {metrics.GPUSeconds, "Train", "Succeeded", 20},
		}},
		{"GPU time grows", ptr.To(record(train)), record(train, used(130)), []metrics.Increment{{metrics.UsedGPUSeconds, "Train", "", 30}}},
		{"all that the operator before it did not record", nil, record(train, evicted()), []metrics.Increment{
			{metrics.UsedGPUSeconds, "Train", "", 100}, {metrics.GPUSeconds, "Train", "Interrupted", 40},
			{metrics.Attempts, "Train", "Interrupted", 1}, {metrics.Wait, "Train", "", 5},
		}},
		{"a pod runs at last", ptr.To(record(train, attempt(1))), record(train, waited(70)), []metrics.Increment{{metrics.Wait, "Train", "", 70}}},
		{"that of the next attempt too", ptr.To(record(train)), record(train, attempt(2), waited(0)), []metrics.Increment{
			{metrics.Attempts, "Train", "Interrupted", 1}, {metrics.Wait, "Train", "", 0},
		}},
		{"it succeeds", ptr.To(record(train)), record(train, state(v1alpha1.StageSucceeded)), []metrics.Increment{{metrics.Attempts, "Train", "Succeeded", 1}}},
		{"it had nothing to do", nil, v1alpha1.StageStatus{Name: train, State: v1alpha1.StageSucceeded, Attempt: ptr.To(int32(0))}, nil},
		{"an attempt fails, and another follows", ptr.To(record(train)), record(train, attempt(2), failed(1, "GPUFault: NCCL"), wasted(60, 40)), []metrics.Increment{
			{metrics.GPUSeconds, "Train", "Failed", 60}, {metrics.Attempts, "Train", "GPUFault", 1},
		}},
		{"the last one fails", ptr.To(record(train)), record(train, state(v1alpha1.StageFailed), failed(1, "OutOfMemory: 80 GiB")), []metrics.Increment{{metrics.Attempts, "Train", "OutOfMemory", 1}}},
		{"for a reason that is on no list", ptr.To(record(train)), record(train, state(v1alpha1.StageFailed), failed(1, "BackoffLimitExceeded: x")), []metrics.Increment{{metrics.Attempts, "Train", "Other", 1}}},
		{"or in words that a tenant chose", ptr.To(record(train)), record(train, state(v1alpha1.StageFailed), failed(1, "run-4711")), []metrics.Increment{{metrics.Attempts, "Train", "Other", 1}}},
		{"an attempt is interrupted", ptr.To(record(train)), record(train, attempt(2)), []metrics.Increment{{metrics.Attempts, "Train", "Interrupted", 1}}},
		{"the run ends before it", ptr.To(record(train)), record(train, state(v1alpha1.StageStopped)), []metrics.Increment{{metrics.Attempts, "Train", "Interrupted", 1}}},
		{"or before its next attempt", ptr.To(record(train, attempt(2), func(rec *v1alpha1.StageStatus) { rec.Child = "" })),
			record(train, attempt(2), state(v1alpha1.StageStopped), func(rec *v1alpha1.StageStatus) { rec.Child = "" }), nil},
		{"a pod is evicted, and the Job goes on", ptr.To(record(train)), record(train, evicted("a", "b"), wasted(0, 70)), []metrics.Increment{
			{metrics.GPUSeconds, "Train", "Interrupted", 30}, {metrics.Interruptions, "Train", "", 1},
		}},
		{"a recorded pod is forgotten", ptr.To(record(train)), record(train, evicted()), nil},
		{"the GPUs of scoring are those of tracking; the batch tells the rest", ptr.To(record(v1alpha1.StageEvaluationScore)),
			record(v1alpha1.StageEvaluationScore, used(130), attempt(2), wasted(10, 40), state(v1alpha1.StageSucceeded)), []metrics.Increment{
				{metrics.UsedGPUSeconds, string(track), "", 30}, {metrics.GPUSeconds, string(track), "Failed", 10},
			}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before, after := metrics.Status{Run: true}, metrics.Status{Run: true, Stages: map[int32][]v1alpha1.StageStatus{3: {tt.after}}}
			if tt.before != nil {
				before.Stages = map[int32][]v1alpha1.StageStatus{3: {record(v1alpha1.StageSample), *tt.before}}
			}
			if diff := cmp.Diff(tt.want, metrics.Difference(before, after)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// GPU time counts once: in the run, not in what it owns. Attempts count where their Jobs are.
func TestDifferenceOfABatch(t *testing.T) {
	before := metrics.Status{Stages: map[int32][]v1alpha1.StageStatus{0: {record(v1alpha1.StageTrack)}}}
	after := metrics.Status{Stages: map[int32][]v1alpha1.StageStatus{0: {record(v1alpha1.StageTrack, used(150), state(v1alpha1.StageSucceeded))}}}
	succeeds := metrics.Increment{Metric: metrics.Attempts, Stage: "Track", Outcome: "Succeeded", Value: 1}
	want := []metrics.Increment{{metrics.UsedGPUSeconds, "Track", "", 50}, succeeds}
	if diff := cmp.Diff(want, metrics.Difference(before, after)); diff != "" {
		t.Errorf("of its own: %s", diff)
	}
	before.Owned, after.Owned = true, true
	if diff := cmp.Diff([]metrics.Increment{succeeds}, metrics.Difference(before, after)); diff != "" {
		t.Errorf("of a run: %s", diff)
	}
}

func TestDifferenceOfAnEnd(t *testing.T) {
	condition := func(kind, reason string) metrics.Status {
		return metrics.Status{Run: true, Conditions: []metav1.Condition{{Type: kind, Status: metav1.ConditionTrue, Reason: reason}}}
	}
	running, failed := condition(v1alpha1.ConditionReconciling, "x"), condition(v1alpha1.ConditionFailed, "Collapsed")
	want := []metrics.Increment{{metrics.Finished, "", "Collapsed", 1}}
	if diff := cmp.Diff(want, metrics.Difference(running, failed)); diff != "" {
		t.Error(diff)
	}
	want[0].Outcome = "Other"
	if diff := cmp.Diff(want, metrics.Difference(running, condition(v1alpha1.ConditionComplete, "run-4711"))); diff != "" {
		t.Errorf("for a reason that is on no list: %s", diff)
	}
	if got := metrics.Difference(failed, failed); got != nil {
		t.Errorf("a run that had ended ends again: %v", got)
	}
	failed.Run = false
	if got := metrics.Difference(running, failed); got != nil {
		t.Errorf("the end of a batch counts as a run's: %v", got)
	}
}
