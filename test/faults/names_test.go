//go:build faults

package faults

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
)

// names of every length, with dots, of shared prefixes, and of beginnings that other names may not have.
func names() []string {
	var list []string
	for length := 1; length <= 253; length++ {
		list = append(list, strings.Repeat("a", length), strings.Repeat("b.", length)[:length-1]+"b")
	}
	for i := range 40 {
		list = append(list, fmt.Sprintf("%s%02d", strings.Repeat("prefix-", 8), i), fmt.Sprintf("%s.%02d", strings.Repeat("prefix-", 8)+"x", i))
	}
	for _, odd := range []string{"0", "007", "9-a", "a-0-prepare-0", "a-1-train-0", "x--y", "1.2.3", "run.a", "run-a", "xn--a"} {
		list = append(list, odd, odd+strings.Repeat("z", 63-len(odd)))
	}
	return list
}

// Item 19: every name is refused at admission or can run, and no two get in each other's way.
func TestNames(t *testing.T) {
	t.Parallel()
	c, namespace := shared, shared.namespace(t, "names")
	report.describe(19, "names of 1 to 253 characters, with dots, of shared prefixes, of runs and batches: refused, or running a stage of its own")
	c.operate(t, "names", []string{namespace})
	run := func(name string) client.Object { return alignmentRun(namespace, name, 1) }
	batch := func(name string) client.Object { return scoringBatch(namespace, name, "my/") }
	held := c.kubelet.hold(func(pod *corev1.Pod) bool { return pod.Namespace == namespace })
	refused, accepted := 0, []client.Object{}
	for _, name := range names() {
		for _, make := range []func(string) client.Object{run, batch} {
			o := make(name)
			switch err := c.Create(t.Context(), o); {
			case err == nil:
				accepted = append(accepted, o)
			case apierrors.IsInvalid(err):
				refused++
			default:
				t.Errorf("create %s: %v", name, err)
			}
		}
	}
	report.tried(t, 19, refused, nil)
	report.note(19, "%d refused, %d ran, %d of them to their end", refused, len(accepted), len(accepted)/30)
	for i, o := range accepted {
		err := eventually(t.Context(), patience, fmt.Sprintf("%s %s runs its first stage", kindOf(o), o.GetName()), func() bool {
			return c.runs(t, o, held)
		})
		if i%30 != 0 && err == nil {
			err = c.Delete(t.Context(), o)
		}
		if err == nil {
			err = c.history.judge(o)
		}
		report.tried(t, 19, 1, err)
	}
	held.drop()
	for i, o := range accepted {
		if i%30 == 0 {
			if err := c.ends(t.Context(), o); err != nil {
				report.tried(t, 19, 1, err)
			}
		}
	}
}

// runs reports whether an object's own first Job has a pod that is held.
func (c *cluster) runs(t *testing.T, o client.Object, held *wish) bool {
	t.Helper()
	own := map[string]bool{}
	for _, b := range c.history.family(o) {
		own[string(b.uid)] = true
	}
	return len(c.kubelet.running(t.Context(), o.GetNamespace(), func(pod *corev1.Pod) bool {
		owner := metav1.GetControllerOf(pod)
		return owner != nil && own[string(owner.UID)] && held.matches(pod)
	})) > 0
}

// scoringBatch is a batch of a user's own, whose index stands below a folder.
func scoringBatch(namespace, name, folder string) *v1alpha1.ScoringBatch {
	b := &v1alpha1.ScoringBatch{Spec: v1alpha1.ScoringBatchSpec{
		RuntimeRef: v1alpha1.RuntimeReference{Name: namespace},
		Prompts:    v1alpha1.ArtifactReference{Key: "my/prompts.jsonl", Digest: v1alpha1.Digest(contract.Digest(nil))},
		Index:      v1alpha1.ArtifactReference{Key: v1alpha1.ArtifactKey(folder + "index.jsonl"), Digest: v1alpha1.Digest(contract.Digest(nil))},
	}}
	b.Namespace, b.Name = namespace, name
	return b
}
