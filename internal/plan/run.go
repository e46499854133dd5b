package plan

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

// Related are the objects beside its children that a run's plan looks at.
type Related struct {
	// Dataset is what spec.initialDataset names; nil while it does not exist. It is looked at before acceptance.
	Dataset *v1alpha1.PreferenceDataset
	// Rerun is the run that spec.rerun names; nil while it does not exist. It is looked at before acceptance, and told of in
	// the lineage.
	Rerun *v1alpha1.AlignmentRun
	// Approvals that name the run, oldest first.
	Approvals []v1alpha1.AlignmentApproval
	// Reservation of the run as a whole; nil where it asks for none and has none.
	Reservation *jobs.Reservation
}

// Run plans an AlignmentRun:
//
//	iteration 0:        Prepare -> evaluate(base)
//	iteration k >= 1:   Prepare -> Sample -> Score -> Pair -> [yield, approval] -> Train -> evaluate(adapter k)
//	                    -> Compare -> [reevaluate] -> [acceptance, guards, approval] -> decision -> Lineage
//	evaluate:           EvaluationPrepare -> EvaluationSample -> EvaluationScore
//	reevaluate:         ReevaluationPrepare -> ReevaluationSample -> ReevaluationScore -> ReevaluationCompare,
//	                    the best adapter on the GPU model of adapter k, where that is another
//	a good end:         TestPrepare -> TestSample -> TestScore, with test prompts
//
// Iteration 0's Prepare resolves the prompts and lists the samples of both the baseline and iteration 1, which
// therefore run side by side and have no prepare stage of their own. Lineage holds up nothing but the end.
func Run(b Base, run *v1alpha1.AlignmentRun, related Related) Next[v1alpha1.AlignmentRunStatus] {
	b.Children = vouched(b.Children)
	r := &runPlan{Base: b, Related: related, run: run, was: &run.Status, status: *run.Status.DeepCopy()}
	if mend(&r.status) {
		r.was = r.status.DeepCopy()
	}
	r.cond = conditions{&r.status.Conditions, run.Generation, b.Now, run.Status.Conditions}
	if !Ended(r.status.Conditions) {
		r.adopt()
	}
	r.account()
	if Ended(r.status.Conditions) {
		next := r.ended()
		r.keep(&next)
		return next
	}
	if b.Leaving {
		return Next[v1alpha1.AlignmentRunStatus]{Status: r.status, Delete: unfinished(b.Children), Deferrable: true}
	}
	r.status.ObservedGeneration = run.Generation
	if r.status.Runtime == nil {
		waiting, wrong := r.accept()
		if wrong != nil {
			return r.fail(wrong)
		}
		if waiting != nil {
			r.status.Phase = v1alpha1.PhasePending
			r.cond.wait(waiting)
			next := Next[v1alpha1.AlignmentRunStatus]{Status: r.status}
			if b.Missing != "" || run.Spec.Rerun != nil {
				next.RequeueAfter = b.Config.ProgressInterval // nothing is watched there
			}
			return next
		}
	}
	var next Next[v1alpha1.AlignmentRunStatus]
	if ptr.Deref(run.Spec.Suspend, false) {
		next = r.suspend(v1alpha1.ReasonSuspendRequested, "spec.suspend is true; active stages are deleted")
	} else {
		evicted := r.evict()
		next = r.loop()
		next.Delete = append(next.Delete, evicted...)
	}
	r.keep(&next)
	return next
}

// runPlan is one pass over one run.
type runPlan struct {
	Base
	Related
	run *v1alpha1.AlignmentRun
	// was is the status as it is recorded, or mended.
	was    *v1alpha1.AlignmentRunStatus
	status v1alpha1.AlignmentRunStatus
	cond   conditions
	stages stages
	// resolved is the run's spec with the runtime's defaults filled in.
	resolved resolved
	// unpayable says why the next iteration may not start; empty when it may.
	unpayable string
	// undecided is the iteration in whose middle the run comes to its end, at a gate before training; 0 for none.
	undecided int32
	// withheld says why the runtime's policy lets nothing new start; nil when it does.
	withheld *failure
	// until is when a deadline passes that no event tells; zero for none.
	until time.Time
}

