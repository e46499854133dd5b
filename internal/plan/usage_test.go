package plan

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

// spent is what the world's pods really used.
func (w *world) spent() int64 {
	var total int64
	for _, seconds := range w.used {
		total += seconds
	}
	return total
}

// Where nothing vanishes, GPU time is exact: nothing is charged twice, also not while finished children stay for weeks.
func TestGPUTimeIsExact(t *testing.T) {
	for _, forgetful := range []bool{false, true} {
		w := newWorld(t, rising)
		if forgetful { // every write that may wait is lost with the operator
			w.forgets = func() bool { return true }
		}
		w.settle()
		w.steps(5)
		if got, want := w.run.Status.GPUSeconds, w.spent(); got != want {
			t.Errorf("forgetful %t: %d GPU-seconds are recorded, %d were used", forgetful, got, want)
		}
		var parts int64
		for _, it := range w.run.Status.Iterations {
			parts += it.GPUSeconds
		}
		if parts != w.run.Status.GPUSeconds {
			t.Errorf("the iterations took %d GPU-seconds, the run %d", parts, w.run.Status.GPUSeconds)
		}
		for _, it := range w.run.Status.Iterations {
			for _, rec := range it.Stages {
				if rec.SucceededGPUSeconds != rec.GPUSeconds {
					t.Errorf("stage %s, which ended well, took %d GPU-seconds, %d of them well", rec.Name, rec.GPUSeconds, rec.SucceededGPUSeconds)
				}
			}
		}
	}
}

// What failed attempts used stays charged, whatever becomes of their pods.
func TestGPUTimeOfFailedAttempts(t *testing.T) {
	w := newWorld(t, rising)
	w.until(1, v1alpha1.StageTrain)
	w.pass(100)
	w.fail(v1alpha1.StageTrain, "GPUFault", false)
	w.pass(200)
	w.child(v1alpha1.StageTrain).Outcome = disrupted
	w.step()
	w.settle()
	for _, rec := range w.run.Status.Iterations[1].Stages {
		if rec.Name == v1alpha1.StageTrain && rec.GPUSeconds < 300 {
			t.Errorf("training took %d GPU-seconds with its lost attempts", rec.GPUSeconds)
		}
	}
	if got, want := w.run.Status.GPUSeconds, w.spent(); got != want {
		t.Errorf("%d GPU-seconds are recorded, %d were used", got, want)
	}
}

// What failed and what was interrupted is told apart, and adds up from stages to iterations to the run; what ended well is no waste.
func TestWastedGPUTime(t *testing.T) {
	w := newWorld(t, rising)
	w.until(1, v1alpha1.StageTrain)
	w.pass(100)
	w.fail(v1alpha1.StageTrain, "GPUFault", false)
	w.pass(30)
	w.child(v1alpha1.StageTrain).Outcome = disrupted
	w.step()
	w.step()
	w.pass(7)
	w.remove(w.child(v1alpha1.StageTrain).Object.GetName()) // somebody deletes the Job
	w.until(1, v1alpha1.StageEvaluationScore)
	w.pass(1000)
	w.fail(v1alpha1.StageEvaluationScore, "StageFailed", false)
	w.settle()

	want := map[v1alpha1.StageName]v1alpha1.WastedGPUSeconds{
		v1alpha1.StageTrain: {Failed: 100, Interrupted: 30 + 1 + 7 + 1}, v1alpha1.StageEvaluationScore: {Failed: 1000},
	}
	it := w.run.Status.Iterations[1]
	for _, rec := range it.Stages {
		if got := ptr.Deref(rec.WastedGPUSeconds, v1alpha1.WastedGPUSeconds{}); got != want[rec.Name] {
			t.Errorf("stage %s wasted %+v of %d GPU-seconds, want %+v", rec.Name, got, rec.GPUSeconds, want[rec.Name])
		}
	}
	sum := &v1alpha1.WastedGPUSeconds{Failed: 100 + 1000, Interrupted: 39}
	if diff := cmp.Diff([]*v1alpha1.WastedGPUSeconds{sum, sum}, []*v1alpha1.WastedGPUSeconds{it.WastedGPUSeconds, w.run.Status.WastedGPUSeconds}); diff != "" {
		t.Errorf("iteration and run: %s", diff)
	}
}

// A pod that was counted while it was open may have ended before: all that was counted of it is as its end.
func TestWasteIsWhole(t *testing.T) {
	rec := v1alpha1.StageStatus{UsageTime: &metav1.Time{}, Usage: []v1alpha1.GPUUsage{
		{Name: "failed", GPUSeconds: ptr.To(int64(12)), GPUs: 1}, {Name: "evicted", GPUSeconds: ptr.To(int64(12)), GPUs: 1}, {Name: "batch", GPUSeconds: ptr.To(int64(12)), GPUs: 1},
		{Name: "ended", GPUSeconds: ptr.To(int64(12)), GPUs: 1}, {Name: "tracks", GPUSeconds: ptr.To(int64(12)), GPUs: 1},
	}}
	seen := []v1alpha1.GPUUsage{
		{Name: "failed", GPUSeconds: ptr.To(int64(10)), WastedGPUSeconds: &v1alpha1.WastedGPUSeconds{Failed: 10}},
		{Name: "evicted", GPUSeconds: ptr.To(int64(10)), WastedGPUSeconds: &v1alpha1.WastedGPUSeconds{Interrupted: 10}},
		{Name: "batch", GPUSeconds: ptr.To(int64(10)), WastedGPUSeconds: &v1alpha1.WastedGPUSeconds{Failed: 3, Interrupted: 4}, SucceededGPUSeconds: 3},
		{Name: "ended", GPUSeconds: ptr.To(int64(10)), SucceededGPUSeconds: 10},
		{Name: "tracks", GPUSeconds: ptr.To(int64(14)), SucceededGPUSeconds: 4, GPUs: 1},
	}
	chargeStage(&rec, seen, metav1.Time{})
	if want := int64(12 - 3 - 4 + 12 + 4); rec.SucceededGPUSeconds != want || rec.GPUSeconds != 2 {
		t.Errorf("%d GPU-seconds of pods that ended well, want %d; %d more in all, want 2", rec.SucceededGPUSeconds, want, rec.GPUSeconds)
	}
	if diff := cmp.Diff(&v1alpha1.WastedGPUSeconds{Failed: 12 + 3, Interrupted: 12 + 4}, rec.WastedGPUSeconds); diff != "" {
		t.Error(diff)
	}
}

