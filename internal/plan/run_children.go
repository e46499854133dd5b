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
	})
}

func (r *runPlan) prepareRun(p jobs.Place) Object {
	return r.job(p, contract.Spec{Stage: contract.Prepare, Prepare: &contract.PrepareSpec{
		Prompts: []contract.PromptSource{
			promptSource(setTrain, r.run.Spec.Prompts.Train),
			promptSource(setEvaluation, r.run.Spec.Prompts.Evaluation),
		},
		Sets: []contract.SampleSet{r.evaluationSet(nil, nil), r.trainingSet(nil, 1, nil)},
	}})
}

func (r *runPlan) prepareTraining(p jobs.Place) Object {
	prompts := promptArtifact(r.status.Prompts.Train)
	return r.job(p, contract.Spec{Stage: contract.Prepare, Prepare: &contract.PrepareSpec{
		Sets: []contract.SampleSet{r.trainingSet(&prompts, p.Iteration, r.policy(p.Iteration))},
	}})
}

func (r *runPlan) prepareEvaluation(p jobs.Place) Object {
	prompts := promptArtifact(r.status.Prompts.Evaluation)
	return r.job(p, contract.Spec{Stage: contract.Prepare, Prepare: &contract.PrepareSpec{
		Sets: []contract.SampleSet{r.evaluationSet(&prompts, r.adapter(p.Iteration))},
	}})
}

func (r *runPlan) sampleTraining(p jobs.Place) Object {
	return r.job(p, contract.Spec{Stage: contract.Sample, Sample: &contract.SampleSpec{
		Prompts: promptArtifact(r.status.Prompts.Train), Index: r.index(p.Iteration, setTrain),
		Sampling: r.sampling(r.policy(p.Iteration)), KeepLatents: true,
	}})
}

func (r *runPlan) sampleEvaluation(p jobs.Place) Object {
	return r.job(p, contract.Spec{Stage: contract.Sample, Sample: &contract.SampleSpec{
		Prompts: promptArtifact(r.status.Prompts.Evaluation), Index: r.index(p.Iteration, setEvaluation),
		Sampling: r.sampling(r.adapter(p.Iteration)),
	}})
}

func (r *runPlan) scoreTraining(p jobs.Place) Object {
	return r.batch(p, promptArtifact(r.status.Prompts.Train), r.index(p.Iteration, setTrain))
}

func (r *runPlan) scoreEvaluation(p jobs.Place) Object {
	return r.batch(p, promptArtifact(r.status.Prompts.Evaluation), r.index(p.Iteration, setEvaluation))
}

func (r *runPlan) batch(p jobs.Place, prompts, index contract.Artifact) Object {
	return &v1alpha1.ScoringBatch{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "ScoringBatch"},
		ObjectMeta: jobs.Meta(r.owner(), p),
		Spec: v1alpha1.ScoringBatchSpec{
			RuntimeRef: r.run.Spec.RuntimeRef, Prompts: *reference(prompts), Index: *reference(index),
			Scoring: r.run.Spec.Scoring, Retries: r.run.Spec.Retries,
		},
	}
}

// pair makes the dataset of iteration k from the training samples of every iteration so far.
func (r *runPlan) pair(p jobs.Place) Object {
	var sources []v1alpha1.PairSource
	for k := int32(1); k <= p.Iteration; k++ {
		iteration := k
		sources = append(sources, v1alpha1.PairSource{
			ScoringBatch: stageRecord(r.record(k).Stages, v1alpha1.StageScore).Child, Iteration: &iteration,
		})
	}
	return &v1alpha1.PreferenceDataset{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "PreferenceDataset"},
		ObjectMeta: jobs.Meta(r.owner(), p),
		Spec: v1alpha1.PreferenceDatasetSpec{
			RuntimeRef: r.run.Spec.RuntimeRef, Sources: sources, Pairing: &v1alpha1.PairingSpec{PairingRules: ptr.Deref(r.run.Spec.Pairing, v1alpha1.RunPairingSpec{}).PairingRules}, Retries: r.run.Spec.Retries,
		},
	}
}

func (r *runPlan) trainAdapter(p jobs.Place) Object {
	model := r.status.Runtime.Spec.Model
	return r.job(p, contract.Spec{Stage: contract.Train, Train: &contract.TrainSpec{
		Prompts: promptArtifact(r.status.Prompts.Train), Pairs: artifact(*r.record(p.Iteration).Pairs.Artifact),
		Model: contract.Model{Name: model.Name, Digest: string(model.Digest)}, NumericsRevision: model.NumericsRevision,
		StartAdapter: r.policy(p.Iteration), Seed: r.resolved.seed, Iteration: int(p.Iteration), Training: r.resolved.training,
	}})
}

// policy is the adapter that iteration k samples from and starts its training at: the best one when it began.
// Iteration 1 does not wait for the baseline, and always starts at the base model.
func (r *runPlan) policy(k int32) *contract.Artifact {
	if k == 1 || r.status.Best == nil || r.status.Best.Adapter == nil {
		return nil
	}
	a := artifact(*r.status.Best.Adapter)
	return &a
}

// adapter that iteration k made; nil for the base model.
func (r *runPlan) adapter(k int32) *contract.Artifact {
	if k == 0 {
		return nil
	}
	a := artifact(*r.record(k).Adapter)
	return &a
}

// index of the samples of iteration k's set. Iteration 0 lists those of the baseline and of iteration 1.
func (r *runPlan) index(k int32, set string) contract.Artifact {
	stage := v1alpha1.StagePrepare
	switch {
	case k == 1 && set == setTrain:
		k = 0
	case k > 0 && set == setEvaluation:
		stage = v1alpha1.StageEvaluationPrepare
	}
	return output(stageRecord(r.record(k).Stages, stage), "index/"+set)
}

func (r *runPlan) sampling(adapter *contract.Artifact) contract.Sampling {
	model := r.status.Runtime.Spec.Model
	return contract.Sampling{
		Model: contract.Model{Name: model.Name, Digest: string(model.Digest)}, NumericsRevision: model.NumericsRevision,
		Adapter: adapter, Steps: r.resolved.samplingSteps,
	}
}

func (r *runPlan) trainingSet(prompts *contract.Artifact, k int32, adapter *contract.Artifact) contract.SampleSet {
	return contract.SampleSet{
		Name: setTrain, Prompts: prompts, SamplesPerPrompt: r.resolved.samplesPerPrompt, Sampling: r.sampling(adapter),
		KeepLatents: true,
		Seeds:       contract.SeedRule{Seed: r.resolved.seed, Iteration: int(k)},
	}
}

func (r *runPlan) evaluationSet(prompts *contract.Artifact, adapter *contract.Artifact) contract.SampleSet {
	return contract.SampleSet{
		Name: setEvaluation, Prompts: prompts, SamplesPerPrompt: r.resolved.evaluationSamples, Sampling: r.sampling(adapter),
		Seeds: contract.SeedRule{Seed: r.resolved.evaluationSeed},
	}
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
	for set, s := range map[string]v1alpha1.PromptSource{setTrain: r.run.Spec.Prompts.Train, setEvaluation: r.run.Spec.Prompts.Evaluation} {
		if s.ConfigMapRef != nil {
			refs[set] = *s.ConfigMapRef
		}
	}
	return refs
}

// outputPrefix is where all attempts of a stage write below.
func outputPrefix(uid types.UID, p jobs.Place) string {
	return path.Join("runs", string(uid), fmt.Sprintf("%04d", p.Iteration), jobs.Slug(p.Stage))
}