// suspend holds the run: whatever is active is deleted, and the next attempts start when the reason is gone.
func (r *runPlan) suspend(reason, why string) Next[v1alpha1.AlignmentRunStatus] {
	r.status.Phase, r.status.Progress = v1alpha1.PhaseSuspended, nil
	r.idle()
	r.cond.unqueue()
	r.cond.set(v1alpha1.ConditionSuspended, metav1.ConditionTrue, reason, why+"; what they finished stays in the store")
	r.cond.set(v1alpha1.ConditionReconciling, metav1.ConditionFalse, reason, "suspended")
	next := Next[v1alpha1.AlignmentRunStatus]{Status: r.status, Delete: unfinished(r.Children), Deferrable: r.onlyUsage()}
	if !meta.IsStatusConditionTrue(r.run.Status.Conditions, v1alpha1.ConditionSuspended) || len(next.Delete) > 0 || r.usesGPUs() {
		next.RequeueAfter = r.Config.ProgressInterval // once more, for a child that the cache does not show yet, and for GPUs that are still held
	}
	return next
}

func (r *runPlan) loop() Next[v1alpha1.AlignmentRunStatus] {
	r.withheld = r.policyHolds()
	r.stages = r.beginning(nil)
	r.resolved = resolve(r.run.Spec, r.status.Runtime.Spec.Defaults)
	r.status.PendingApproval = nil
	before := *r.status.DeepCopy()
	end := r.concluded(r.iterate())
	if reason := r.overspent(); reason != "" {
		r.status = before // what this pass starts is not to happen, what it records is
		r.cond.list = &r.status.Conditions
		r.stages = r.beginning(gpuStage)
		end = r.concluded(r.iterate())
		r.pending()
		if r.stages.failed != nil {
			return r.fail(r.stages.failed)
		}
		if end != nil {
			return r.end(end)
		}
		return r.unpaid(reason)
	}
	if r.withheld != nil {
		return r.withhold(end)
	}
	if meta.FindStatusCondition(r.status.Conditions, v1alpha1.ConditionSuspended) != nil {
		r.resumed()
		r.cond.set(v1alpha1.ConditionSuspended, metav1.ConditionFalse, v1alpha1.ReasonResumed, "nothing holds the run")
	}
	r.cond.run()
	r.quota()
	if unbegun := r.unbegun(); unbegun != nil {
		r.cond.wait(unbegun)
	}
	r.status.Phase = v1alpha1.PhaseRunning
	r.pending()
	if r.stages.failed != nil {
		return r.fail(r.stages.failed)
	}
	if end == nil {
		end = r.deadline()
	}
	if end != nil {
		return r.end(end)
	}
	r.status.Progress = progress(r.Now, r.stages.active, r.status.Progress)
	return Next[v1alpha1.AlignmentRunStatus]{
		Status: r.status, Create: r.stages.create, Delete: r.leftBehind(none), Resize: r.stages.space.resize, WantsRoom: r.stages.space.wanting, Waiting: r.stages.space.waiting,
		RequeueAfter: r.requeue(), Deferrable: r.deferrable(),
	}
}

// beginning is the stages before a pass, with what is not to start in it.
func (r *runPlan) beginning(held func(jobs.Place) bool) stages {
	if r.withheld != nil {
		held = everyStage
	}
	return stages{
		now: r.Now, retries: ptr.Deref(r.run.Spec.Retries, 0), children: r.Children, held: held,
		startup: time.Duration(r.run.Spec.StartupDeadlineSeconds) * time.Second, space: newSpace(&r.Base), kept: r.kept,
	}
}

