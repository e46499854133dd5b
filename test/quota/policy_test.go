//go:build quota

package quota

import (
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// TestRuntimePolicy: who may use a runtime, and how much of it, is told at once; a namespace that is withdrawn ends what it runs and
// starts nothing, until it is listed again.
func TestRuntimePolicy(t *testing.T) {
	c := connect(t)
	c.namespace("team-a", "4")
	c.namespace("team-c", "4")
	c.runtime("my-model", 0)
	c.patch("alignmentruntime my-model", `{"spec": {"allowedNamespaces": ["team-a", "team-b"], "limits": {"iterations": 20, "gpuHours": "2000", "nodes": 1, "gpusPerStage": 8}}}`)

	// Another team's run is refused, in the words that the guide shows.
	told := c.refused(c.budgeted("team-c", "r1"),
		`spec.runtimeRef.name: AlignmentRuntime "my-model" does not list namespace "team-c" in allowedNamespaces; a cluster admin may add it`)

	// So is one that might cost more than the limits say.
	c.refused(c.small("team-a", "no-budget", "my-model"),
		`spec.budget: must be set, with gpuHours of at most 2000, limits.gpuHours of AlignmentRuntime "my-model"`)
	wide := c.budgeted("team-a", "wide")
	wide.Spec.Training = &v1alpha1.TrainingSpec{Nodes: 2}
	c.refused(wide, `spec.training.nodes: 2 is more than the 1 of limits.nodes of AlignmentRuntime "my-model"`)

	// Team A's run is not. While it samples, its namespace is withdrawn.
	run := c.budgeted("team-a", "r1")
	c.start(run)
	c.within(2*time.Minute, "the run samples", func() bool { return c.ran(run) })
	c.patch("alignmentruntime my-model", `{"spec": {"allowedNamespaces": ["team-b"]}}`)
	held := c.says(10*time.Second, run, v1alpha1.ConditionSuspended, metav1.ConditionTrue, v1alpha1.ReasonNamespaceNotAllowed)
	begun := c.names(run)
	c.within(3*time.Minute, "what ran has ended", func() bool {
		c.refresh(run)
		return run.Status.Phase == v1alpha1.PhaseSuspended && c.unfinished(run) == 0
	})
	time.Sleep(15 * time.Second)
	if now := c.names(run); now != begun {
		t.Errorf("Jobs and batches were begun meanwhile:\n%s\nbefore:\n%s", now, begun)
	}

	// Listed again, it goes on.
	c.patch("alignmentruntime my-model", `{"spec": {"allowedNamespaces": ["team-a", "team-b"]}}`)
	resumed := c.says(10*time.Second, run, v1alpha1.ConditionSuspended, metav1.ConditionFalse, v1alpha1.ReasonResumed)
	c.succeeded(run, 5*time.Minute)
	c.tell("a run is refused %.1f s after the runtime was changed; one that runs is held %.1f s after its namespace was withdrawn, and goes on %.1f s after it was listed again",
		told.Seconds(), held.Seconds(), resumed.Seconds())
}

// budgeted is a small run with a budget.
func (c cluster) budgeted(namespace, name string) *v1alpha1.AlignmentRun {
	c.Helper()
	run := c.small(namespace, name, "my-model")
	run.Spec.Budget = &v1alpha1.BudgetSpec{GPUHours: "10"}
	return run
}

func (c cluster) patch(what, patch string) {
	c.Helper()
	if _, err := c.feed("", append(append([]string{"patch"}, strings.Fields(what)...), "--type", "merge", "-p", patch)...); err != nil {
		c.Fatal(err)
	}
}

// refused tries to create a run as its author would, until the policy has heard of the runtime's last change, and returns how long that
// took. Nothing is left of it.
func (c cluster) refused(run *v1alpha1.AlignmentRun, says string) time.Duration {
	c.Helper()
	run.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "AlignmentRun"}
	manifest, err := yaml.Marshal(run)
	if err != nil {
		c.Fatal(err)
	}
	var refusal error
	took := c.within(10*time.Second, "run "+run.Name+" of namespace "+run.Namespace+" is refused", func() bool {
		_, refusal = c.feed(string(manifest), "create", "-f", "-", "--dry-run=server")
		return refusal != nil
	})
	if !strings.Contains(refusal.Error(), says) {
		c.Errorf("the refusal is\n%v\nand does not say\n%s", refusal, says)
	}
	return took
}

// names of all Jobs and batches of a run.
func (c cluster) names(run *v1alpha1.AlignmentRun) string {
	c.Helper()
	return c.kubectl("get jobs,scoringbatches,preferencedatasets -n %s -l %s=%s -o name", run.Namespace, v1alpha1.LabelRun, run.Name)
}

// unfinished is how many pods of a run have not ended.
func (c cluster) unfinished(run *v1alpha1.AlignmentRun) (n int32) {
	c.Helper()
	var list batchv1.JobList
	if err := c.List(c.Context(), &list, client.InNamespace(run.Namespace), client.MatchingLabels{v1alpha1.LabelRun: run.Name}); err != nil {
		c.Fatal(err)
	}
	for i := range list.Items {
		n += list.Items[i].Status.Active
	}
	return n
}
