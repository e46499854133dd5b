package controllers_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// often makes the operator look again at once, so that a test need not wait for it.
const often = 100 * time.Millisecond

// onceEach are the Jobs of an undisturbed run: every stage of every iteration has exactly one attempt.
func onceEach(iterations int) []string {
	want := []string{"AlignmentRun 0 Prepare/0"}
	nested := func(stages ...string) {
		for _, s := range stages {
			want = append(want, "ScoringBatch 0 "+s+"/0")
		}
	}
	for k := range iterations + 1 {
		stages := []string{"EvaluationSample"}
		if k > 0 {
			stages = append(stages, "Sample", "Train", "EvaluationPrepare", "Compare", "Lineage")
			nested("Track", "Score")
			want = append(want, "PreferenceDataset 0 Pair/0")
		}
		if k > 1 {
			stages = append(stages, "Prepare")
		}
		for _, s := range stages {
			want = append(want, fmt.Sprintf("AlignmentRun %d %s/0", k, s))
		}
		nested("Track", "Score")
	}
	slices.Sort(want)
	return want
}

// A whole run: every stage once, everything known in status, people told, and few requests.
func TestRun(t *testing.T) {
	t.Parallel()
	for name, interval := range map[string]time.Duration{
		"looked at often":                  often,
		"looked at when something happens": time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			c.operate(interval)
			run := c.run(2)
			c.create(c.runtime(), run)
			c.endsAs(run, v1alpha1.ConditionComplete, v1alpha1.ReasonIterationsCompleted)

			if diff := cmp.Diff(onceEach(2), c.attempts()); diff != "" {
				t.Errorf("Jobs: %s", diff)
			}
			checkRun(t, run)
			c.checkEvents(run, map[string]int{"IterationCompleted": 2, "IterationsCompleted": 1})
			c.checkEnded(run)

			if interval != often {
				c.checkRequests()
			}
		})
	}
}

// checkRequests: at most 2.5 requests per stage Job.
func (c *cluster) checkRequests() {
	c.t.Helper()
	requests, stages := c.requests.total(), len(c.jobs())
	perJob := float64(requests) / float64(stages)
	c.t.Logf("%.2f requests per stage Job: %d for %d Jobs: %s", perJob, requests, stages, c.requests)
	if perJob > 2.5 {
		c.t.Error("these are more than 2.5 requests per stage Job")
	}
}

// checkRun holds the status of a finished run of two iterations against what its Jobs came to.
func checkRun(t *testing.T, run *v1alpha1.AlignmentRun) {
	t.Helper()
	s := run.Status
	if s.Phase != v1alpha1.PhaseSucceeded || s.ObservedGeneration != run.Generation || s.StartTime == nil || s.CompletionTime == nil || s.Progress != nil {
		t.Errorf("phase %s, generation %d of %d, from %v to %v, progress %v", s.Phase, s.ObservedGeneration, run.Generation, s.StartTime, s.CompletionTime, s.Progress)
	}
	for _, condition := range s.Conditions {
		if condition.ObservedGeneration != run.Generation {
			t.Errorf("condition %s is of generation %d, not %d", condition.Type, condition.ObservedGeneration, run.Generation)
		}
	}
	if !meta.IsStatusConditionFalse(s.Conditions, v1alpha1.ConditionReconciling) || meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionFailed) != nil {
		t.Errorf("conditions: %+v", s.Conditions)
	}
	if s.Runtime == nil || s.Runtime.Spec.AllowedNamespaces != nil || s.Prompts == nil || s.Prompts.Train.Count != 30 {
		t.Errorf("runtime %+v, prompts %+v", s.Runtime, s.Prompts)
	}
	var accuracies []string
	for _, it := range s.Iterations {
		accuracies = append(accuracies, string(it.Evaluation.Accuracy[0].Value))
		for _, stage := range it.Stages {
			if stage.State != v1alpha1.StageSucceeded || *stage.Attempt != 0 || stage.Failures != 0 || stage.Outputs != nil {
				t.Errorf("iteration %d: %+v", *it.Iteration, stage)
			}
		}
	}
	if !cmp.Equal(accuracies, []string{"0.35", "0.55", "0.75"}) {
		t.Errorf("accuracies %v", accuracies)
	}
	for k, it := range s.Iterations[1:] {
		if it.Adapter == nil || it.Pairs == nil || *it.Pairs.Pairs != 900 || it.Samples == nil || !*it.Decision.Accepted || it.Training[0].Value != "0.61" {
			t.Errorf("iteration %d: %+v", k+1, it)
		}
	}
	if b := s.Best; *b.Iteration != 2 || b.Accuracy != "0.75" || b.Adapter.Key != s.Iterations[2].Adapter.Key {
		t.Errorf("best: %+v", b)
	}
}