// leftBehind are the children to delete while the run goes on: those that would not end, those that must end now, and those off
// the path that the run takes: it comes to its end beside them, or goes on after its end had begun. Their stages begin again
// if the path comes back to them.
func (r *runPlan) leftBehind(must func(*Child) bool) []Object {
	return unfinished(slices.DeleteFunc(slices.Clone(r.Children), func(c Child) bool {
		onPath := slices.ContainsFunc(r.stages.active, func(a *Child) bool { return sameStage(a.Place, c.Place) }) ||
			slices.ContainsFunc(r.stages.waiting, func(at jobs.Place) bool { return sameStage(at, c.Place) })
		return onPath && !c.Outcome.Endless && !must(&c)
	}))
}

// none of the children.
func none(*Child) bool { return false }

// requeue is when to look again although no event may come.
func (r *runPlan) requeue() time.Duration {
	again := time.Duration(0)
	if r.status.PendingApproval == nil || len(r.stages.active) > 0 || r.usesGPUs() {
		again = r.Config.ProgressInterval
	}
	if r.stages.enqueued {
		again = min(again, firstLook)
	}
	again = r.stages.space.again(again)
	if left := r.until.Sub(r.Now.Time); !r.until.IsZero() && (again == 0 || left < again) {
		again = max(left, time.Second)
	}
	return again
}

// iterate moves the baseline and the current iteration on, and returns the run's end once it is reached.
func (r *runPlan) iterate() *ending {
	if r.status.Prompts == nil && r.cannotPay(1) || !r.prompts() {
		return nil
	}
	baseline := r.evaluate(0)
	for k := r.decided(); ; k++ {
		if baseline {
			if end := r.enough(k); end != nil {
				return end
			}
		}
		if k >= r.run.Spec.Iterations {
			return &ending{reason: v1alpha1.ReasonIterationsCompleted, message: fmt.Sprintf("%d iteration(s) evaluated", k)}
		}
		if next := r.record(k + 1); (next == nil || len(next.Stages) == 0) && (r.lineageLags() || r.cannotPay(k+1)) {
			return nil
		}
		if end, done := r.iteration(k+1, baseline); end != nil || !done {
			return end
		}
	}
}

// concluded lets an end pass once the lineage of all that was decided, and of an iteration that it comes in the middle of, is
// recorded and, for a good one, the best adapter is tested.
func (r *runPlan) concluded(end *ending) *ending {
	recorded := r.status.Prompts != nil && r.lineages() && (end == nil || r.lastLineage(end))
	if end == nil || !recorded || !end.bad && !r.test() {
		return nil
	}
	return end
}

// decided is the newest iteration with a decision; 0 when there is none yet.
func (r *runPlan) decided() int32 {
	newest := int32(0)
	for _, it := range r.status.Iterations {
		if it.Decision != nil {
			newest = max(newest, *it.Iteration)
		}
	}
	return newest
}

// iteration moves iteration k on, up to its decision. baseline says whether the baseline's evaluation is recorded.
func (r *runPlan) iteration(k int32, baseline bool) (end *ending, done bool) {
	ready, end := r.pairs(k)
	if end != nil {
		if !baseline {
			return nil, false // an ending without training still wants the baseline beside it
		}
		r.undecided = k
		return end, true
	}
	if !ready {
		return nil, false
	}
	if ok, end := r.approved(k, v1alpha1.GatePair, r.record(k).Pairs.Artifact); end != nil || !ok {
		if r.answer(k, v1alpha1.GatePair) != nil {
			r.undecided = k // denied: no answer to come changes that
		}
		return end, false
	}
	if !r.train(k) || !r.evaluate(k) || !baseline || !r.compare(k) {
		return nil, false
	}
	return r.decide(k)
}

// prompts resolves the prompt sets, once, and lists the first samples.
func (r *runPlan) prompts() bool {
	if r.status.Prompts != nil {
		return true
	}
	done, child := r.step(jobs.Place{Stage: v1alpha1.StagePrepare}, r.prepareRun)
	if child != nil {
		r.status.Prompts = &v1alpha1.ResolvedPrompts{
			Train:      promptSet(child.Outcome, setTrain),
			Evaluation: promptSet(child.Outcome, setEvaluation),
		}
		if r.run.Spec.Prompts.Test != nil {
			r.status.Prompts.Test = ptr.To(promptSet(child.Outcome, setTest))
		}
		r.skipStored(child, setEvaluation, jobs.Place{Stage: v1alpha1.StageEvaluationSample})
		if r.status.InitialDataset == nil {
			r.skipStored(child, setTrain, jobs.Place{Iteration: 1, Stage: v1alpha1.StageSample})
		}
	}
	return done
}

