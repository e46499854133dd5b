package plan

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jobs"
)

// datasetYard has a PreferenceDataset and the ScoringBatches beside it.
type datasetYard struct {
	*yard[v1alpha1.PreferenceDatasetStatus]
	dataset *v1alpha1.PreferenceDataset
	parent  *Parent
	sources map[string]*v1alpha1.ScoringBatch
}

func newDatasetYard(t *testing.T) *datasetYard {
	y := &datasetYard{yard: newYard[v1alpha1.PreferenceDatasetStatus](t)}
	y.sources = map[string]*v1alpha1.ScoringBatch{"one": completeBatch("one"), "two": completeBatch("two")}
	y.dataset = &v1alpha1.PreferenceDataset{
		ObjectMeta: metav1.ObjectMeta{Name: "my-pairs", Namespace: "team-a", UID: "88-dataset", Generation: 3},
		Spec: v1alpha1.PreferenceDatasetSpec{
			RuntimeRef: v1alpha1.RuntimeReference{Name: "synthetic"},
			Sources:    []v1alpha1.PairSource{{ScoringBatch: "one", Iteration: ptr.To(int32(1))}, {ScoringBatch: "two", Iteration: ptr.To(int32(2))}},
			Pairing:    &v1alpha1.PairingSpec{PairingRules: v1alpha1.PairingRules{WinnerThreshold: "0.8", LoserThreshold: "0.6"}}, Retries: ptr.To(int32(1)),
		},
	}
	y.status = &y.dataset.Status
	y.plan = func(b Base) Next[v1alpha1.PreferenceDatasetStatus] {
		return PreferenceDataset(b, y.dataset, y.parent, y.sources)
	}
	y.records = func(s *v1alpha1.PreferenceDatasetStatus) []v1alpha1.StageStatus { return s.Stages }
	y.conditions = func(s *v1alpha1.PreferenceDatasetStatus) []metav1.Condition { return s.Conditions }
	return y
}

func completeBatch(name string) *v1alpha1.ScoringBatch {
	return &v1alpha1.ScoringBatch{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status: v1alpha1.ScoringBatchStatus{
			Summary:    &v1alpha1.ScoreSummary{Scores: reference(file(name + "/scores.jsonl"))},
			Conditions: []metav1.Condition{{Type: v1alpha1.ConditionComplete, Status: metav1.ConditionTrue}},
		},
	}
}

func failedBatch(name string) *v1alpha1.ScoringBatch {
	return &v1alpha1.ScoringBatch{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status:     v1alpha1.ScoringBatchStatus{Conditions: []metav1.Condition{{Type: v1alpha1.ConditionFailed, Status: metav1.ConditionTrue}}},
	}
}

// paired is what the pair stage comes to.
var paired = jobs.Outcome{
	Outputs: map[string]contract.Artifact{"manifest/0": file("p.json"), "pairs": file("pairs.jsonl")},
	Counts: map[string]int64{
		"pairs": 900, "usablePrompts": 25, "winners": 120, "losers": 160,
		"latest/winners": 60, "latest/losers": 80, "latest/invalid": 6, "latest/missing": 4,
	},
}

// TestDataset plays datasets in memory. The golden traces are the specification: read them.
func TestDataset(t *testing.T) {
	tests := []struct {
		name string
		play func(*datasetYard)
	}{
		{"pairs-its-sources", func(y *datasetYard) {
			y.step()
			y.succeed(v1alpha1.StagePair, paired)
		}},
		{"no-pairs-is-no-failure", func(y *datasetYard) {
			y.step()
			y.succeed(v1alpha1.StagePair, jobs.Outcome{Outputs: paired.Outputs})
		}},
		{"retries-then-succeeds", func(y *datasetYard) {
			y.step()
			y.fail(v1alpha1.StagePair, "Storage", false)
			y.succeed(v1alpha1.StagePair, paired)
		}},
		{"attempts-used-up", func(y *datasetYard) {
			y.step()
			y.fail(v1alpha1.StagePair, "Storage", false)
			y.fail(v1alpha1.StagePair, "Storage", false)
		}},
		{"bad-import-is-not-retried", func(y *datasetYard) {
			y.dataset.Spec.Sources, y.dataset.Spec.Import = nil, reference(file("my/pairs.jsonl"))
			y.step()
			y.fail(v1alpha1.StagePair, "BadSpec", true)
		}},
		{"waits-for-its-sources", func(y *datasetYard) {
			y.sources = map[string]*v1alpha1.ScoringBatch{"two": {}}
			y.step()
			y.sources["one"] = completeBatch("one")
			y.step()
			y.sources["two"] = completeBatch("two")
			y.step()
		}},
		{"waits-for-a-failed-source-to-be-replaced", func(y *datasetYard) {
			y.sources["two"] = failedBatch("two")
			y.step()
			y.sources["two"] = completeBatch("two")
			y.step()
		}},
		{"a-source-that-is-deleted-later-does-not-matter", func(y *datasetYard) {
			y.step()
			y.sources = nil
			y.step()
			y.succeed(v1alpha1.StagePair, paired)
		}},
		{"a-retry-waits-for-a-deleted-source", func(y *datasetYard) {
			y.step()
			sources := y.sources
			y.sources = nil
			y.fail(v1alpha1.StagePair, "Storage", false)
			y.sources = sources
			y.step()
			y.succeed(v1alpha1.StagePair, paired)
		}},
		{"waits-for-its-runtime", func(y *datasetYard) {
			allowing := y.runtime
			y.runtime = nil
			y.step()
			y.runtime = allowing.DeepCopy()
			y.runtime.Spec.AllowedNamespaces = []string{"team-b"}
			y.step()
			y.runtime = allowing.DeepCopy()
			y.runtime.Spec.AllowedNamespaces = []string{"*"}
			y.step()
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			y := newDatasetYard(t)
			tt.play(y)
			y.done("dataset-" + tt.name)
		})
	}
}

