package plan

import (
	"encoding/json"
	"strconv"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

// maxStatus is what the status of any object may take, as JSON: reliability.md, item 20.
const maxStatus = 256 << 10

// laws remember what has happened, to hold every plan against it.
type laws struct {
	// ever are the names of all children that were created.
	ever map[string]bool
	// recorded are the stages whose success was ever in status, by their place as attempt 0, with the attempt that succeeded.
	recorded map[jobs.Place]int32
	// used is the GPU time that pods really used, in seconds, by child.
	used map[string]int64
	// unmeasured leaves out what costs most, for long runs.
	unmeasured bool
}

func newLaws() laws {
	return laws{ever: map[string]bool{}, recorded: map[jobs.Place]int32{}, used: map[string]int64{}}
}

// succeededAt is the attempt of a stage whose success is recorded.
func (l *laws) succeededAt(p jobs.Place) (attempt int32, recorded bool) {
	p.Attempt = 0
	attempt, recorded = l.recorded[p]
	return attempt, recorded
}

// note remembers what a written status records.
func (l *laws) note(s v1alpha1.AlignmentRunStatus) {
	for _, it := range s.Iterations {
		for i := range it.Stages {
			if rec := &it.Stages[i]; succeeded(rec) {
				l.recorded[jobs.Place{Iteration: *it.Iteration, Round: *rec.Round, Stage: rec.Name}] = *rec.Attempt
			}
		}
	}
}

// check holds a plan against what must be true of every plan.
func (w *world) check(before v1alpha1.AlignmentRunStatus, next Next[v1alpha1.AlignmentRunStatus]) {
	w.t.Helper()
	w.checkCreates(next)
	w.checkDeletes(next)
	if w.kueue != nil {
		w.checkReserved(next)
	}
	for i, it := range next.Status.Iterations {
		if i > 0 && *it.Iteration <= *next.Status.Iterations[i-1].Iteration {
			w.t.Fatalf("iteration %d stands behind %d", *it.Iteration, *next.Status.Iterations[i-1].Iteration)
		}
	}
	var used int64
	for _, seconds := range w.used {
		used += seconds
	}
	for _, it := range next.Status.Iterations {
		for i := range it.Stages {
			rec := &it.Stages[i]
			was, waste := endsBefore(before.Iterations, *it.Iteration, rec), ptr.Deref(rec.WastedGPUSeconds, v1alpha1.WastedGPUSeconds{})
			if rec.SucceededGPUSeconds < was || rec.SucceededGPUSeconds+waste.Failed+waste.Interrupted > rec.GPUSeconds {
				w.t.Fatalf("stage %s: of %d GPU-seconds %d ended well, after %d, and %+v badly:\n%s", rec.Name, rec.GPUSeconds, rec.SucceededGPUSeconds, was, waste, w.trace.String())
			}
		}
	}
	if next.Status.GPUSeconds < before.GPUSeconds || next.Status.GPUSeconds < used {
		w.t.Fatalf("%d GPU-seconds are recorded after %d, and %d were used:\n%s", next.Status.GPUSeconds, before.GPUSeconds, used, w.trace.String())
	}
	if w.unmeasured {
		return
	}
	if data, err := json.Marshal(next.Status); err != nil || len(data) > maxStatus {
		w.t.Fatalf("the status takes %d bytes, %v", len(data), err)
	}
}

// checkCreates: no name is used twice, no recorded stage repeated, and a stage has one child with pods, unless nobody can
// tell of the former's any more.
func (w *world) checkCreates(next Next[v1alpha1.AlignmentRunStatus]) {
	w.t.Helper()
	for _, o := range withoutWorkload(next.Create) {
		if o.GetObjectKind().GroupVersionKind().Kind == "Service" {
			continue // of the Job's name, and of its life
		}
		p := placeOf(o)
		if w.ever[o.GetName()] {
			w.t.Fatalf("the name %s is used twice:\n%s", o.GetName(), w.trace.String())
		}
		w.ever[o.GetName()] = true
		if _, recorded := w.succeededAt(p); recorded {
			w.t.Fatalf("stage %s is repeated after it was recorded:\n%s", placed(p), w.trace.String())
		}
		for _, c := range w.children {
			if sameStage(c.Place, p) && !c.Outcome.Lost && (c.Outcome.State == jobs.Active || c.Outcome.Endless) {
				w.t.Fatalf("%s starts while %s may still have pods:\n%s", placed(p), placed(c.Place), w.trace.String())
			}
		}
	}
}

// needless says that a stage leads nowhere: the run is over but for its last words, or is not and one of those began before
// somebody raised its iterations.
func (w *world) needless(s v1alpha1.AlignmentRunStatus, stage v1alpha1.StageName) bool {
	r := &runPlan{run: w.run, status: s}
	k := r.decided()
	over := k >= w.run.Spec.Iterations || r.record(0) != nil && r.record(0).Evaluation != nil && r.enough(k) != nil
	switch stage {
	case v1alpha1.StageTestPrepare, v1alpha1.StageTestSample, v1alpha1.StageTestScore:
		return !over
	case v1alpha1.StageLineage:
		return false
	default:
		return over
	}
}

// checkDeletes: while the run goes on, nothing goes but what would not end, or what the run comes to its end without; while it
// is held, nothing that has ended. A run that has lost its reservation leaves its GPUs.
func (w *world) checkDeletes(next Next[v1alpha1.AlignmentRunStatus]) {
	w.t.Helper()
	if Ended(next.Status.Conditions) {
		return
	}
	held := meta.IsStatusConditionTrue(next.Status.Conditions, v1alpha1.ConditionSuspended)
	for _, o := range withoutWorkload(next.Delete) {
		c := w.children[indexOf(w.children, o)]
		if w.kueue != nil && !w.reserved() && c.Outcome.State == jobs.Active && onGPUs(c) {
			continue
		}
		if c.Outcome.State == jobs.Active && w.needless(next.Status, c.Place.Stage) {
			continue
		}
		if !c.Outcome.Endless && (!held || c.Outcome.State != jobs.Active) {
			w.t.Fatalf("%s is deleted unrecorded:\n%s", placed(c.Place), w.trace.String())
		}
	}
}

// checkSecondPlan: planning again from the same world changes nothing, but for the GPU time of what the plan deleted, and a
// reservation that may be given back, or asked for anew, then.
func (w *world) checkSecondPlan(before v1alpha1.AlignmentRunStatus) {
	w.t.Helper()
	if w.unmeasured || Ended(w.run.Status.Conditions) && !Ended(before.Conditions) { // after the end, cleaning up begins
		return
	}
	again := w.decide()
	if was, is := unpriced(w.run.Status), unpriced(again.Status); len(withoutWorkload(again.Create))+len(withoutWorkload(again.Delete))+len(again.Resize) > 0 || !equality.Semantic.DeepEqual(was, is) {
		w.t.Fatalf("a second plan from the same world changes something: %d creates, %d deletes, %s\n%s",
			len(again.Create), len(again.Delete), cmp.Diff(was, is), w.trace.String())
	}
}

// endsBefore is the GPU time of a stage that had ended well before.
func endsBefore(iterations []v1alpha1.IterationStatus, iteration int32, rec *v1alpha1.StageStatus) int64 {
	for _, it := range iterations {
		if was := stageRecord(it.Stages, rec.Name, *rec.Round); *it.Iteration == iteration && was != nil {
			return was.SucceededGPUSeconds
		}
	}
	return 0
}

// unpriced is a status without GPU time.
func unpriced(s v1alpha1.AlignmentRunStatus) v1alpha1.AlignmentRunStatus {
	s = *s.DeepCopy()
	s.GPUSeconds, s.WastedGPUSeconds, s.ForecastGPUSeconds = 0, nil, 0
	for i := range s.Iterations {
		s.Iterations[i].GPUSeconds, s.Iterations[i].WastedGPUSeconds = 0, nil
		for j := range s.Iterations[i].Stages {
			s.Iterations[i].Stages[j] = withoutUsage(s.Iterations[i].Stages[j])
		}
	}
	return s
}

// number of a label; 0 where there is none.
func number(label string) int32 {
	n, _ := strconv.ParseInt(label, 10, 32)
	return int32(n)
}
