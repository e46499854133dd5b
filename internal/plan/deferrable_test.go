package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// An operator that is lost before every write that could wait repeats nothing: the children tell all that it had not
// recorded. And enough can wait that a run of three iterations is recorded in fewer writes than it has Jobs of its own.
func TestRunWithoutItsDeferrableWrites(t *testing.T) {
	calm := newWorld(t, rising)
	calm.settle()

	w := newWorld(t, rising)
	writes := 0
	w.forgets = func() bool { return true }
	for !Ended(w.run.Status.Conditions) {
		if next := w.step(); !next.Deferrable {
			writes++
		}
		for _, c := range w.active() {
			w.succeed(c)
		}
	}
	if diff := cmp.Diff(outcome(calm.run.Status), outcome(w.run.Status)); diff != "" {
		t.Errorf("the end differs from that of a run whose every step is recorded:\n%s", diff)
	}
	if own := len(w.ever); writes >= own {
		t.Errorf("%d writes for %d children", writes, own)
	}
}

// Acceptance is recorded before anything waits: children go by the snapshot.
func TestAcceptanceIsNotDeferrable(t *testing.T) {
	w := newWorld(t, rising)
	if next := Run(w.base(), w.run, w.related); next.Deferrable || next.Status.Runtime == nil {
		t.Errorf("deferrable: %v, snapshot: %v", next.Deferrable, next.Status.Runtime)
	}
}

// Failures, further attempts, results and ends are recorded at once.
func TestWhatIsNotDeferrable(t *testing.T) {
	tests := []struct {
		name string
		play func(*world)
		want bool
	}{
		{"prepared", func(w *world) { w.succeed(w.child(v1alpha1.StagePrepare)) }, true},
		{"deleted", func(w *world) { w.remove(w.child(v1alpha1.StagePrepare).Object.GetName()) }, false},
		{"pod waits", func(w *world) { w.child(v1alpha1.StagePrepare).Outcome.Message = "ImagePullBackOff" }, true},
		{"sampled", func(w *world) { w.until(1, v1alpha1.StageSample); w.succeed(w.child(v1alpha1.StageSample)) }, false},
		{"trained", func(w *world) { w.until(1, v1alpha1.StageTrain); w.succeed(w.child(v1alpha1.StageTrain)) }, false},
		{"prepared for evaluation", func(w *world) {
			w.until(1, v1alpha1.StageEvaluationPrepare)
			w.succeed(w.child(v1alpha1.StageEvaluationPrepare))
		}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, rising)
			w.step()
			tt.play(w)
			if got := Run(w.base(), w.run, w.related).Deferrable; got != tt.want {
				t.Errorf("deferrable: %v", got)
			}
		})
	}
}
