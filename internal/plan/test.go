package plan

import (
	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jobs"
)

// test evaluates the best adapter on the test prompts, once, when the run ends well.
func (r *runPlan) test() bool {
	prompts, best := r.status.Prompts.Test, r.status.Best
	if prompts == nil || best == nil || r.status.Test != nil {
		return true
	}
	k := *best.Iteration
	if !r.prepared(jobs.Place{Iteration: k, Stage: v1alpha1.StageTestPrepare}, r.prepareTest, setTest, v1alpha1.StageTestSample) {
		return false
	}
	if done, _ := r.step(jobs.Place{Iteration: k, Stage: v1alpha1.StageTestSample}, r.sampleTest); !done {
		return false
	}
	done, child := r.step(jobs.Place{Iteration: k, Stage: v1alpha1.StageTestScore}, r.scoreTest)
	if child != nil {
		r.status.Test = &v1alpha1.TestStatus{Iteration: best.Iteration, Evaluation: *child.Batch.Status.Summary}
	}
	return done
}

func (r *runPlan) prepareTest(p jobs.Place) Object {
	prompts := promptArtifact(*r.status.Prompts.Test)
	return r.job(p, contract.Spec{Stage: contract.Prepare, Prepare: &contract.PrepareSpec{
		Sets: []contract.SampleSet{r.heldOutSet(setTest, &prompts, r.adapter(p.Iteration))},
	}})
}

func (r *runPlan) sampleTest(p jobs.Place) Object {
	return r.job(p, contract.Spec{Stage: contract.Sample, Sample: &contract.SampleSpec{
		Prompts: promptArtifact(*r.status.Prompts.Test), Index: r.testIndex(p.Iteration), Sampling: r.sampling(r.adapter(p.Iteration)),
	}})
}

func (r *runPlan) scoreTest(p jobs.Place) Object {
	return r.batch(p, v1alpha1.StageTestSample, promptArtifact(*r.status.Prompts.Test), r.testIndex(p.Iteration))
}

func (r *runPlan) testIndex(k int32) contract.Artifact {
	return output(r.stage(k, v1alpha1.StageTestPrepare, 0), "index/"+setTest)
}
