package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jobs"
)

// world is a cluster in memory with one run. It loops plan -> apply while a test, or fate, decides what becomes of the
// children. Every plan is held against the laws of world_laws_test.go.
type world struct {
	t        *testing.T
	now      time.Time
	run      *v1alpha1.AlignmentRun
	runtime  *v1alpha1.AlignmentRuntime
	children []*Child
	related  Related
	trace    strings.Builder
	laws
	script
	// forgets says whether a status that may be written later is lost with the operator; nil for never.
	forgets func() bool
	// lingers says whether the pods of a deleted child take their time; nil for those of Endless children alone.
	lingers func() bool
	// pods of each Job that holds a GPU: the first of them, and such that no longer do. 0 is one.
	pods int
	// quota of GPUs in the run's namespace; nil for none.
	quota *gpuQuota
	// kueue holds a reservation for the run as a whole; nil for none.
	kueue *kueue
	// deleted says that the run has been deleted.
	deleted bool
}

func newWorld(t *testing.T, s script) *world {
	t.Helper()
	digest := v1alpha1.Digest(contract.Digest([]byte("weights")))
	stage := v1alpha1.StageTemplate{Image: "runtime:1", Shards: 2, TerminationGracePeriodSeconds: 30}
	return &world{
		t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), laws: newLaws(), script: s,
		runtime: &v1alpha1.AlignmentRuntime{
			ObjectMeta: metav1.ObjectMeta{Name: "synthetic", Generation: 1},
			Spec: v1alpha1.AlignmentRuntimeSpec{
				AllowedNamespaces: []string{"team-a"},
				Model:             v1alpha1.ModelSpec{Name: "m", Digest: digest, NumericsRevision: "1"},
				Detector:          v1alpha1.DetectorSpec{Name: "d", Digest: digest, Revision: "1"},
				Store:             v1alpha1.StoreSpec{PVC: &v1alpha1.PVCStore{ClaimName: "store"}},
				Sample:            stage, Track: stage, Train: stage,
				Defaults: v1alpha1.RuntimeDefaults{
					Sampling:   v1alpha1.SamplingDefaults{SamplesPerPrompt: 5, SamplingParameters: v1alpha1.SamplingParameters{Steps: 12}},
					Training:   v1alpha1.TrainingDefaults{Steps: 120, PairsPerStep: 64, LearningRate: "0.001", LoRA: v1alpha1.LoRASpec{Rank: 8, Alpha: 8}},
					Evaluation: v1alpha1.EvaluationDefaults{SamplesPerPrompt: 20},
				},
			},
		},
		run: &v1alpha1.AlignmentRun{
			ObjectMeta: metav1.ObjectMeta{Name: "first-run", Namespace: "team-a", UID: "5f9a-run", Generation: 1},
			Spec: v1alpha1.AlignmentRunSpec{
				RuntimeRef: v1alpha1.RuntimeReference{Name: "synthetic"},
				Prompts: v1alpha1.PromptsSpec{
					Train:      v1alpha1.PromptSource{Generate: &v1alpha1.GeneratedPrompts{Count: 30, Seed: ptr.To(int64(1))}},
					Evaluation: v1alpha1.PromptSource{Generate: &v1alpha1.GeneratedPrompts{Count: 30, Seed: ptr.To(int64(2))}},
				},
				Scoring: &v1alpha1.ScoringSpec{MinUsableFrames: 20, MaxInvalidFraction: "0.9"},
				Pairing: &v1alpha1.RunPairingSpec{
					PairingRules: v1alpha1.PairingRules{WinnerThreshold: "0.7", LoserThreshold: "0.7"}, MinPairs: 1, History: "Cumulative", OnShortfall: "Fail", MaxResampleRounds: 2,
				},
				Training:   &v1alpha1.TrainingSpec{Beta: "1", Lambda: "0.5", MarginClip: "5", ReferencePolicy: "Base", Start: "Best"},
				Evaluation: &v1alpha1.EvaluationSpec{HeadlineThreshold: "0.7"},
				Acceptance: &v1alpha1.AcceptanceSpec{MinDelta: "0", OnReject: "Rollback"},
				Iterations: 3, Retries: ptr.To(int32(2)), StartupDeadlineSeconds: 1800, Cleanup: "OnSuccess", TTLTarget: "Children",
			},
		},
	}
}