// train makes the adapter of iteration k.
func (r *runPlan) train(k int32) bool {
	if r.record(k).Adapter != nil {
		return true
	}
	done, child := r.step(jobs.Place{Iteration: k, Stage: v1alpha1.StageTrain}, r.trainAdapter)
	if child != nil {
		it := r.record(k)
		it.Adapter = reference(child.Outcome.Outputs["adapter"])
		it.Training = metrics(child.Outcome.Metrics)
	}
	return done
}

// evaluate measures the adapter of iteration k (0: what the run starts from) on the held-out prompts.
func (r *runPlan) evaluate(k int32) bool {
	if it := r.record(k); it != nil && it.Evaluation != nil {
		return true
	}
	if k > 0 && !r.prepared(jobs.Place{Iteration: k, Stage: v1alpha1.StageEvaluationPrepare}, r.prepareEvaluation, setEvaluation, v1alpha1.StageEvaluationSample) {
		return false
	}
	if done, _ := r.step(jobs.Place{Iteration: k, Stage: v1alpha1.StageEvaluationSample}, r.sampleEvaluation); !done {
		return false
	}
	done, child := r.step(jobs.Place{Iteration: k, Stage: v1alpha1.StageEvaluationScore}, r.scoreEvaluation)
	if child != nil {
		r.evaluated(k, child.Batch.Status.Summary)
	}
	return done
}

// prepared lists the samples of a set, and skips their sampling when the store has all of them.
func (r *runPlan) prepared(at jobs.Place, build func(jobs.Place) Object, set string, sampling v1alpha1.StageName) bool {
	done, child := r.step(at, build)
	if child != nil {
		at.Stage = sampling
		r.skipStored(child, set, at)
	}
	return done
}

// step moves one stage on: see stages.step.
func (r *runPlan) step(at jobs.Place, build func(jobs.Place) Object) (bool, *Child) {
	if r.stages.held != nil && r.record(at.Iteration) == nil {
		return false, nil
	}
	return r.stages.step(&r.iterationRecord(at.Iteration).Stages, at, build)
}

// skipStored records a sampling stage as done when the prepare stage found every sample of its set in the store, and whether
// it found their tracks there too. What it does not tell of may be missing.
func (r *runPlan) skipStored(prepared *Child, set string, sampling jobs.Place) {
	none := func(count string) bool {
		n, told := prepared.Outcome.Counts[set+"/"+count]
		return told && n == 0
	}
	records := &r.iterationRecord(sampling.Iteration).Stages
	switch {
	case !none("missing"):
	case none("untracked"):
		r.stages.skip(records, sampling, v1alpha1.StoredTracks, "all samples and their tracks were in the store")
	default:
		r.stages.skip(records, sampling, v1alpha1.StoredSamples, "all samples were in the store")
	}
}

// iterationRecord is the record of iteration k, made when there is none.
func (r *runPlan) iterationRecord(k int32) *v1alpha1.IterationStatus {
	if it := r.record(k); it != nil {
		return it
	}
	r.status.Iterations = append(r.status.Iterations, v1alpha1.IterationStatus{Iteration: ptr.To(k), StartTime: &r.Now})
	return &r.status.Iterations[len(r.status.Iterations)-1]
}

func (r *runPlan) record(k int32) *v1alpha1.IterationStatus {
	for i := range r.status.Iterations {
		if *r.status.Iterations[i].Iteration == k {
			return &r.status.Iterations[i]
		}
	}
	return nil
}

// stage is the record of a stage; nil where there is none.
func (r *runPlan) stage(k int32, name v1alpha1.StageName, round int32) *v1alpha1.StageStatus {
	if it := r.record(k); it != nil {
		return stageRecord(it.Stages, name, round)
	}
	return nil
}
