package plan

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jobs"
)

// Run plans an AlignmentRun:
//
//	iteration 0:        Prepare -> evaluate(base)
//	iteration k >= 1:   Prepare -> Sample -> Score -> Pair -> Train -> evaluate(adapter k) -> decision
//	evaluate:           EvaluationPrepare -> EvaluationSample -> EvaluationScore
//
// Iteration 0's Prepare resolves the prompts and lists the samples of both the baseline and iteration 1, which
// therefore run side by side and have no prepare stage of their own.
func Run(b Base, run *v1alpha1.AlignmentRun) Next[v1alpha1.AlignmentRunStatus] {
	r := &runPlan{Base: b, run: run, status: *run.Status.DeepCopy()}
	r.cond = conditions{&r.status.Conditions, run.Generation, b.Now}
	if Ended(r.status.Conditions) {
		// Sticky. What was still active when the run ended may have been created by a plan that saw less.
		return Next[v1alpha1.AlignmentRunStatus]{Status: r.status, Delete: unfinished(b.Children)}
	}
	r.status.ObservedGeneration = run.Generation
	if r.status.Runtime == nil {
		snapshot, waiting := accept(b, run.Spec.RuntimeRef.Name, run.Namespace)
		if waiting != nil {
			r.status.Phase = v1alpha1.PhasePending
			r.cond.wait(waiting)
			next := Next[v1alpha1.AlignmentRunStatus]{Status: r.status}
			if b.Missing != "" {
				next.RequeueAfter = b.Config.ProgressInterval // nothing is watched there
			}
			return next
		}
		r.status.Runtime, r.status.StartTime = snapshot, &b.Now
	}
	if ptr.Deref(run.Spec.Suspend, false) {
		return r.suspend()
	}
	return r.loop()
}

// runPlan is one pass over one run.
type runPlan struct {
	Base
	run    *v1alpha1.AlignmentRun
	status v1alpha1.AlignmentRunStatus
	cond   conditions
	stages stages
	// resolved is the run's spec with the runtime's defaults filled in.
	resolved resolved
}

func (r *runPlan) suspend() Next[v1alpha1.AlignmentRunStatus] {
	r.status.Phase, r.status.Progress = v1alpha1.PhaseSuspended, nil
	r.cond.set(v1alpha1.ConditionSuspended, metav1.ConditionTrue, v1alpha1.ReasonSuspendRequested,
		"spec.suspend is true; active stages are deleted, what they finished stays in the store")
	r.cond.set(v1alpha1.ConditionReconciling, metav1.ConditionFalse, v1alpha1.ReasonSuspendRequested, "suspended")
	next := Next[v1alpha1.AlignmentRunStatus]{Status: r.status, Delete: unfinished(r.Children)}
	if !meta.IsStatusConditionTrue(r.run.Status.Conditions, v1alpha1.ConditionSuspended) {
		next.RequeueAfter = r.Config.ProgressInterval // once more, for a child that the cache does not show yet
	}
	return next
}

func (r *runPlan) loop() Next[v1alpha1.AlignmentRunStatus] {
	r.stages = stages{now: r.Now, retries: ptr.Deref(r.run.Spec.Retries, 0), children: r.Children}
	r.resolved = resolve(r.run.Spec, r.status.Runtime.Spec.Defaults)
	if meta.FindStatusCondition(r.status.Conditions, v1alpha1.ConditionSuspended) != nil {
		r.cond.set(v1alpha1.ConditionSuspended, metav1.ConditionFalse, v1alpha1.ReasonResumed, "spec.suspend is false")
	}
	r.cond.run()
	r.status.Phase = v1alpha1.PhaseRunning

	end := r.iterate()
	if r.stages.failed != nil {
		return r.fail(r.stages.failed)
	}
	if end != nil {
		return r.end(end)
	}
	r.status.Progress = progress(r.Now, r.stages.active, r.status.Progress)
	return Next[v1alpha1.AlignmentRunStatus]{
		Status: r.status, Create: r.stages.create, Delete: endless(r.Children), RequeueAfter: r.Config.ProgressInterval, Deferrable: r.deferrable(),
	}
}

// deferrable says that nothing is new but prepare stages that succeeded and first attempts that started: the live
// children tell the same, and a prepare stage that had to run again would cost seconds.
func (r *runPlan) deferrable() bool {
	if !equality.Semantic.DeepEqual(r.run.Status.Conditions, r.status.Conditions) {
		return false
	}
	recorded := map[int32][]v1alpha1.StageStatus{}
	for _, it := range r.run.Status.Iterations {
		recorded[*it.Iteration] = it.Stages
	}
	for _, it := range r.status.Iterations {
		for i := range it.Stages {
			rec := &it.Stages[i]
			if !equality.Semantic.DeepEqual(stageRecord(recorded[*it.Iteration], rec.Name), rec) && !cheap(rec) {
				return false
			}
		}
	}
	return true
}

