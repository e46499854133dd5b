package plan

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/golden"
	"github.com/spatialalign/operator/internal/jobs"
)

// trace is a story of one run in memory. Its golden file, testdata/<name>.trace, is the specification: read it.
type trace struct {
	name string
	script
	// edit changes the spec before the run is created.
	edit func(*v1alpha1.AlignmentRunSpec)
	// play tells the story; nil lets every stage succeed at once, until the run ends.
	play func(*world)
}

// playTraces plays stories and compares what happened with the golden files.
func playTraces(t *testing.T, traces []trace) {
	t.Helper()
	for _, tt := range traces {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, tt.script)
			if tt.edit != nil {
				tt.edit(&w.run.Spec)
			}
			play := (*world).settle
			if tt.play != nil {
				play = tt.play
			}
			play(w)
			golden.Check(t, tt.name+".trace", w.trace.String())
		})
	}
}

func (w *world) log(format string, args ...any) {
	fmt.Fprintf(&w.trace, format+"\n", args...)
}

// remark says in the trace what a test does to the world.
func (w *world) remark(format string, args ...any) { w.log("  # "+format, args...) }

// tell writes what became of the record into the trace.
func (w *world) tell(before, after v1alpha1.AlignmentRunStatus) {
	known := map[int32]*v1alpha1.IterationStatus{}
	for i := range before.Iterations {
		known[*before.Iterations[i].Iteration] = &before.Iterations[i]
	}
	for i := range after.Iterations {
		earlier := known[*after.Iterations[i].Iteration]
		if earlier == nil {
			earlier = &v1alpha1.IterationStatus{}
		}
		w.tellIteration(earlier, &after.Iterations[i])
	}
	if after.Test != nil && before.Test == nil {
		w.log("tested %d: accuracy %s", *after.Test.Iteration, after.Test.Evaluation.Accuracy[0].Value)
	}
	if p := after.PendingApproval; p != nil && before.PendingApproval == nil {
		w.log("ask    %d after %s", p.Iteration, p.Gate)
	}
	for _, kind := range []string{v1alpha1.ConditionComplete, v1alpha1.ConditionFailed, v1alpha1.ConditionSuspended,
		v1alpha1.ConditionQuotaReserved, v1alpha1.ConditionAwaitingApproval, v1alpha1.ConditionReconciling} {
		is, was := meta.FindStatusCondition(after.Conditions, kind), meta.FindStatusCondition(before.Conditions, kind)
		if is != nil && (was == nil || was.Status != is.Status || was.Reason != is.Reason) {
			w.log("status %s=%s %s: %s", kind, is.Status, is.Reason, is.Message)
		}
	}
}

func (w *world) tellIteration(before, after *v1alpha1.IterationStatus) {
	k := *after.Iteration
	for i := range after.Stages {
		rec := &after.Stages[i]
		was := stageRecord(before.Stages, rec.Name, *rec.Round)
		at := strings.TrimSuffix(placed(jobs.Place{Iteration: k, Round: *rec.Round, Stage: rec.Name}), "/0")
		switch {
		case succeeded(rec) && !succeeded(was) && rec.Child == "":
			w.log("skip   %s: %s", at, rec.Message)
		case succeeded(rec) && !succeeded(was):
			w.log("record %s", at)
		case rec.Failures > 0 && (was == nil || was.Failures != rec.Failures):
			w.log("failed %s, %d time(s): %s", at, rec.Failures, rec.Message)
		case rec.State == v1alpha1.StageStopped && (was == nil || was.State != rec.State):
			w.log("stop   %s: %s", at, rec.Message)
		case was != nil && rec.Message != was.Message:
			w.log("says   %s: %s", at, or(rec.Message, "nothing"))
		}
	}
	for i := len(before.Approvals); i < len(after.Approvals); i++ {
		a := after.Approvals[i]
		w.log("answer %d after %s: approved=%t by %s", k, a.Gate, *a.Approved, a.Approval)
	}
	if after.Decision != nil && before.Decision == nil {
		w.log("decide %d accepted=%t %s: %s", k, *after.Decision.Accepted, after.Decision.Reason, after.Decision.Message)
	}
}

// placed is a place as traces write it: iteration, round if any, stage and attempt.
func placed(p jobs.Place) string {
	if p.Round > 0 {
		return fmt.Sprintf("%dr%d %s/%d", p.Iteration, p.Round, p.Stage, p.Attempt)
	}
	return fmt.Sprintf("%d %s/%d", p.Iteration, p.Stage, p.Attempt)
}