// base is what the operator observes.
func (w *world) base() Base {
	b := Base{
		Now: metav1.NewTime(w.now), Runtime: w.runtime,
		Config: Config{Images: jobs.Images{Stage: "operator:1"}, Version: "v1", ProgressInterval: 10 * time.Second},
	}
	for _, c := range w.children {
		b.Children = append(b.Children, w.seen(c))
	}
	if w.quota != nil {
		w.quota.observe(&b)
	}
	return b
}

// seen is a child with the GPU time of its pods. At the pods of a Job whose result is recorded the operator looks no more.
func (w *world) seen(c *Child) Child {
	seen := *c
	name := c.Object.GetName()
	open := int64(0)
	if w.holdsGPU(c) {
		open = 1
	}
	attempt, recorded := w.succeededAt(c.Place)
	switch {
	case c.Object.GetObjectKind().GroupVersionKind().Kind == "ScoringBatch":
		seen.Batch = &v1alpha1.ScoringBatch{}
		if c.Batch != nil {
			seen.Batch = c.Batch.DeepCopy()
		}
		seen.Batch.Name = name
		if w.used[name] > 0 {
			seen.Batch.Status.GPUSeconds, seen.Batch.Status.WastedGPUSeconds = w.used[name], wasted(c, w.used[name]).waste(nil)
			seen.Batch.Status.Stages = []v1alpha1.StageStatus{{
				Name: v1alpha1.StageTrack, UsageTime: &metav1.Time{Time: w.now},
				Usage: []v1alpha1.GPUUsage{{Name: name + "-track", GPUSeconds: ptr.To(w.used[name]), GPUs: open}},
			}}
		}
	case recorded && attempt == c.Place.Attempt:
		seen.Outcome = jobs.Outcome{State: jobs.Succeeded}
	case w.used[name] > 0:
		bad := wasted(c, w.used[name])
		seen.Outcome.Usage = []jobs.PodUsage{{Pod: name + "-0", GPUs: 1, GPUSeconds: w.used[name], Open: open > 0, Failed: bad.failed, Interrupted: bad.interrupted, Succeeded: w.used[name]*(1-open) - bad.failed - bad.interrupted}}
		for i := 1; i < w.pods; i++ {
			seen.Outcome.Usage = append(seen.Outcome.Usage, jobs.PodUsage{Pod: fmt.Sprintf("%s-%d-abcde", name, i), GPUs: 1})
		}
	}
	return seen
}

// wasted is what of a child's GPU time its pods, which end as it does, say they wasted.
func wasted(c *Child, seconds int64) gpuTime {
	switch {
	case c.Outcome.State != jobs.Failed || c.Outcome.Endless:
		return gpuTime{}
	case c.Outcome.Disrupted:
		return gpuTime{interrupted: seconds}
	default:
		return gpuTime{failed: seconds}
	}
}

// holdsGPU says that a pod of the child holds the one GPU that it has.
func (w *world) holdsGPU(c *Child) bool {
	return gpuStage(c.Place) && !c.takesStored() && !c.Outcome.Queued && (c.Outcome.State == jobs.Active || c.Outcome.Endless)
}

// pass lets time go by.
func (w *world) pass(seconds int64) {
	w.now = w.now.Add(time.Duration(seconds) * time.Second)
	for _, c := range w.children {
		if w.holdsGPU(c) {
			w.used[c.Object.GetName()] += seconds
		}
	}
}

// step plans once, a second later, checks the plan against the laws, and applies it.
func (w *world) step() Next[v1alpha1.AlignmentRunStatus] {
	w.t.Helper()
	w.pass(1)
	if w.quota != nil {
		w.quota.createPods(w.children)
	}
	if w.kueue != nil && w.kueue.prompt {
		w.admitAll()
	}
	return w.plan()
}

