package controllers_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
)

// ScoringBatches and PreferenceDatasets that a user creates without a run.

func (c *cluster) batch(name string) *v1alpha1.ScoringBatch {
	return &v1alpha1.ScoringBatch{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: c.namespace},
		Spec: v1alpha1.ScoringBatchSpec{
			RuntimeRef: v1alpha1.RuntimeReference{Name: c.namespace},
			Prompts:    v1alpha1.ArtifactReference{Key: "my/prompts.jsonl", Digest: v1alpha1.Digest(contract.Digest([]byte("p")))},
			Index:      v1alpha1.ArtifactReference{Key: "my/index.jsonl"},
		},
	}
}

func (c *cluster) dataset(sources ...string) *v1alpha1.PreferenceDataset {
	d := &v1alpha1.PreferenceDataset{
		ObjectMeta: metav1.ObjectMeta{Name: "my-pairs", Namespace: c.namespace},
		Spec:       v1alpha1.PreferenceDatasetSpec{RuntimeRef: v1alpha1.RuntimeReference{Name: c.namespace}},
	}
	for i, s := range sources {
		d.Spec.Sources = append(d.Spec.Sources, v1alpha1.PairSource{ScoringBatch: s, Iteration: ptr.To(int32(i))})
	}
	return d
}

func inNamespaceOf(o client.Object) client.ListOption { return client.InNamespace(o.GetNamespace()) }

func withLabel(key, value string) client.ListOption { return client.MatchingLabels{key: value} }

func TestScoringBatchAlone(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.fails(v1alpha1.StageTrack, 1, 69, `{"class":"Storage","message":"my/index.jsonl: 403"}`)
	c.operate(often)
	batch := c.batch("my-videos")
	c.create(batch)
	c.waitsFor(batch, v1alpha1.ReasonRuntimeNotFound)
	c.create(c.runtime())
	c.endsAs(batch, v1alpha1.ConditionComplete, v1alpha1.ReasonScored)
	if s := batch.Status; *s.Summary.Scored != 140 || s.Summary.Scores == nil || s.Phase != v1alpha1.PhaseSucceeded || s.ObservedGeneration != batch.Generation {
		t.Errorf("status: %+v", s)
	}
	want := []string{"ScoringBatch 0 Score/0", "ScoringBatch 0 Track/0", "ScoringBatch 0 Track/1"}
	if got := c.attempts(); strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("Jobs %v, want %v", got, want)
	}
	c.checkEvents(batch, map[string]int{"StageRetried": 1, v1alpha1.ReasonScored: 1})
}

func TestDatasetAlone(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.hold[v1alpha1.StageScore] = true
	c.operate(often)
	dataset := c.dataset("one", "two")
	c.create(c.runtime(), c.batch("one"), dataset)
	if message := c.waitsFor(dataset, v1alpha1.ReasonWaitingForSource); !strings.Contains(message, `"one" is not complete`) {
		t.Errorf("the message does not say for which source: %s", message)
	}
	clear(c.hold)
	c.until("it waits for the other source", func() bool {
		return strings.Contains(c.waitsFor(dataset, v1alpha1.ReasonWaitingForSource), `"two" does not exist`)
	})
	two := c.batch("two")
	c.hold[v1alpha1.StagePair] = true
	c.create(two)
	c.job(v1alpha1.StagePair, 0)

	// Once the Job runs, its sources are no longer needed.
	c.must(c.Delete(t.Context(), two, client.PropagationPolicy(metav1.DeletePropagationBackground)))
	clear(c.hold)
	c.endsAs(dataset, v1alpha1.ConditionComplete, v1alpha1.ReasonPaired)
	if s := dataset.Status.Summary; *s.Pairs != 900 || s.Artifact == nil {
		t.Errorf("summary: %+v", s)
	}
	c.checkEvents(dataset, map[string]int{v1alpha1.ReasonPaired: 1})
}

func TestImportedDataset(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.fails(v1alpha1.StagePair, 1, 64, `{"class":"BadSpec","message":"my/pairs.jsonl:7: winner and loser are the same sample"}`)
	c.operate(often)
	dataset := c.dataset()
	dataset.Spec.Import = &v1alpha1.ArtifactReference{Key: "my/pairs.jsonl"}
	c.create(c.runtime(), dataset)
	c.endsAs(dataset, v1alpha1.ConditionFailed, v1alpha1.ReasonInvalidSpec)
	if s := dataset.Status.Stages[0]; s.Failures != 1 || !strings.Contains(s.Message, "pairs.jsonl:7") {
		t.Errorf("pair: %+v", s)
	}
}