// checkEvents waits for the events about an object, by reason.
func (c *cluster) checkEvents(o client.Object, want map[string]int) {
	c.t.Helper()
	got := map[string]int{}
	c.until(fmt.Sprintf("events %v are there", want), func() bool {
		clear(got)
		var list eventsv1.EventList
		c.must(c.List(c.t.Context(), &list, client.InNamespace(c.namespace)))
		for _, e := range list.Items {
			if e.Regarding.UID == o.GetUID() {
				got[e.Reason] += int(max(1, ptr.Deref(e.Series, eventsv1.EventSeries{}).Count))
			}
		}
		return len(got) >= len(want)
	})
	if diff := cmp.Diff(want, got); diff != "" {
		c.t.Errorf("events: %s", diff)
	}
}

// checkEnded: a run that has ended takes no other spec, and stays as it is.
func (c *cluster) checkEnded(run *v1alpha1.AlignmentRun) {
	c.t.Helper()
	more := run.DeepCopy()
	more.Spec.Iterations++
	if err := c.Update(c.t.Context(), more); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "the run has ended") {
		c.t.Errorf("the spec of an ended run is changed: %v", err)
	}
	again := run.DeepCopy()
	again.Spec.Suspend = ptr.To(true)
	if err := c.Update(c.t.Context(), again); !apierrors.IsInvalid(err) {
		c.t.Errorf("an ended run is suspended: %v", err)
	}
}

// An operator that is replaced at any time repeats nothing and loses nothing.
func TestRestarts(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	run := c.run(1)
	c.create(c.runtime(), run)
	for restart := 0; ; restart++ {
		c.operate(10 * time.Second)
		enough := 2 * (restart + 1)
		c.until("some more Jobs have run", func() bool {
			c.read(run)
			return ended(run) || len(c.jobs()) >= enough
		})
		c.stop()
		if ended(run) {
			break
		}
		// The Jobs go on while there is no operator.
		c.runJobs()
	}
	if diff := cmp.Diff(onceEach(1), c.attempts()); diff != "" {
		t.Errorf("Jobs: %s", diff)
	}
	if b := run.Status.Best; *b.Iteration != 1 || b.Accuracy != "0.55" {
		t.Errorf("best: %+v", b)
	}
}

// Suspending deletes what is active and nothing else; resuming goes on with the next attempt.
func TestSuspendAndResume(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.hold[v1alpha1.StageSample], c.hold[v1alpha1.StageTrack] = true, true
	c.operate(often)
	run := c.run(1)
	c.create(c.runtime(), run)
	c.job(v1alpha1.StageSample, 0)
	c.job(v1alpha1.StageTrack, 0) // of the baseline: a Job of a batch of the run

	c.suspend(run, true)
	c.until("nothing is active", func() bool {
		c.read(run)
		active := slices.ContainsFunc(c.jobs(), func(j batchv1.Job) bool { return j.Status.CompletionTime == nil })
		return run.Status.Phase == v1alpha1.PhaseSuspended && !active
	})
	if !meta.IsStatusConditionTrue(run.Status.Conditions, v1alpha1.ConditionSuspended) || run.Status.Progress != nil {
		t.Errorf("conditions %+v, progress %+v", run.Status.Conditions, run.Status.Progress)
	}
	if n := len(c.jobs()); n != 2 { // Prepare and the baseline's samples
		t.Errorf("%d finished Jobs are left, want 2", n)
	}

	clear(c.hold)
	c.suspend(run, false)
	c.endsAs(run, v1alpha1.ConditionComplete, v1alpha1.ReasonIterationsCompleted)
	want := onceEach(1)
	want[slices.Index(want, "AlignmentRun 1 Sample/0")] = "AlignmentRun 1 Sample/1"
	slices.Sort(want)
	if diff := cmp.Diff(want, c.attempts()); diff != "" {
		t.Errorf("Jobs: %s", diff)
	}
	for _, it := range run.Status.Iterations {
		for _, stage := range it.Stages {
			if stage.Failures != 0 {
				t.Errorf("an interruption counts as a failure: %+v", stage)
			}
		}
	}
}

