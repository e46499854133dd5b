package plan

import (
	"fmt"
	"path"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jobs"
)

// The names of prompt sets and sample sets in stage specs.
const (
	setTrain      = "train"
	setEvaluation = "evaluation"
	setTest       = "test"
)

func (r *runPlan) owner() jobs.Owner {
	return jobs.Owner{Kind: "AlignmentRun", Namespace: r.run.Namespace, Name: r.run.Name, UID: r.run.UID, Run: r.run.Name}
}

// job makes a Job of the run.
func (r *runPlan) job(p jobs.Place, spec contract.Spec) Object {
	spec.ContractVersion = contract.Version
	spec.Output = outputPrefix(r.run.UID, p)
	return jobs.Build(jobs.Work{
		Owner: r.owner(), Place: p, Spec: spec, Runtime: &r.status.Runtime.Spec, Images: r.Config.Images, ConfigMaps: r.configMaps(spec),
		Scheduling: r.run.Spec.Scheduling, Nodes: r.resolved.nodes, GPUsPerNode: r.resolved.gpusPerNode, Reserved: r.reserved(),
	})
}

func (r *runPlan) prepareRun(p jobs.Place) Object {
	spec := &contract.PrepareSpec{Sets: []contract.SampleSet{r.heldOutSet(setEvaluation, nil, r.adapter(0))}}
	for _, set := range r.promptSets() {
		spec.Prompts = append(spec.Prompts, promptSource(set.name, set.source))
	}
	if r.status.InitialDataset == nil {
		spec.Sets = append(spec.Sets, r.trainingSet(nil, jobs.Place{Iteration: 1}))
	}
	return r.job(p, contract.Spec{Stage: contract.Prepare, Prepare: spec})
}

func (r *runPlan) prepareTraining(p jobs.Place) Object {
	prompts := promptArtifact(r.status.Prompts.Train)
	return r.job(p, contract.Spec{Stage: contract.Prepare, Prepare: &contract.PrepareSpec{
		Sets: []contract.SampleSet{r.trainingSet(&prompts, p)},
	}})
}

func (r *runPlan) prepareEvaluation(p jobs.Place) Object {
	prompts := promptArtifact(r.status.Prompts.Evaluation)
	return r.job(p, contract.Spec{Stage: contract.Prepare, Prepare: &contract.PrepareSpec{
		Sets: []contract.SampleSet{r.heldOutSet(setEvaluation, &prompts, r.adapter(p.Iteration))},
	}})
}

func (r *runPlan) sampleTraining(p jobs.Place) Object {
	return r.job(p, contract.Spec{Stage: contract.Sample, Sample: &contract.SampleSpec{
		Prompts: promptArtifact(r.status.Prompts.Train), Index: r.trainingIndex(p), Sampling: r.sampling(r.policy(p.Iteration)), KeepLatents: true,
	}})
}

func (r *runPlan) sampleEvaluation(p jobs.Place) Object {
	return r.job(p, contract.Spec{Stage: contract.Sample, Sample: &contract.SampleSpec{
		Prompts: promptArtifact(r.status.Prompts.Evaluation), Index: r.evaluationIndex(p.Iteration), Sampling: r.sampling(r.adapter(p.Iteration)),
	}})
}

func (r *runPlan) scoreTraining(p jobs.Place) Object {
	return r.batch(p, v1alpha1.StageSample, promptArtifact(r.status.Prompts.Train), r.trainingIndex(p))
}

func (r *runPlan) scoreEvaluation(p jobs.Place) Object {
	batch := r.batch(p, v1alpha1.StageEvaluationSample, promptArtifact(r.status.Prompts.Evaluation), r.evaluationIndex(p.Iteration))
	batch.Spec.RequiredGuards = r.trackGuards()
	return batch
}

// batch scores the samples of a sampling stage.
func (r *runPlan) batch(p jobs.Place, sampling v1alpha1.StageName, prompts, index contract.Artifact) *v1alpha1.ScoringBatch {
	return &v1alpha1.ScoringBatch{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "ScoringBatch"},
		ObjectMeta: jobs.Meta(r.owner(), p),
		Spec: v1alpha1.ScoringBatchSpec{
			RuntimeRef: r.run.Spec.RuntimeRef, Prompts: pinned(prompts), Index: pinned(index),
			Scoring: r.run.Spec.Scoring, Retries: r.run.Spec.Retries, Tracking: r.tracking(p, sampling),
		},
	}
}

