package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jobs"
)

// measured is the newest evaluation of iteration best's adapter up to iteration k: its own, or one that a candidate on another
// GPU model asked for.
func (r *runPlan) measured(best, k int32) *v1alpha1.ScoreSummary {
	if again := r.record(r.reevaluatedIn(best, k)); again != nil {
		return &again.Reevaluation.Evaluation
	}
	if it := r.record(best); it != nil {
		return it.Evaluation
	}
	return nil
}

// reevaluatedIn is the newest iteration up to k that evaluated iteration best's adapter again; -1 for none.
func (r *runPlan) reevaluatedIn(best, k int32) int32 {
	for i := range slices.Backward(r.status.Iterations) {
		it := &r.status.Iterations[i]
		if again := it.Reevaluation; again != nil && *again.Iteration == best && *it.Iteration <= k {
			return *it.Iteration
		}
	}
	return -1
}

// reevaluate evaluates the best adapter again where it was measured on one GPU model and iteration k's on another, and drops the
// comparison of the two. Once is enough: where the new evaluation is of another model again, evaluations land on nodes of
// several, and the decision says so.
func (r *runPlan) reevaluate(k int32) bool {
	it := r.record(k)
	from, to := apart(it.Comparison)
	if to == "" || it.Reevaluation != nil {
		return true
	}
	at := func(stage v1alpha1.StageName) jobs.Place { return jobs.Place{Iteration: k, Stage: stage} }
	if !r.prepared(at(v1alpha1.StageReevaluationPrepare), r.prepareReevaluation, setEvaluation, v1alpha1.StageReevaluationSample) {
		return false
	}
	if done, _ := r.step(at(v1alpha1.StageReevaluationSample), r.sampleReevaluation); !done {
		return false
	}
	_, child := r.step(at(v1alpha1.StageReevaluationScore), r.scoreReevaluation)
	if child == nil {
		return false
	}
	it, best := r.record(k), r.status.Best
	it.Reevaluation = &v1alpha1.Reevaluation{Iteration: best.Iteration, FormerDevice: from, Device: to, Evaluation: *child.Batch.Status.Summary}
	it.Comparison = nil
	best.Accuracy = accuracyAt(&it.Reevaluation.Evaluation, r.resolved.headline)
	return true
}

// apart are the GPU models of the best adapter's evaluation and of the candidate's, where each is of one model and they differ.
// An evaluation of several would be no more comparable after another one.
func apart(c *v1alpha1.Comparison) (from, to v1alpha1.DeviceModel) {
	if c == nil || c.Devices == nil || len(c.Devices.Best) != 1 || len(c.Devices.Candidate) != 1 || c.Devices.Best[0] == c.Devices.Candidate[0] {
		return "", ""
	}
	return c.Devices.Best[0], c.Devices.Candidate[0]
}

// otherDevices says in a decision what GPU models had to do with it; empty for nothing.
func otherDevices(it *v1alpha1.IterationStatus) string {
	var says string
	if again := it.Reevaluation; again != nil {
		says = fmt.Sprintf("; iteration %d was evaluated again, as it had been on %s, and this one on %s", *again.Iteration, again.FormerDevice, again.Device)
	}
	d := it.Comparison.Devices
	if d == nil || len(d.Best) == 0 || len(d.Candidate) == 0 || len(d.Best) == 1 && slices.Equal(d.Best, d.Candidate) {
		return says
	}
	return says + fmt.Sprintf("; the best was evaluated on %s and this one on %s, which alone may make a difference: keep sampling to one GPU model, by the flavor of a queue or a nodeSelector",
		listed(d.Best), listed(d.Candidate))
}

func listed(devices []v1alpha1.DeviceModel) string {
	names := make([]string, len(devices))
	for i, d := range devices {
		names[i] = string(d)
	}
	return strings.Join(names, " and ")
}

// comparedDevices are what the comparison tells of GPU models; nil for nothing.
func comparedDevices(told map[string][]string) *v1alpha1.ComparedDevices {
	devices := func(side string) []v1alpha1.DeviceModel {
		var models []v1alpha1.DeviceModel
		for _, model := range told[side] {
			if len(models) < contract.MaxDevices && contract.ValidDevice(model) && !slices.Contains(models, v1alpha1.DeviceModel(model)) {
				models = append(models, v1alpha1.DeviceModel(model))
			}
		}
		return models
	}
	d := &v1alpha1.ComparedDevices{Best: devices("best"), Candidate: devices("candidate")}
	if len(d.Best)+len(d.Candidate) == 0 {
		return nil
	}
	return d
}

// resampling is how the best adapter's samples are made again: the GPU model enters their keys, or those of the other would be found.
func (r *runPlan) resampling(k int32) contract.Sampling {
	s := r.sampling(r.adapter(*r.status.Best.Iteration))
	_, to := apart(r.record(k).Comparison)
	s.Device = string(to)
	return s
}

func (r *runPlan) prepareReevaluation(p jobs.Place) Object {
	prompts := promptArtifact(r.status.Prompts.Evaluation)
	set := r.heldOutSet(setEvaluation, &prompts, nil)
	set.Sampling = r.resampling(p.Iteration)
	return r.job(p, contract.Spec{Stage: contract.Prepare, Prepare: &contract.PrepareSpec{Sets: []contract.SampleSet{set}}})
}

func (r *runPlan) sampleReevaluation(p jobs.Place) Object {
	return r.job(p, contract.Spec{Stage: contract.Sample, Sample: &contract.SampleSpec{
		Prompts: promptArtifact(r.status.Prompts.Evaluation), Index: r.reevaluationIndex(p.Iteration), Sampling: r.resampling(p.Iteration),
	}})
}

func (r *runPlan) scoreReevaluation(p jobs.Place) Object {
	batch := r.batch(p, v1alpha1.StageReevaluationSample, promptArtifact(r.status.Prompts.Evaluation), r.reevaluationIndex(p.Iteration))
	batch.Spec.RequiredGuards = r.trackGuards()
	return batch
}

func (r *runPlan) reevaluationIndex(k int32) contract.Artifact {
	return output(r.stage(k, v1alpha1.StageReevaluationPrepare, 0), "index/"+setEvaluation)
}
