package controllers_test

import (
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
)

// TestAnotherGPUModel: iteration 2 is evaluated on another GPU model, so that iteration 1's adapter is evaluated once more
// before the decision; the API server takes what is recorded of it.
func TestAnotherGPUModel(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	indexes := map[string]string{} // that scores are of
	model := func(scores contract.Artifact) string {
		if strings.Contains(indexes[path.Dir(scores.Key)], "/0002/") {
			return `["NVIDIA H100 80GB HBM3"]`
		}
		return `["NVIDIA A100-SXM4-40GB"]`
	}
	c.fate = func(_ v1alpha1.StageName, _ string, spec contract.Spec, shard int) (int32, string) {
		word := goodWord(spec, shard)
		switch spec.Stage {
		case contract.Score:
			indexes[spec.Output] = spec.Score.Index.Key
		case contract.Compare:
			word = strings.TrimSuffix(word, "}") + `,"devices":{"best":` + model(spec.Compare.Best) + `,"candidate":` + model(spec.Compare.Candidate) + `}}`
		}
		return 0, word
	}
	c.operate(often)
	run := c.run(2)
	c.create(c.runtime(), run)
	c.endsAs(run, v1alpha1.ConditionComplete, v1alpha1.ReasonIterationsCompleted)

	want := slices.Concat(onceEach(2), []string{"AlignmentRun 2 ReevaluationCompare/0", "AlignmentRun 2 ReevaluationPrepare/0", "AlignmentRun 2 ReevaluationSample/0",
		"ScoringBatch 0 Score/0", "ScoringBatch 0 Track/0"})
	slices.Sort(want)
	if diff := cmp.Diff(want, c.attempts()); diff != "" {
		t.Errorf("Jobs: %s", diff)
	}
	it := run.Status.Iterations[2]
	again, devices := it.Reevaluation, it.Comparison.Devices
	if again == nil || *again.Iteration != 1 || again.FormerDevice != "NVIDIA A100-SXM4-40GB" || again.Device != "NVIDIA H100 80GB HBM3" {
		t.Fatalf("the re-evaluation is recorded as %+v", again)
	}
	if same := []v1alpha1.DeviceModel{again.Device}; !cmp.Equal(&v1alpha1.ComparedDevices{Best: same, Candidate: same}, devices) {
		t.Errorf("the last comparison is of %+v", devices)
	}
	if !*it.Decision.Accepted || !strings.Contains(it.Decision.Message, "iteration 1 was evaluated again") {
		t.Errorf("decision: %+v", it.Decision)
	}
}