// tracking of a batch. Tracks that were in the store are taken from there, unless an attempt to do so has failed.
func (r *runPlan) tracking(p jobs.Place, sampling v1alpha1.StageName) v1alpha1.Tracking {
	sampled, scoring := r.stage(p.Iteration, sampling, p.Round), r.stage(p.Iteration, p.Stage, p.Round)
	if sampled != nil && sampled.Stored == v1alpha1.StoredTracks && (scoring == nil || scoring.Failures == 0) {
		return v1alpha1.TrackingStored
	}
	return v1alpha1.TrackingRun
}

// pair makes the dataset of iteration k from the scores of its rounds and, with history Cumulative, the pairs before it.
func (r *runPlan) pair(p jobs.Place) Object {
	it := r.record(p.Iteration)
	sources := []v1alpha1.PairSource{{Scores: it.Samples.Scores, Iteration: ptr.To(p.Iteration)}}
	for i := range it.Resampled {
		sources = append(sources, v1alpha1.PairSource{Scores: it.Resampled[i].Samples.Scores, Iteration: ptr.To(p.Iteration)})
	}
	pairing := ptr.Deref(r.run.Spec.Pairing, v1alpha1.RunPairingSpec{})
	spec := v1alpha1.PreferenceDatasetSpec{
		RuntimeRef: r.run.Spec.RuntimeRef, Sources: sources, Pairing: &v1alpha1.PairingSpec{PairingRules: pairing.PairingRules}, Retries: r.run.Spec.Retries,
	}
	if before := r.record(p.Iteration - 1); pairing.History != v1alpha1.HistoryLatest && before != nil && before.Pairs != nil {
		spec.Extends = before.Pairs.Artifact
	}
	return &v1alpha1.PreferenceDataset{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "PreferenceDataset"},
		ObjectMeta: jobs.Meta(r.owner(), p), Spec: spec,
	}
}

func (r *runPlan) trainAdapter(p jobs.Place) Object {
	model := r.status.Runtime.Spec.Model
	return r.job(p, contract.Spec{Stage: contract.Train, Train: &contract.TrainSpec{
		Prompts: promptArtifact(r.status.Prompts.Train), Pairs: artifact(*r.record(p.Iteration).Pairs.Artifact),
		Model: contract.Model{Name: model.Name, Digest: string(model.Digest)}, NumericsRevision: model.NumericsRevision,
		StartAdapter: r.start(p.Iteration), ReferenceAdapter: r.referenceAdapter(p.Iteration),
		Seed: r.resolved.seed, Iteration: int(p.Iteration), Training: r.resolved.training,
	}})
}

// policy is the adapter that iteration k samples from: the best one when it began. Iteration 1 does not wait for the
// baseline, and samples from what the run starts from.
func (r *runPlan) policy(k int32) *contract.Artifact {
	if it := r.record(k); it != nil && it.Comparison != nil {
		return r.adapter(*it.Comparison.Iteration) // the best may be another by now: this is what it was compared with
	}
	if k == 1 {
		return r.adapter(0)
	}
	return r.adapter(*r.status.Best.Iteration)
}

// start is the adapter that iteration k's training goes on from; nil for a fresh one.
func (r *runPlan) start(k int32) *contract.Artifact {
	if t := r.run.Spec.Training; t != nil && t.Start == v1alpha1.StartFresh {
		return nil
	}
	return r.policy(k)
}

// referenceAdapter is what iteration k's training is held to; nil for the base model.
func (r *runPlan) referenceAdapter(k int32) *contract.Artifact {
	if t := r.run.Spec.Training; t == nil || t.ReferencePolicy != v1alpha1.ReferencePrevious {
		return nil
	}
	return r.policy(k)
}

// adapter that iteration k made; of iteration 0 what the run starts from, nil for the base model.
func (r *runPlan) adapter(k int32) *contract.Artifact {
	made := r.run.Spec.InitialAdapter
	if it := r.record(k); it != nil && it.Adapter != nil {
		made = it.Adapter
	}
	if made == nil {
		return nil
	}
	return ptr.To(artifact(*made))
}

// trainingIndex lists the samples of a round. Iteration 0's prepare stage lists iteration 1's, where it could.
func (r *runPlan) trainingIndex(p jobs.Place) contract.Artifact {
	if rec := r.stage(p.Iteration, v1alpha1.StagePrepare, p.Round); rec != nil {
		return output(rec, "index/"+setTrain)
	}
	return output(r.stage(0, v1alpha1.StagePrepare, 0), "index/"+setTrain)
}