func (w *world) plan() Next[v1alpha1.AlignmentRunStatus] {
	w.t.Helper()
	before := w.run.Status
	next := w.decide()
	w.check(before, next)
	w.tell(before, next.Status)
	w.reserve(next)
	for _, o := range withoutWorkload(next.Create) {
		if o.GetObjectKind().GroupVersionKind().Kind == "Service" {
			c := w.children[slices.IndexFunc(w.children, func(c *Child) bool { return c.Object.GetName() == o.GetName() })]
			w.log("create the Service of %s", placed(c.Place))
			c.Unnamed = false
			continue
		}
		p := placeOf(o)
		child := &Child{Object: o, Place: p}
		if child.takesStored() {
			w.log("create %s, of the tracks in the store", placed(p))
		} else {
			w.log("create %s", placed(p))
		}
		w.children = append(w.children, child)
		if w.quota != nil {
			w.quota.created(w, child)
		}
	}
	for _, r := range next.Resize {
		w.log("resize %s to %d", placed(placeOf(r.Job)), r.Parallelism)
		r.Job.Spec.Parallelism = ptr.To(r.Parallelism)
	}
	for _, o := range withoutWorkload(next.Delete) {
		if o == Object(w.run) {
			w.log("delete the run")
			w.deleted, w.children = true, nil
			return next
		}
		if c := w.children[indexOf(w.children, o)]; c.Outcome.Endless || w.lingers != nil && c.Outcome.State == jobs.Active && w.lingers() {
			w.log("delete %s, whose pods take their time", placed(c.Place))
			c.Deleting = true
			continue
		}
		w.remove(o.GetName())
	}
	if next.Deferrable && w.forgets != nil && w.forgets() {
		return next
	}
	w.run.Status = next.Status
	w.note(next.Status)
	w.checkSecondPlan(before)
	return next
}

// decide plans from the world as it is.
func (w *world) decide() Next[v1alpha1.AlignmentRunStatus] {
	if w.kueue != nil {
		w.related.Reservation = w.kueue.seen()
	}
	return Run(w.base(), w.run, w.related)
}

func (w *world) remove(name string) {
	w.t.Helper()
	for i, c := range w.children {
		if c.Object.GetName() == name {
			w.log("delete %s", placed(c.Place))
			w.children = slices.Delete(w.children, i, i+1)
			return
		}
	}
}

// gone lets the deletions that take their time end.
func (w *world) gone() {
	w.children = slices.DeleteFunc(w.children, func(c *Child) bool { return c.Deleting })
}

// active are the children that have not ended.
func (w *world) active() []*Child {
	var list []*Child
	for _, c := range w.children {
		if c.Outcome.State == jobs.Active {
			list = append(list, c)
		}
	}
	return list
}

// child is the newest active one of a stage.
func (w *world) child(stage v1alpha1.StageName) *Child {
	w.t.Helper()
	for _, c := range slices.Backward(w.active()) {
		if c.Place.Stage == stage {
			return c
		}
	}
	w.t.Fatalf("no active child of stage %s:\n%s", stage, w.trace.String())
	return nil
}

// settle lets every stage succeed at once, in the order of creation, until the run ends.
func (w *world) settle() {
	w.t.Helper()
	w.settleWhile(func() bool { return !Ended(w.run.Status.Conditions) })
}

// until settles the run up to an active stage of an iteration.
func (w *world) until(k int32, stage v1alpha1.StageName) {
	w.t.Helper()
	w.settleWhile(func() bool {
		return !slices.ContainsFunc(w.active(), func(c *Child) bool { return c.Place.Iteration == k && c.Place.Stage == stage })
	})
}

// asked settles the run up to a question for an approval, with nothing running.
func (w *world) asked() {
	w.t.Helper()
	w.settleWhile(func() bool { return w.run.Status.PendingApproval == nil || len(w.active()) > 0 })
}

// held settles the run until it is suspended.
func (w *world) held() {
	w.t.Helper()
	w.settleWhile(func() bool { return w.run.Status.Phase != v1alpha1.PhaseSuspended })
}

func (w *world) settleWhile(wanted func() bool) {
	w.t.Helper()
	for range 20 * (w.run.Spec.Iterations + 10) {
		w.step()
		if !wanted() {
			return
		}
		for _, c := range w.active() {
			w.succeed(c)
		}
	}
	w.t.Fatalf("what the test waits for does not come:\n%s", w.trace.String())
}

// steps plans once a second for a while, and nothing else happens.
func (w *world) steps(n int) {
	w.t.Helper()
	for range n {
		w.step()
	}
}

func (w *world) fail(stage v1alpha1.StageName, class string, final bool) {
	w.t.Helper()
	w.child(stage).Outcome = jobs.Outcome{State: jobs.Failed, Class: class, Message: "its last lines", Final: final}
	w.step()
}

func placeOf(o Object) jobs.Place {
	l := o.GetLabels()
	return jobs.Place{
		Iteration: number(l[v1alpha1.LabelIteration]), Round: number(l[v1alpha1.LabelRound]), Attempt: number(l[v1alpha1.LabelAttempt]),
		Stage: v1alpha1.StageName(l[v1alpha1.LabelStage]),
	}
}
