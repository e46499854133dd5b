package plan

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

// TestCleanup: after which ends ttlSecondsAfterFinished deletes what. A minute after the end, nothing is gone yet.
func TestCleanup(t *testing.T) {
	const nothing, children, run = "nothing", "children", "run"
	tests := []struct {
		cleanup v1alpha1.CleanupPolicy
		target  v1alpha1.TTLTarget
		good    string // what goes after a good end
		bad     string
	}{
		{v1alpha1.CleanupOnSuccess, v1alpha1.TTLChildren, children, nothing},
		{v1alpha1.CleanupAlways, v1alpha1.TTLChildren, children, children},
		{v1alpha1.CleanupNever, v1alpha1.TTLChildren, nothing, nothing},
		{v1alpha1.CleanupOnSuccess, v1alpha1.TTLRun, run, nothing},
		{v1alpha1.CleanupAlways, v1alpha1.TTLRun, run, run},
		{v1alpha1.CleanupNever, v1alpha1.TTLRun, nothing, nothing},
	}
	for _, tt := range tests {
		for _, good := range []bool{true, false} {
			for _, ttl := range []*int32{nil, ptr.To(int32(0)), ptr.To(int32(3600))} {
				t.Run(fmt.Sprintf("%s/%s/good=%t/ttl=%d", tt.cleanup, tt.target, good, ptr.Deref(ttl, -1)), func(t *testing.T) {
					w := newWorld(t, script{accuracy: rising.accuracy, samples: map[int32][3]int64{2: {0, 150, 0}}})
					w.run.Spec.Cleanup, w.run.Spec.TTLTarget, w.run.Spec.TTLSecondsAfterFinished = tt.cleanup, tt.target, ttl
					want := tt.bad
					if good {
						w.run.Spec.Iterations, want = 1, tt.good
					}
					w.settle()
					if ttl == nil {
						want = nothing
					}
					w.pass(59)
					if next := w.step(); ttl != nil && *ttl > 0 {
						if len(next.Delete) > 0 || (next.RequeueAfter != 3540*time.Second) != (want == nothing) {
							t.Fatalf("a minute after the end %d are deleted, the next look is after %s", len(next.Delete), next.RequeueAfter)
						}
					}
					w.pass(3600)
					w.step()
					got := nothing
					switch {
					case w.deleted:
						got = run
					case len(w.children) == 0:
						got = children
					}
					if got != want {
						t.Errorf("%s goes, not %s", got, want)
					}
					if next := Run(w.base(), w.run, w.related); !w.deleted && (len(next.Delete) > 0 || next.RequeueAfter != 0) {
						t.Errorf("afterwards %d are deleted, the next look is after %s", len(next.Delete), next.RequeueAfter)
					}
				})
			}
		}
	}
}

// TestCleanupOfADeletionThatLingers: what is being deleted is not deleted again.
func TestCleanupOfADeletionThatLingers(t *testing.T) {
	w := newWorld(t, rising)
	w.run.Spec.TTLSecondsAfterFinished = ptr.To(int32(0))
	w.settle()
	for _, c := range w.children {
		c.Deleting = true
	}
	if next := Run(w.base(), w.run, w.related); len(next.Delete) > 0 {
		t.Errorf("%d are deleted again", len(next.Delete))
	}
}

// renumber makes every iteration but the baseline and the best one a later one, as if many more had gone before.
func (w *world) renumber(by int32) {
	best := *w.run.Status.Best.Iteration
	for i := range w.run.Status.Iterations {
		if it := &w.run.Status.Iterations[i]; *it.Iteration > best {
			*it.Iteration += by
		}
	}
	w.children = slices.DeleteFunc(w.children, func(c *Child) bool { return c.Outcome.State != jobs.Active })
	for _, c := range w.children {
		w.t.Fatalf("%s runs while iterations are renumbered", placed(c.Place))
	}
	w.laws = newLaws()
	w.unmeasured = true
}

