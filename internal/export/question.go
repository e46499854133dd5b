package export

import (
	"errors"
	"fmt"
	"path"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
)

// OfRun asks for an iteration of a run, or for its best adapter's: the adapter, its model card and its lineage, the pairs that
// it was trained on, and the prompts. What the iteration does not have is left out.
func OfRun(run *v1alpha1.AlignmentRun, iteration *int32) (Question, error) {
	var q Question
	best := run.Status.Best
	if iteration == nil {
		if best == nil {
			return q, fmt.Errorf("run %s has no best adapter yet: nothing is evaluated", run.Name)
		}
		iteration = best.Iteration
	}
	it := find(run, *iteration)
	if it == nil {
		return q, fmt.Errorf("run %s has no iteration %d in its status", run.Name, *iteration)
	}
	if it.Adapter == nil && it.Lineage == nil && it.Pairs == nil {
		return q, fmt.Errorf("run %s: iteration %d has nothing in the store yet", run.Name, *iteration)
	}
	q.add("adapter", it.Adapter)
	q.add("lineage", it.Lineage)
	if best != nil && *best.Iteration == *iteration {
		q.add("model-card", best.ModelCard)
	}
	if it.Pairs != nil {
		q.add("pairs", it.Pairs.Artifact)
	}
	if p := run.Status.Prompts; p != nil {
		q.add("prompts-train", &v1alpha1.ArtifactReference{Key: p.Train.Key, Digest: p.Train.Digest})
		q.add("prompts-evaluation", &v1alpha1.ArtifactReference{Key: p.Evaluation.Key, Digest: p.Evaluation.Digest})
	}
	return q, nil
}

// OfDataset asks for the pairs of a dataset.
func OfDataset(d *v1alpha1.PreferenceDataset) (Question, error) {
	var q Question
	if d.Status.Summary == nil || d.Status.Summary.Artifact == nil {
		return q, errors.New("PreferenceDataset " + d.Name + " is not complete: it has no pairs yet")
	}
	q.add("pairs", d.Status.Summary.Artifact)
	return q, nil
}

func find(run *v1alpha1.AlignmentRun, k int32) *v1alpha1.IterationStatus {
	for i := range run.Status.Iterations {
		if it := &run.Status.Iterations[i]; *it.Iteration == k {
			return it
		}
	}
	return nil
}

// add a file under a name of its own, with the extension that it has in the store. Without a digest there is nothing to check it by.
func (q *Question) add(name string, a *v1alpha1.ArtifactReference) {
	if a != nil && a.Digest != "" {
		q.Files = append(q.Files, File{name + path.Ext(string(a.Key)), contract.Artifact{Key: string(a.Key), Digest: string(a.Digest)}})
	}
}
