package controllers

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/plan"
)

// What tells nothing but progress and GPU time is written every ten seconds in the first minutes of a stage, and every minute in
// the end; what cannot be told again is written at once.
func TestPaceOfProgress(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) *metav1.Time { return ptr.To(metav1.NewTime(now.Add(-d))) }
	e := &Engine{Clock: clocktesting.NewFakePassiveClock(now), Config: plan.Config{ProgressInterval: 10 * time.Second}}
	stage := func(state v1alpha1.StageState, age time.Duration) v1alpha1.StageStatus {
		return v1alpha1.StageStatus{Name: v1alpha1.StageTrain, State: state, StartTime: ago(age)}
	}
	const running, succeeded = v1alpha1.StageRunning, v1alpha1.StageSucceeded
	for name, c := range map[string]struct {
		stages []v1alpha1.StageStatus
		after  time.Duration
	}{
		"a stage that just began":               {[]v1alpha1.StageStatus{stage(running, 0)}, 10 * time.Second},
		"one of a minute":                       {[]v1alpha1.StageStatus{stage(running, time.Minute)}, 10 * time.Second},
		"one of five minutes":                   {[]v1alpha1.StageStatus{stage(running, 5*time.Minute)}, 30 * time.Second},
		"one of hours":                          {[]v1alpha1.StageStatus{stage(running, 9*time.Hour)}, time.Minute},
		"one that began beside one of hours":    {[]v1alpha1.StageStatus{stage(running, 9*time.Hour), stage(running, time.Second)}, 10 * time.Second},
		"one of hours after one that has ended": {[]v1alpha1.StageStatus{stage(succeeded, time.Second), stage(running, 9*time.Hour)}, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			writes := func(deferrable bool, last time.Duration) bool {
				run := &v1alpha1.AlignmentRun{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: *ago(10 * time.Hour)}}
				recorded := v1alpha1.AlignmentRunStatus{Progress: &v1alpha1.ProgressStatus{LastUpdatedTime: ago(last)}}
				run.Status = v1alpha1.AlignmentRunStatus{GPUSeconds: 7, Iterations: []v1alpha1.IterationStatus{{Iteration: ptr.To(int32(1)), Stages: c.stages}}}
				s := subject[v1alpha1.AlignmentRunStatus]{object: run, status: &run.Status, recorded: &recorded, ledger: runLedger}
				return s.write(deferrable, e)
			}
			if writes(true, c.after-time.Second) || !writes(true, c.after) {
				t.Errorf("progress is not written every %s", c.after)
			}
			if !writes(false, 0) {
				t.Error("a result is not written at once")
			}
		})
	}
}

// An API server that takes its time is asked less often for what may wait: at most a hundredth of the time goes into it, and a
// minute is the most that it waits.
func TestWhatMayWaitSparesABusyAPIServer(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for took, pace := range map[time.Duration]time.Duration{
		0: 10 * time.Second, 50 * time.Millisecond: 10 * time.Second, 400 * time.Millisecond: 40 * time.Second, 5 * time.Second: time.Minute,
	} {
		e := &Engine{Clock: clocktesting.NewFakePassiveClock(now), Config: plan.Config{ProgressInterval: 10 * time.Second}}
		for range 100 {
			e.effort.took(took)
		}
		run := &v1alpha1.AlignmentRun{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(now)}}
		s := subject[v1alpha1.AlignmentRunStatus]{object: run, status: &run.Status, recorded: &v1alpha1.AlignmentRunStatus{}, ledger: runLedger}
		if got := s.pace(e).Round(time.Second); got != pace {
			t.Errorf("writes take %s: every %s, want %s", took, got, pace)
		}
		for range 100 {
			e.effort.took(0)
		}
		if got := s.pace(e); got != 10*time.Second {
			t.Errorf("writes took %s and are fast again: every %s", took, got)
		}
	}
}

// A status that was written a moment ago is not written again for what may wait, however old the object is and though it tells
// of no progress yet.
func TestWhatMayWaitFollowsTheLastWrite(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	e := &Engine{Clock: clocktesting.NewFakePassiveClock(now), Config: plan.Config{ProgressInterval: 10 * time.Second}}
	run := &v1alpha1.AlignmentRun{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "r1", CreationTimestamp: metav1.NewTime(now.Add(-15 * time.Second))}}
	run.Status.Phase = v1alpha1.PhaseRunning
	s := subject[v1alpha1.AlignmentRunStatus]{object: run, status: &run.Status, recorded: &v1alpha1.AlignmentRunStatus{}, ledger: runLedger}
	if !s.write(true, e) {
		t.Error("never written, and not written after 15 s")
	}
	e.wrote.Store(deferralKey(run), now.Add(-9*time.Second))
	if s.write(true, e) || !s.write(false, e) {
		t.Error("9 s after a write, what may wait is written, or a result is not")
	}
	e.wrote.Store(deferralKey(run), now.Add(-10*time.Second))
	if !s.write(true, e) {
		t.Error("10 s after a write, what may wait is not written")
	}
}
