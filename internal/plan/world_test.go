package plan

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jobs"
)

// world is a cluster in memory with one run. It loops plan -> apply while fate decides what becomes of the children.
type world struct {
	t        *testing.T
	now      time.Time
	run      *v1alpha1.AlignmentRun
	runtime  *v1alpha1.AlignmentRuntime
	children []*Child
	ever     map[string]bool
	trace    strings.Builder
	related  Related
	// used is the GPU time that pods really used, in seconds, by child.
	used map[string]int64
	script
}

// script is what the stages come to when they succeed.
type script struct {
	// accuracy of iteration k, from 0, at the headline threshold.
	accuracy []string
	// winners, losers and invalid samples of iteration k, from 1, of 150.
	samples map[int32][3]int64
	// pairs, where not derived from samples.
	pairs map[int32]int64
	// guard is the value of validFraction of iteration k's evaluation; 0.9 where absent.
	guard map[int32]string
	// stored says that iteration 0's prepare finds every sample in the store.
	stored bool
}

func newWorld(t *testing.T, s script) *world {
	t.Helper()
	digest := v1alpha1.Digest(contract.Digest([]byte("weights")))
	stage := v1alpha1.StageTemplate{Image: "runtime:1", Shards: 2, TerminationGracePeriodSeconds: 30}
	return &world{
		t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), ever: map[string]bool{}, used: map[string]int64{}, script: s,
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

func (w *world) log(format string, args ...any) {
	fmt.Fprintf(&w.trace, format+"\n", args...)
}

func (w *world) base() Base {
	b := Base{Now: metav1.NewTime(w.now), Config: Config{Images: jobs.Images{Stage: "operator:1"}, ProgressInterval: 10 * time.Second}, Runtime: w.runtime}
	for _, c := range w.children {
		if w.used[c.Object.GetName()] > 0 {
			c.Outcome.Usage = []jobs.PodUsage{{Pod: c.Object.GetName() + "-0", GPUs: 1, GPUSeconds: w.used[c.Object.GetName()], Open: c.Outcome.State == jobs.Active}}
		}
		b.Children = append(b.Children, *c)
	}
	return b
}

// step plans once, checks the plan against the laws, and applies it.
func (w *world) step() {
	w.t.Helper()
	w.now = w.now.Add(time.Second)
	for _, c := range w.active() {
		if gpuStage(c.Place) && c.Batch == nil && !c.Outcome.Queued {
			w.used[c.Object.GetName()]++
		}
	}
	before := w.run.Status
	next := Run(w.base(), w.run, w.related)
	w.check(before, next)
	w.tell(before, next.Status)
	for _, o := range next.Create {
		p := placeOf(o)
		w.log("create %s", placed(p))
		w.children = append(w.children, &Child{Object: o, Place: p})
		w.ever[o.GetName()] = true
	}
	for _, o := range next.Delete {
		if o == Object(w.run) {
			w.log("delete the run")
			continue
		}
		if i := indexOf(w.children, o); w.children[i].Outcome.Endless {
			w.log("delete %s", placed(placeOf(o)))
			w.children[i].Deleting = true // its pods take their time
			continue
		}
		w.remove(o.GetName())
	}
	w.run.Status = next.Status
	again := Run(w.base(), w.run, w.related)
	// But for the GPU time of what the plan deleted.
	if was, is := unpriced(w.run.Status), unpriced(again.Status); len(again.Create)+len(again.Delete) > 0 || !equality.Semantic.DeepEqual(was, is) {
		w.t.Fatalf("a second plan from the same world changes something: %d creates, %d deletes, %s", len(again.Create), len(again.Delete), cmp.Diff(was, is))
	}
}

// unpriced is a status without GPU time.
func unpriced(s v1alpha1.AlignmentRunStatus) v1alpha1.AlignmentRunStatus {
	s = *s.DeepCopy()
	s.GPUSeconds, s.ForecastGPUSeconds = 0, 0
	for i := range s.Iterations {
		s.Iterations[i].GPUSeconds = 0
		for j := range s.Iterations[i].Stages {
			s.Iterations[i].Stages[j] = withoutUsage(s.Iterations[i].Stages[j])
		}
	}
	return s
}

// check holds a plan against what must be true of every plan.
func (w *world) check(before v1alpha1.AlignmentRunStatus, next Next[v1alpha1.AlignmentRunStatus]) {
	w.t.Helper()
	for _, o := range next.Create {
		p := placeOf(o)
		if w.ever[o.GetName()] {
			w.t.Fatalf("the name %s is used twice", o.GetName())
		}
		for _, it := range before.Iterations {
			if rec := stageRecord(it.Stages, p.Stage, p.Round); *it.Iteration == p.Iteration && succeeded(rec) {
				w.t.Fatalf("stage %d %s is repeated after it was recorded", p.Iteration, p.Stage)
			}
		}
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
	if next.Status.GPUSeconds < before.GPUSeconds || next.Status.GPUSeconds < used {
		w.t.Fatalf("%d GPU-seconds are recorded after %d, and %d were used", next.Status.GPUSeconds, before.GPUSeconds, used)
	}
	stopped := Ended(next.Status.Conditions) || meta.IsStatusConditionTrue(next.Status.Conditions, v1alpha1.ConditionSuspended)
	for _, o := range next.Delete {
		if !stopped && !w.children[indexOf(w.children, o)].Outcome.Endless {
			w.t.Fatalf("%s is deleted although the run goes on", o.GetName())
		}
	}
}

// tell writes what became of the record into the trace.
func (w *world) tell(before, after v1alpha1.AlignmentRunStatus) {
	known := map[int32]*v1alpha1.IterationStatus{}
	for i := range before.Iterations {
		known[*before.Iterations[i].Iteration] = &before.Iterations[i]
	}
	for _, it := range after.Iterations {
		earlier := known[*it.Iteration]
		if earlier == nil {
			earlier = &v1alpha1.IterationStatus{}
		}
		for _, rec := range it.Stages {
			was := stageRecord(earlier.Stages, rec.Name, *rec.Round)
			switch {
			case rec.State == v1alpha1.StageSucceeded && !succeeded(was) && rec.Child == "":
				w.log("skip   %d %s: %s", *it.Iteration, rec.Name, rec.Message)
			case rec.State == v1alpha1.StageSucceeded && !succeeded(was):
				w.log("record %s", strings.TrimSuffix(placed(jobs.Place{Iteration: *it.Iteration, Round: *rec.Round, Stage: rec.Name}), "/0"))
			case rec.Failures > 0 && (was == nil || was.Failures != rec.Failures):
				w.log("failed %d %s, %d time(s): %s", *it.Iteration, rec.Name, rec.Failures, rec.Message)
			}
		}
		if it.Decision != nil && earlier.Decision == nil {
			w.log("decide %d accepted=%t: %s", *it.Iteration, *it.Decision.Accepted, it.Decision.Message)
		}
	}
	for _, kind := range []string{v1alpha1.ConditionComplete, v1alpha1.ConditionFailed, v1alpha1.ConditionSuspended,
		v1alpha1.ConditionQuotaReserved, v1alpha1.ConditionAwaitingApproval, v1alpha1.ConditionReconciling} {
		is, was := meta.FindStatusCondition(after.Conditions, kind), meta.FindStatusCondition(before.Conditions, kind)
		if is != nil && (was == nil || was.Status != is.Status || was.Reason != is.Reason) {
			w.log("status %s=%s %s: %s", kind, is.Status, is.Reason, is.Message)
		}
	}
}

func (w *world) remove(name string) {
	for i, c := range w.children {
		if c.Object.GetName() == name {
			w.log("delete %s", placed(c.Place))
			w.children = append(w.children[:i:i], w.children[i+1:]...)
			return
		}
	}
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

// settle lets every stage succeed at once, in the order of creation, until the run ends.
func (w *world) settle() {
	w.t.Helper()
	for range 200 {
		w.step()
		if Ended(w.run.Status.Conditions) {
			return
		}
		for _, c := range w.active() {
			w.succeed(c)
		}
	}
	w.t.Fatal("the run does not end")
}

// chaos completes, fails, interrupts and delays children at random until the run ends.
func (w *world) chaos(random *rand.Rand) {
	w.t.Helper()
	for range 5000 {
		w.step()
		if Ended(w.run.Status.Conditions) {
			return
		}
		if random.IntN(4) == 0 {
			w.run.Spec.Suspend = ptr.To(false)
		}
		active := w.active()
		if len(active) == 0 {
			continue
		}
		c := active[random.IntN(len(active))]
		switch n := random.IntN(10); {
		case n < 4:
			w.succeed(c)
		case n == 4 && w.failures(c) < 2:
			c.Outcome = jobs.Outcome{State: jobs.Failed, Class: "Bug", Message: "it broke"}
		case n == 5:
			w.remove(c.Object.GetName())
		case n == 6:
			w.run.Spec.Suspend = ptr.To(true)
		}
	}
	w.t.Fatalf("the run does not end:\n%s", w.trace.String())
}

func (w *world) failures(c *Child) int32 {
	for _, it := range w.run.Status.Iterations {
		if rec := stageRecord(it.Stages, c.Place.Stage, c.Place.Round); rec != nil && *it.Iteration == c.Place.Iteration {
			return rec.Failures
		}
	}
	return 0
}

// succeed ends a child well, with what the script says.
func (w *world) succeed(c *Child) {
	k := c.Place.Iteration
	file := func(name string) contract.Artifact {
		key := fmt.Sprintf("it%d/%s", k, name)
		if c.Place.Round > 0 {
			key = fmt.Sprintf("it%dr%d/%s", k, c.Place.Round, name)
		}
		return contract.Artifact{Key: key, Digest: contract.Digest([]byte(key))}
	}
	o := jobs.Outcome{State: jobs.Succeeded, Outputs: map[string]contract.Artifact{}, Counts: map[string]int64{}, Metrics: map[string]string{}}
	missing := int64(150)
	if w.stored && k == 0 {
		missing = 0
	}
	switch c.Place.Stage {
	case v1alpha1.StagePrepare, v1alpha1.StageEvaluationPrepare, v1alpha1.StageTestPrepare:
		for _, set := range []string{setTrain, setEvaluation, setTest} {
			o.Outputs["prompts/"+set], o.Outputs["index/"+set] = file("prompts-"+set), file("index-"+set)
			o.Counts[set+"/prompts"], o.Counts[set+"/missing"] = 30, missing
		}
	case v1alpha1.StageScore:
		c.Batch = &v1alpha1.ScoringBatch{Status: v1alpha1.ScoringBatchStatus{Summary: w.summary("0.5", file("scores"))}}
	case v1alpha1.StageEvaluationScore:
		summary := w.summary(w.accuracy[k], file("evaluation-scores"))
		summary.Guards = []v1alpha1.NamedMetric{{Name: "validFraction", Value: or(w.guard[k], "0.9")}}
		c.Batch = &v1alpha1.ScoringBatch{Status: v1alpha1.ScoringBatchStatus{Summary: summary}}
	case v1alpha1.StageTestScore:
		c.Batch = &v1alpha1.ScoringBatch{Status: v1alpha1.ScoringBatchStatus{Summary: w.summary("0.777", file("test-scores"))}}
	case v1alpha1.StageCompare:
		delta := decimal(v1alpha1.Fraction(w.accuracy[k])) - decimal(w.run.Status.Best.Accuracy)
		for name, v := range map[string]float64{"delta": delta, "lowerBound": delta - 0.1, "upperBound": delta + 0.1} {
			o.Metrics[name] = strings.Replace(strconv.FormatFloat(min(max(v, -1), 1), 'f', 6, 64), "-0.000000", "0.000000", 1)
		}
		o.Outputs["verdict"] = file("verdict")
	case v1alpha1.StageLineage:
		o.Outputs["lineage"], o.Outputs["modelCard"] = file("lineage"), file("model-card")
	case v1alpha1.StagePair:
		n, ok := w.samples[k]
		if !ok {
			n = [3]int64{60, 80, 10}
		}
		for i := range n {
			n[i] *= int64(c.Place.Round) + 1
		}
		pairs, ok := w.pairs[k]
		if pairs *= int64(c.Place.Round) + 1; !ok {
			pairs = n[0] * n[1]
		}
		pairsFile := file("pairs")
		c.Dataset = &v1alpha1.PreferenceDataset{Status: v1alpha1.PreferenceDatasetStatus{Summary: &v1alpha1.PairSummary{
			Pairs: &pairs, UsablePrompts: ptr.To(int64(20)), Winners: &n[0], Losers: &n[1], Invalid: &n[2], Artifact: reference(pairsFile),
		}}}
	case v1alpha1.StageTrain:
		o.Outputs["adapter"], o.Metrics["loss"] = file("adapter"), "0.61"
	}
	c.Outcome = o
}

func (w *world) summary(accuracy string, scores contract.Artifact) *v1alpha1.ScoreSummary {
	return &v1alpha1.ScoreSummary{
		Total: ptr.To(int64(150)), Scored: ptr.To(int64(140)), Invalid: ptr.To(int64(10)), Missing: ptr.To(int64(0)),
		Accuracy: []v1alpha1.AccuracyAt{{Threshold: "0.7", Value: v1alpha1.Fraction(accuracy)}}, Scores: reference(scores),
	}
}

// placed is a place as traces write it: iteration, round if any, stage and attempt.
func placed(p jobs.Place) string {
	if p.Round > 0 {
		return fmt.Sprintf("%dr%d %s/%d", p.Iteration, p.Round, p.Stage, p.Attempt)
	}
	return fmt.Sprintf("%d %s/%d", p.Iteration, p.Stage, p.Attempt)
}

func placeOf(o Object) jobs.Place {
	l := o.GetLabels()
	var p jobs.Place
	_, _ = fmt.Sscan(l[v1alpha1.LabelIteration], &p.Iteration)
	_, _ = fmt.Sscan(l[v1alpha1.LabelAttempt], &p.Attempt)
	_, _ = fmt.Sscan(l[v1alpha1.LabelRound], &p.Round)
	p.Stage = v1alpha1.StageName(l[v1alpha1.LabelStage])
	return p
}