// TestTenThousandIterations: status stays small, and keeps the baseline, the best and the newest iterations. What a plan looks
// at are the records that status keeps, so that the thousands in the middle are passed over by renumbering those.
func TestTenThousandIterations(t *testing.T) {
	const n, played = 10_000, 100
	w := newWorld(t, script{accuracy: []string{"0.35", "0.5", "0.4"}}) // the first adapter stays the best
	w.unmeasured, w.run.Spec.Iterations, w.run.Spec.Approval = true, n, &v1alpha1.ApprovalSpec{After: []v1alpha1.ApprovalGate{v1alpha1.GatePair}}
	largest := 0
	look := func() {
		data, err := json.Marshal(w.run.Status)
		if err != nil {
			t.Fatal(err)
		}
		largest = max(largest, len(data))
		if kept := len(w.run.Status.Iterations); kept > 40 {
			t.Fatalf("%d iterations are kept", kept)
		}
	}
	for k := int32(1); k <= n; k++ {
		w.asked()
		if k == played {
			k = n - played
			w.renumber(k - played)
			w.step()
		}
		look()
		w.answer("go-on", v1alpha1.DecisionApprove)
		w.step()
		w.related.Approvals = nil
		w.trace.Reset()
		w.children = slices.DeleteFunc(w.children, func(c *Child) bool { return c.Outcome.State != jobs.Active })
	}
	w.settle()
	look()
	if largest > maxStatus {
		t.Errorf("the status takes up to %d bytes", largest)
	}
	t.Logf("the status takes up to %d bytes", largest)
	var kept []int32
	for _, it := range w.run.Status.Iterations {
		kept = append(kept, *it.Iteration)
	}
	want := []int32{0, 1}
	for k := int32(n - keptIterations + 1); k <= n; k++ {
		want = append(want, k)
	}
	if !slices.Equal(kept, want) || *w.run.Status.Best.Iteration != 1 {
		t.Errorf("best is %d, kept are %v", *w.run.Status.Best.Iteration, kept)
	}
	for _, it := range w.run.Status.Iterations {
		if it.Lineage == nil && *it.Iteration > 0 || it.Evaluation == nil {
			t.Errorf("iteration %d lost its lineage or its evaluation", *it.Iteration)
		}
	}
}

// TestLineageOfALateWinner: an adapter that beats the best one of long ago still tells what it came from.
func TestLineageOfALateWinner(t *testing.T) {
	accuracy := []string{"0.35", "0.5"}
	for range keptIterations + 5 {
		accuracy = append(accuracy, "0.4")
	}
	w := newWorld(t, script{accuracy: append(accuracy, "0.9")})
	w.unmeasured, w.run.Spec.Iterations = true, int32(len(accuracy))
	w.settle()
	last := w.specs(v1alpha1.StageLineage)[w.run.Spec.Iterations].Lineage.Record
	if got := last.Artifacts["startAdapter"]; got != file("it1/adapter") {
		t.Errorf("the lineage says that the last adapter started from %v", got)
	}
	if got := last.Artifacts["best"]; got != file("it1/evaluation-scores") {
		t.Errorf("the lineage says that the last adapter was compared with %v", got)
	}
	if w.run.Status.Iterations[1].Adapter != nil && *w.run.Status.Iterations[1].Iteration == 1 {
		t.Error("iteration 1 is kept although nothing refers to it any more")
	}
}

// TestLineageThatLags: however late the lineages are recorded, status keeps within its bound.
func TestLineageThatLags(t *testing.T) {
	w := newWorld(t, script{accuracy: []string{"0.35", "0.5", "0.4"}})
	w.unmeasured, w.run.Spec.Iterations = true, keptIterations+10
	for range 300 {
		w.step()
		for _, c := range w.active() {
			if c.Place.Stage != v1alpha1.StageLineage {
				w.succeed(c)
			}
		}
		if kept := len(w.run.Status.Iterations); kept > 40 {
			t.Fatalf("%d iterations are kept while lineages wait", kept)
		}
	}
	w.settle()
}
