package plan

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jobs"
)

// PreferenceDataset plans Pair. sources are the ScoringBatches that its spec names, as far as they exist.
func PreferenceDataset(b Base, dataset *v1alpha1.PreferenceDataset, parent *Parent, sources map[string]*v1alpha1.ScoringBatch) Next[v1alpha1.PreferenceDatasetStatus] {
	status := *dataset.Status.DeepCopy()
	(&mender{}).stages(&status.Stages, false)
	cond := conditions{&status.Conditions, dataset.Generation, b.Now, dataset.Status.Conditions}
	if b.Leaving || Ended(status.Conditions) {
		return Next[v1alpha1.PreferenceDatasetStatus]{Status: status, Delete: unfinished(b.Children)}
	}
	status.ObservedGeneration = dataset.Generation
	taken, waiting := status.Runtime, (*failure)(nil)
	if taken == nil {
		taken, waiting = snapshot(b, parent, dataset.Spec.RuntimeRef.Name, dataset.Namespace)
	}
	s := stages{now: b.Now, retries: ptr.Deref(dataset.Spec.Retries, 0), children: b.Children, startup: startup(parent), space: newSpace(&b)}
	at := jobs.Place{Stage: v1alpha1.StagePair}
	var from []contract.PairSource
	if waiting == nil && !s.underway(status.Stages, at) {
		from, waiting = pairSources(dataset.Spec.Sources, sources)
	}
	if waiting != nil {
		status.Phase = v1alpha1.PhasePending
		cond.wait(waiting)
		return Next[v1alpha1.PreferenceDatasetStatus]{Status: status, Delete: endless(b.Children), Deferrable: parent != nil}
	}
	status.Runtime = taken
	s.allow(cond, b.withdrawn(parent, dataset.Namespace))
	status.Phase = v1alpha1.PhaseRunning

	build := func(place jobs.Place) Object { return pairJob(b, dataset, parent, taken, from, place) }
	if _, child := s.step(&status.Stages, at, build); child != nil {
		status.Summary, status.Phase = pairSummary(child.Outcome), v1alpha1.PhaseSucceeded
		cond.complete(v1alpha1.ReasonPaired, fmt.Sprintf("%d pairs of %d prompts", *status.Summary.Pairs, *status.Summary.UsablePrompts))
		return Next[v1alpha1.PreferenceDatasetStatus]{Status: status}
	}
	if s.failed != nil {
		status.Phase = v1alpha1.PhaseFailed
		cond.fail(s.failed)
		return Next[v1alpha1.PreferenceDatasetStatus]{Status: status, Delete: unfinished(b.Children)}
	}
	cond.queued(&s, (*Child).lacksQuota)
	if unbegun := s.unbegun(status.Stages); unbegun != nil {
		cond.wait(unbegun)
	}
	return Next[v1alpha1.PreferenceDatasetStatus]{
		Status: status, Create: s.create, Delete: endless(b.Children), Resize: s.space.resize, WantsRoom: s.space.wanting, Waiting: s.space.waiting,
		RequeueAfter: s.space.again(b.Config.ProgressInterval),
		Deferrable:   routine(parent != nil, dataset.Status.Conditions, status.Conditions, dataset.Status.Stages, status.Stages),
	}
}

// pairSources are the scores of the named batches, or what to wait for.
func pairSources(named []v1alpha1.PairSource, batches map[string]*v1alpha1.ScoringBatch) ([]contract.PairSource, *failure) {
	var from []contract.PairSource
	for _, n := range named {
		if n.Scores != nil {
			from = append(from, contract.PairSource{Iteration: int(ptr.Deref(n.Iteration, 0)), Scores: artifact(*n.Scores)})
			continue
		}
		batch := batches[n.ScoringBatch]
		switch {
		case batch == nil:
			return nil, &failure{v1alpha1.ReasonWaitingForSource, fmt.Sprintf("ScoringBatch %q does not exist; waiting for it", n.ScoringBatch)}
		case meta.IsStatusConditionTrue(batch.Status.Conditions, v1alpha1.ConditionFailed):
			return nil, &failure{v1alpha1.ReasonWaitingForSource, fmt.Sprintf("ScoringBatch %q has failed; create it again under this name, or another dataset", n.ScoringBatch)}
		case batch.Status.Summary == nil || batch.Status.Summary.Scores == nil:
			return nil, &failure{v1alpha1.ReasonWaitingForSource, fmt.Sprintf("ScoringBatch %q is not complete; waiting for it", n.ScoringBatch)}
		}
		from = append(from, contract.PairSource{Iteration: int(ptr.Deref(n.Iteration, 0)), Scores: artifact(*batch.Status.Summary.Scores)})
	}
	return from, nil
}

func pairJob(b Base, dataset *v1alpha1.PreferenceDataset, parent *Parent, taken *v1alpha1.RuntimeSnapshot, from []contract.PairSource, place jobs.Place) Object {
	pairing := ptr.Deref(dataset.Spec.Pairing, v1alpha1.PairingSpec{PairingRules: v1alpha1.PairingRules{WinnerThreshold: "0.7", LoserThreshold: "0.7"}})
	spec := &contract.PairSpec{
		Sources: from, WinnerThreshold: string(pairing.WinnerThreshold), LoserThreshold: string(pairing.LoserThreshold),
		MinMargin: string(pairing.MinMargin), MaxPairsPerPrompt: int(pairing.MaxPairsPerPrompt),
	}
	if dataset.Spec.Extends != nil {
		spec.Extends = ptr.To(artifact(*dataset.Spec.Extends))
	}
	if dataset.Spec.Import != nil {
		a := artifact(*dataset.Spec.Import)
		spec = &contract.PairSpec{Import: &a}
	}
	return jobs.Build(jobs.Work{
		Owner: jobs.Owner{Kind: "PreferenceDataset", Namespace: dataset.Namespace, Name: dataset.Name, UID: dataset.UID, Run: runName(parent)},
		Place: place,
		Spec: contract.Spec{
			ContractVersion: contract.Version, Stage: contract.Pair, Output: outputPrefix(dataset.UID, place), Pair: spec,
		},
		Runtime: &taken.Spec, Images: b.Config.Images,
	})
}