// cheap says that losing the record costs nothing, or a prepare stage.
func cheap(rec *v1alpha1.StageStatus) bool {
	prepare := rec.Name == v1alpha1.StagePrepare || rec.Name == v1alpha1.StageEvaluationPrepare
	skipped := rec.State == v1alpha1.StageSucceeded && rec.Child == ""
	return *rec.Attempt == 0 && rec.Failures == 0 && (rec.State == v1alpha1.StageRunning || skipped || prepare && rec.State == v1alpha1.StageSucceeded)
}

// iterate moves the baseline and the current iteration on, and returns the run's end once it is reached.
func (r *runPlan) iterate() *ending {
	if !r.prompts() {
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
		if end, done := r.iteration(k+1, baseline); end != nil || !done {
			return end
		}
	}
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
	if !r.pairs(k) {
		return nil, false
	}
	if end := r.pairing(k); end != nil {
		if !baseline {
			return nil, false // an ending without training still wants the baseline beside it
		}
		return end, true
	}
	if !r.train(k) || !r.evaluate(k) || !baseline {
		return nil, false
	}
	r.decide(k)
	return nil, true
}

// prompts resolves the prompt sets, once, and lists the first samples.
func (r *runPlan) prompts() bool {
	done, child := r.step(0, v1alpha1.StagePrepare, r.prepareRun)
	if child != nil {
		r.status.Prompts = &v1alpha1.ResolvedPrompts{
			Train:      promptSet(child.Outcome, setTrain),
			Evaluation: promptSet(child.Outcome, setEvaluation),
		}
		r.skipStored(child, setEvaluation, 0, v1alpha1.StageEvaluationSample)
		r.skipStored(child, setTrain, 1, v1alpha1.StageSample)
	}
	return done
}

// pairs samples, scores and pairs the training prompts of iteration k.
func (r *runPlan) pairs(k int32) bool {
	if k > 1 {
		done, child := r.step(k, v1alpha1.StagePrepare, r.prepareTraining)
		if child != nil {
			r.skipStored(child, setTrain, k, v1alpha1.StageSample)
		}
		if !done {
			return false
		}
	}
	if done, _ := r.step(k, v1alpha1.StageSample, r.sampleTraining); !done {
		return false
	}
	done, child := r.step(k, v1alpha1.StageScore, r.scoreTraining)
	if child != nil {
		r.record(k).Samples = child.Batch.Status.Summary
	}
	if !done {
		return false
	}
	done, child = r.step(k, v1alpha1.StagePair, r.pair)
	if child != nil {
		r.record(k).Pairs = child.Dataset.Status.Summary
	}
	return done
}

// train makes the adapter of iteration k.
func (r *runPlan) train(k int32) bool {
	done, child := r.step(k, v1alpha1.StageTrain, r.trainAdapter)
	if child != nil {
		it := r.record(k)
		it.Adapter = reference(child.Outcome.Outputs["adapter"])
		it.Training = metrics(child.Outcome.Metrics)
	}
	return done
}

// evaluate measures the adapter of iteration k (0: the base model) on the held-out prompts.
func (r *runPlan) evaluate(k int32) bool {
	if k > 0 {
		done, child := r.step(k, v1alpha1.StageEvaluationPrepare, r.prepareEvaluation)
		if child != nil {
			r.skipStored(child, setEvaluation, k, v1alpha1.StageEvaluationSample)
		}
		if !done {
			return false
		}
	}
	if done, _ := r.step(k, v1alpha1.StageEvaluationSample, r.sampleEvaluation); !done {
		return false
	}
	done, child := r.step(k, v1alpha1.StageEvaluationScore, r.scoreEvaluation)
	if child != nil {
		r.evaluated(k, child.Batch.Status.Summary)
	}
	return done
}

// step moves one stage of iteration k on: see stages.step.
func (r *runPlan) step(k int32, name v1alpha1.StageName, build func(jobs.Place) Object) (bool, *Child) {
	return r.stages.step(&r.iterationRecord(k).Stages, k, name, build)
}

// skipStored records a sampling stage as done when the prepare stage found every sample of its set in the store.
func (r *runPlan) skipStored(prepared *Child, set string, k int32, name v1alpha1.StageName) {
	if prepared.Outcome.Counts[set+"/missing"] == 0 {
		r.stages.skip(&r.iterationRecord(k).Stages, name, "all samples were in the store")
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

func promptSet(o jobs.Outcome, name string) v1alpha1.ResolvedPromptSet {
	a := o.Outputs["prompts/"+name]
	return v1alpha1.ResolvedPromptSet{Key: v1alpha1.ArtifactKey(a.Key), Digest: v1alpha1.Digest(a.Digest), Count: o.Counts[name+"/prompts"]}
}

func promptArtifact(s v1alpha1.ResolvedPromptSet) contract.Artifact {
	return contract.Artifact{Key: string(s.Key), Digest: string(s.Digest)}
}