// What a batch's pods had ended stays as it ended, when the batch is deleted while others of them run: no GPU-second has two ends.
func TestEndsOfADeletedBatch(t *testing.T) {
	rec := v1alpha1.StageStatus{}
	tracks := []v1alpha1.GPUUsage{{Name: "batch", GPUSeconds: ptr.To(int64(100)), GPUs: 1, SucceededGPUSeconds: 60, WastedGPUSeconds: &v1alpha1.WastedGPUSeconds{Failed: 10}}}
	chargeStage(&rec, tracks, metav1.Unix(1000, 0))
	chargeStage(&rec, nil, metav1.Unix(1005, 0))
	if w := *rec.WastedGPUSeconds; rec.GPUSeconds != 105 || rec.SucceededGPUSeconds != 60 || w.Failed != 10 || w.Interrupted != 35 {
		t.Errorf("%d GPU-seconds, of them ended well %d, wasted %+v", rec.GPUSeconds, rec.SucceededGPUSeconds, w)
	}
}

// How long an attempt waited is known once a pod of it ran; the next attempt waits anew.
func TestWaitingTime(t *testing.T) {
	w := newWorld(t, rising)
	w.until(1, v1alpha1.StageTrain)
	waited := func() *int64 {
		return stageRecord(w.run.Status.Iterations[1].Stages, v1alpha1.StageTrain, 0).WaitSeconds
	}
	if got := waited(); got != nil {
		t.Errorf("it has waited %d s before a pod ran", *got)
	}
	w.child(v1alpha1.StageTrain).Outcome.Waited = ptr.To(90 * time.Second)
	w.step()
	w.child(v1alpha1.StageTrain).Outcome.Waited = nil // the pod was replaced
	w.step()
	if got := ptr.Deref(waited(), -1); got != 90 {
		t.Errorf("it has waited %d s, want 90", got)
	}
	w.fail(v1alpha1.StageTrain, "GPUFault", false)
	if got := waited(); got != nil {
		t.Errorf("the next attempt has waited %d s before a pod ran", *got)
	}
}

// A pod that vanishes while nobody looks is charged until it is seen gone: the operator may have been away for an hour.
func TestGPUTimeOfVanishedPods(t *testing.T) {
	tests := []struct {
		name  string
		stage v1alpha1.StageName
	}{{"a Job", v1alpha1.StageTrain}, {"a ScoringBatch", v1alpha1.StageScore}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, rising)
			w.until(1, tt.stage)
			w.step()
			before := w.run.Status.GPUSeconds
			c := w.child(tt.stage)
			w.pass(1000)
			w.remove(c.Object.GetName())
			w.pass(2599)
			w.step()
			if got := w.run.Status.GPUSeconds - before; got < 3600 {
				t.Errorf("%d GPU-seconds of an hour are charged", got)
			}
		})
	}
}

// A pod that holds on to its GPU after the end, or while the run is suspended, is charged until it is gone.
func TestGPUTimeAfterTheEnd(t *testing.T) {
	w := newWorld(t, rising)
	w.lingers = func() bool { return true }
	w.until(1, v1alpha1.StageTrain)
	w.run.Spec.Iterations, w.run.Spec.ActiveDeadlineSeconds = 1, 1
	w.step()
	if !Ended(w.run.Status.Conditions) {
		t.Fatal("the run goes on after its deadline")
	}
	before := w.run.Status.GPUSeconds
	w.pass(500)
	if next := w.step(); next.RequeueAfter == 0 {
		t.Error("nobody looks at the GPU that is still held")
	}
	w.gone()
	w.succeed(w.child(v1alpha1.StageLineage))
	w.step()
	if next := w.step(); next.RequeueAfter != 0 {
		t.Errorf("the run looks again after %s, for nothing", next.RequeueAfter)
	}
	if got := w.run.Status.GPUSeconds - before; got < 500 || got > 510 {
		t.Errorf("%d GPU-seconds are charged for 501", got)
	}
}

// GPU time never shrinks and is never too little, however pods come and go.
func TestGPUTimeOfPodsThatComeAndGo(t *testing.T) {
	random := rand.New(rand.NewPCG(11, 7))
	w := newWorld(t, rising)
	w.until(1, v1alpha1.StageTrain)
	for range 500 {
		w.step() // pods are seen when they come
		w.pass(int64(random.IntN(100)))
		c := w.child(v1alpha1.StageTrain)
		switch random.IntN(4) {
		case 0:
			w.remove(c.Object.GetName())
		case 1:
			c.Outcome = disrupted
		case 2:
			c.Outcome = jobs.Outcome{State: jobs.Active, Queued: random.IntN(2) == 0}
		}
		w.step() // the laws look at the rest
	}
}