// evaluationIndex lists the held-out samples of iteration k.
func (r *runPlan) evaluationIndex(k int32) contract.Artifact {
	stage := v1alpha1.StageEvaluationPrepare
	if k == 0 {
		stage = v1alpha1.StagePrepare
	}
	return output(r.stage(k, stage, 0), "index/"+setEvaluation)
}

func (r *runPlan) sampling(adapter *contract.Artifact) contract.Sampling {
	model := r.status.Runtime.Spec.Model
	s := r.resolved.sampling
	s.Model, s.NumericsRevision, s.Adapter = contract.Model{Name: model.Name, Digest: string(model.Digest)}, model.NumericsRevision, adapter
	return s
}

// trainingSet is the samples of an iteration's round, with seeds of its own.
func (r *runPlan) trainingSet(prompts *contract.Artifact, p jobs.Place) contract.SampleSet {
	return contract.SampleSet{
		Name: setTrain, Prompts: prompts, SamplesPerPrompt: r.resolved.samplesPerPrompt, Sampling: r.sampling(r.policy(p.Iteration)),
		KeepLatents: true, Detector: detector(r.status.Runtime),
		Seeds: contract.SeedRule{Seed: r.resolved.seed, Iteration: int(p.Iteration), Round: int(p.Round)},
	}
}

// heldOutSet is the samples of evaluation or test prompts, always with the same seeds.
func (r *runPlan) heldOutSet(name string, prompts, adapter *contract.Artifact) contract.SampleSet {
	return contract.SampleSet{
		Name: name, Prompts: prompts, SamplesPerPrompt: r.resolved.evaluationSamples, Sampling: r.sampling(adapter),
		Seeds: contract.SeedRule{Seed: r.resolved.evaluationSeed}, Detector: detector(r.status.Runtime),
	}
}

func promptSet(o jobs.Outcome, name string) v1alpha1.ResolvedPromptSet {
	a := o.Outputs["prompts/"+name]
	return v1alpha1.ResolvedPromptSet{Key: v1alpha1.ArtifactKey(a.Key), Digest: v1alpha1.Digest(a.Digest), Count: o.Counts[name+"/prompts"]}
}

func promptArtifact(s v1alpha1.ResolvedPromptSet) contract.Artifact {
	return contract.Artifact{Key: string(s.Key), Digest: string(s.Digest)}
}

type namedSource struct {
	name   string
	source v1alpha1.PromptSource
}

// promptSets of the run, by name.
func (r *runPlan) promptSets() []namedSource {
	p := r.run.Spec.Prompts
	sets := []namedSource{{setTrain, p.Train}, {setEvaluation, p.Evaluation}}
	if p.Test != nil {
		sets = append(sets, namedSource{setTest, *p.Test})
	}
	return sets
}

// promptSource as the prepare stage reads it.
func promptSource(set string, s v1alpha1.PromptSource) contract.PromptSource {
	source := contract.PromptSource{Name: set}
	switch {
	case s.Generate != nil:
		source.Generate = &contract.Generate{Count: int(s.Generate.Count), Seed: unsigned(s.Generate.Seed), Split: set}
		for _, r := range s.Generate.Relations {
			source.Generate.Relations = append(source.Generate.Relations, string(r))
		}
	case s.ConfigMapRef != nil:
		source.File = path.Join(jobs.PromptsDir, set, s.ConfigMapRef.Key)
	case s.Artifact != nil:
		a := artifact(*s.Artifact)
		source.Artifact = &a
	}
	return source
}

// configMaps to mount for a prepare stage that reads prompt files.
func (r *runPlan) configMaps(spec contract.Spec) map[string]v1alpha1.ConfigMapKeyReference {
	if spec.Prepare == nil || len(spec.Prepare.Prompts) == 0 {
		return nil
	}
	refs := map[string]v1alpha1.ConfigMapKeyReference{}
	for _, set := range r.promptSets() {
		if set.source.ConfigMapRef != nil {
			refs[set.name] = *set.source.ConfigMapRef
		}
	}
	return refs
}

// outputPrefix is where all attempts of a stage write below.
func outputPrefix(uid types.UID, p jobs.Place) string {
	iteration := fmt.Sprintf("%04d", p.Iteration)
	if p.Round > 0 {
		iteration += fmt.Sprintf("r%d", p.Round)
	}
	return path.Join("runs", string(uid), iteration, jobs.Slug(p.Stage))
}