// Pairs are formed from the sources' scores by the dataset's thresholds, or taken from a file.
func TestDatasetSpec(t *testing.T) {
	imported := file("my/pairs.jsonl")
	tests := []struct {
		name string
		edit func(*v1alpha1.PreferenceDatasetSpec)
		want contract.PairSpec
	}{
		{"sources", func(*v1alpha1.PreferenceDatasetSpec) {}, contract.PairSpec{
			Sources: []contract.PairSource{
				{Iteration: 1, Scores: file("one/scores.jsonl")}, {Iteration: 2, Scores: file("two/scores.jsonl")},
			},
			WinnerThreshold: "0.8", LoserThreshold: "0.6",
		}},
		{"import", func(s *v1alpha1.PreferenceDatasetSpec) { s.Sources, s.Import = nil, reference(imported) }, contract.PairSpec{Import: &imported}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			y := newDatasetYard(t)
			tt.edit(&y.dataset.Spec)
			y.step()
			if diff := cmp.Diff(&tt.want, specOf(t, y.active(v1alpha1.StagePair)).Pair); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Winners, losers and invalid samples are those of the newest source: they decide how a run goes on.
func TestDatasetSummary(t *testing.T) {
	y := newDatasetYard(t)
	y.step()
	y.succeed(v1alpha1.StagePair, paired)
	want := &v1alpha1.PairSummary{
		Pairs: ptr.To(int64(900)), UsablePrompts: ptr.To(int64(25)), Winners: ptr.To(int64(60)), Losers: ptr.To(int64(80)), Invalid: ptr.To(int64(10)),
		Artifact: reference(file("pairs.jsonl")),
	}
	if diff := cmp.Diff(want, y.status.Summary); diff != "" {
		t.Error(diff)
	}
}

// A run's dataset goes by the run's snapshot, and may be written late; a user's is written at once.
func TestDatasetOfARun(t *testing.T) {
	y := newDatasetYard(t)
	if next := y.step(); next.Deferrable {
		t.Error("the status of a user's dataset may be written late")
	}
	y = newDatasetYard(t)
	y.parent = &Parent{Name: "first-run", Runtime: &v1alpha1.RuntimeSnapshot{Generation: ptr.To(int64(7)), Spec: y.runtime.Spec}}
	y.runtime = nil
	if next := y.step(); !next.Deferrable {
		t.Error("the status of a run's dataset may not be written late")
	}
	if run := y.active(v1alpha1.StagePair).Object.GetLabels()[v1alpha1.LabelRun]; run != "first-run" || *y.status.Runtime.Generation != 7 {
		t.Errorf("run %q, generation %d of the runtime", run, *y.status.Runtime.Generation)
	}
	y.active(v1alpha1.StagePair).Outcome = jobs.Outcome{State: jobs.Failed, Class: "Bug"}
	if next := y.step(); next.Deferrable {
		t.Error("a failure may be written late")
	}
}

func TestDatasetEndIsSticky(t *testing.T) {
	y := newDatasetYard(t)
	y.step()
	y.succeed(v1alpha1.StagePair, paired)
	end := y.status.DeepCopy()
	y.children, y.sources, y.runtime = nil, nil, nil
	if next := y.plan(y.base()); !cmp.Equal(next.Status, *end) || len(next.Create) > 0 {
		t.Errorf("after the end: %d creates, %s", len(next.Create), cmp.Diff(*end, next.Status))
	}
}

// specOf is the stage spec that a child's pods read.
func specOf(t *testing.T, c *Child) contract.Spec {
	t.Helper()
	var spec contract.Spec
	if err := json.Unmarshal([]byte(c.Object.(*batchv1.Job).Spec.Template.Annotations[v1alpha1.AnnotationSpec]), &spec); err != nil {
		t.Fatal(err)
	}
	return spec
}

func imageOf(t *testing.T, o Object) string {
	t.Helper()
	return o.(*batchv1.Job).Spec.Template.Spec.Containers[0].Image
}

// claimOf is the claim that a Job's pods mount; false where they mount none.
func claimOf(c *Child) (string, bool) {
	job, ok := c.Object.(*batchv1.Job)
	if !ok {
		return "", false
	}
	for _, v := range job.Spec.Template.Spec.Volumes {
		if v.PersistentVolumeClaim != nil {
			return v.PersistentVolumeClaim.ClaimName, true
		}
	}
	return "", false
}
