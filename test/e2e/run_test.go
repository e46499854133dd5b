//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// TestAlignmentRuns runs the README's manifest and bad input side by side with a run that pauses, so that it can be
// interrupted; and then that one again, interrupted, which must change nothing.
func TestAlignmentRuns(t *testing.T) {
	c := connect(t)
	c.pacedRuntime()
	ns := c.namespace("e2e-undisturbed") // its store is looked at to the end
	var calm *v1alpha1.AlignmentRun
	t.Run("left alone", func(t *testing.T) {
		t.Run("first run", func(t *testing.T) {
			t.Parallel()
			firstRun(t)
		})
		t.Run("paced run", func(t *testing.T) {
			t.Parallel()
			calm = undisturbed(t, ns)
		})
		t.Run("bad input", func(t *testing.T) {
			t.Parallel()
			badInput(t)
		})
		t.Run("pods that cannot start", func(t *testing.T) {
			t.Parallel()
			cannotStart(t)
		})
	})
	if calm != nil {
		t.Run("interrupted", func(t *testing.T) { interrupted(t, calm) })
	}
}

// firstRun applies the README's manifest: the model gets better, the report shows it, and scoring the same videos
// alone gives the same numbers.
func firstRun(t *testing.T) {
	c := connect(t)
	ns := c.namespace("e2e-first")
	c.apply(c.file("../../config/samples/first-run.yaml"), ns)
	run := c.ended(ns, "first-run", 12*time.Minute)

	t.Run("it completes its iterations", func(t *testing.T) {
		if got := condition(run, v1alpha1.ConditionComplete); got.Reason != v1alpha1.ReasonIterationsCompleted || got.ObservedGeneration != run.Generation {
			t.Fatalf("condition Complete = %+v, Failed = %+v", got, condition(run, v1alpha1.ConditionFailed))
		}
	})
	t.Run("held-out accuracy rises", func(t *testing.T) {
		base, best := number(t, accuracy(run, 0)), number(t, run.Status.Best.Accuracy)
		t.Logf("Acc@0.7 per iteration: %v", accuracies(run))
		if base < 0.25 || base > 0.45 || best < 0.75 {
			t.Errorf("accuracy goes from %v to %v; want about 0.35 to at least 0.75", base, best)
		}
	})
	t.Run("the report stands alone", func(t *testing.T) {
		dir := t.TempDir()
		c.plugin("report", "first-run", "-n", ns, "-o", dir)
		page, err := os.ReadFile(filepath.Join(dir, "index.html"))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"first-run", "<svg", "image/gif"} {
			if !strings.Contains(string(page), want) {
				t.Errorf("index.html does not contain %q", want)
			}
		}
		var pods corev1.PodList
		if err := c.List(t.Context(), &pods, client.InNamespace(ns)); err != nil {
			t.Fatal(err)
		}
		for i := range pods.Items {
			if strings.Contains(pods.Items[i].Name, "report") && pods.Items[i].DeletionTimestamp.IsZero() {
				t.Errorf("the report's pod %s is still there", pods.Items[i].Name)
			}
		}
	})
	t.Run("a ScoringBatch and a PreferenceDataset alone", func(t *testing.T) { alone(connect(t), ns, run) })
	t.Run("its lineage, and what the store holds", func(t *testing.T) { kept(connect(t), ns, run) })
}

// alone scores and pairs iteration 1's videos again, outside of the run.
func alone(c cluster, ns string, run *v1alpha1.AlignmentRun) {
	var owned v1alpha1.ScoringBatchList
	if err := c.List(c.Context(), &owned, client.InNamespace(ns), client.MatchingLabels{
		v1alpha1.LabelIteration: "1", v1alpha1.LabelStage: string(v1alpha1.StageScore),
	}); err != nil || len(owned.Items) != 1 {
		c.Fatalf("the run's ScoringBatch of iteration 1: %d, %v", len(owned.Items), err)
	}
	batch := &v1alpha1.ScoringBatch{Spec: owned.Items[0].Spec}
	batch.Namespace, batch.Name = ns, "my-videos"
	dataset := &v1alpha1.PreferenceDataset{Spec: v1alpha1.PreferenceDatasetSpec{
		RuntimeRef: run.Spec.RuntimeRef, Sources: []v1alpha1.PairSource{{ScoringBatch: "my-videos", Iteration: ptr.To(int32(1))}},
	}}
	dataset.Namespace, dataset.Name = ns, "my-pairs"
	for _, o := range []client.Object{dataset, batch} { // the dataset waits for its source
		if err := c.Create(c.Context(), o); err != nil {
			c.Fatal(err)
		}
	}
	c.eventually(2*time.Minute, "dataset my-pairs is complete", func() bool {
		return c.Get(c.Context(), client.ObjectKeyFromObject(dataset), dataset) == nil && dataset.Status.Summary != nil
	})
	if err := c.Get(c.Context(), client.ObjectKeyFromObject(batch), batch); err != nil {
		c.Fatal(err)
	}
	if diff := cmp.Diff(run.Status.Iterations[1].Samples.Scores.Digest, batch.Status.Summary.Scores.Digest); diff != "" {
		c.Errorf("scores alone differ from the run's: %s", diff)
	}
	if diff := cmp.Diff(run.Status.Iterations[1].Pairs.Artifact.Digest, dataset.Status.Summary.Artifact.Digest); diff != "" {
		c.Errorf("pairs alone differ from the run's: %s", diff)
	}
}

// result is what a run came to, without names and times.
func result(run *v1alpha1.AlignmentRun) map[string]any {
	digests := map[string]any{"accuracies": accuracies(run), "phase": run.Status.Phase, "best": run.Status.Best.Iteration}
	for i := range run.Status.Iterations {
		it := &run.Status.Iterations[i]
		digests["evaluation "+strconv.Itoa(i)] = it.Evaluation.Scores.Digest
		if i > 0 {
			digests["decision "+strconv.Itoa(i)] = it.Decision
			digests["samples "+strconv.Itoa(i)] = it.Samples.Scores.Digest
			digests["pairs "+strconv.Itoa(i)] = it.Pairs.Artifact.Digest
			digests["adapter "+strconv.Itoa(i)] = it.Adapter.Digest
		}
	}
	return digests
}

func accuracies(run *v1alpha1.AlignmentRun) []v1alpha1.Fraction {
	var list []v1alpha1.Fraction
	for i := range run.Status.Iterations {
		list = append(list, accuracy(run, i))
	}
	return list
}

func accuracy(run *v1alpha1.AlignmentRun, k int) v1alpha1.Fraction {
	if e := run.Status.Iterations[k].Evaluation; e != nil {
		for _, a := range e.Accuracy {
			if a.Threshold == run.HeadlineThreshold() {
				return a.Value
			}
		}
	}
	return ""
}

func number(t *testing.T, f v1alpha1.Fraction) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(string(f), 64)
	if err != nil {
		t.Fatalf("accuracy %q: %v", f, err)
	}
	return v
}