func (c *cluster) suspend(run *v1alpha1.AlignmentRun, suspend bool) {
	c.t.Helper()
	before := run.DeepCopy()
	run.Spec.Suspend = &suspend
	c.must(c.Patch(c.t.Context(), run, client.MergeFrom(before)))
}

// A Job that somebody deletes is replaced by the next attempt, which is no failure.
func TestDeletedJob(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.hold[v1alpha1.StageTrain] = true
	c.operate(often)
	run := c.run(1)
	c.create(c.runtime(), run)
	job := c.job(v1alpha1.StageTrain, 0)
	c.must(c.Delete(t.Context(), job, client.PropagationPolicy(metav1.DeletePropagationBackground)))
	c.job(v1alpha1.StageTrain, 1)
	clear(c.hold)
	c.endsAs(run, v1alpha1.ConditionComplete, v1alpha1.ReasonIterationsCompleted)
	for _, stage := range run.Status.Iterations[1].Stages {
		if stage.Name == v1alpha1.StageTrain && (*stage.Attempt != 1 || stage.Failures != 0) {
			t.Errorf("train: %+v", stage)
		}
	}
}

// A run of the name of one that was deleted adopts nothing of it, though its Jobs are still there.
func TestNameReuse(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.hold[v1alpha1.StageTrain] = true
	c.operate(often)
	old := c.run(1)
	c.create(c.runtime(), old)
	c.job(v1alpha1.StageTrain, 0)
	c.negligent = true
	c.must(c.Delete(t.Context(), old, client.PropagationPolicy(metav1.DeletePropagationBackground)))
	c.until("the old run is gone", func() bool {
		return apierrors.IsNotFound(c.Get(t.Context(), client.ObjectKeyFromObject(old), old.DeepCopy()))
	})
	left := len(c.jobs())

	clear(c.hold)
	run := c.run(1)
	c.create(run)
	c.endsAs(run, v1alpha1.ConditionComplete, v1alpha1.ReasonIterationsCompleted)
	if got, want := len(c.jobs())-left, len(onceEach(1)); got != want {
		t.Errorf("the new run has made %d Jobs, not %d", got, want)
	}
	for _, it := range run.Status.Iterations {
		if it.Adapter != nil && !strings.Contains(string(it.Adapter.Key), string(run.UID)) {
			t.Errorf("the adapter %s is not the new run's", it.Adapter.Key)
		}
	}
}

// Deleting a run takes all that it owns with it.
func TestDeletedRun(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.hold[v1alpha1.StageTrack] = true
	c.operate(often)
	run := c.run(1)
	c.create(c.runtime(), run)
	c.job(v1alpha1.StageTrack, 0)
	c.must(c.Delete(t.Context(), run, client.PropagationPolicy(metav1.DeletePropagationBackground)))
	c.until("all is gone", func() bool {
		var pods corev1.PodList
		var batches v1alpha1.ScoringBatchList
		c.must(c.List(t.Context(), &pods, client.InNamespace(c.namespace)))
		c.must(c.List(t.Context(), &batches, client.InNamespace(c.namespace)))
		return len(c.jobs())+len(pods.Items)+len(batches.Items) == 0
	})
}
