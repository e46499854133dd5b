//go:build faults

package faults

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// Item 18: a name is deleted and created again and again, each time at another point and in another way. What was deleted
// without its children leaves them all behind, for the next of the name to fall over.
func TestNamesakes(t *testing.T) {
	t.Parallel()
	const lanes, lives = 10, 20
	u, c := references[1].get(t), shared
	report.describe(18, "delete and create again under the same name, in background, foreground and orphaning: nothing adopted")
	namespaces := make([]string, lanes)
	for lane := range namespaces {
		namespaces[lane] = c.namespace(t, fmt.Sprintf("namesakes-%d", lane))
	}
	c.operate(t, "namesakes", namespaces)
	policies := []metav1.DeletionPropagation{metav1.DeletePropagationBackground, metav1.DeletePropagationForeground, metav1.DeletePropagationOrphan}
	for _, namespace := range namespaces {
		t.Run(namespace, func(t *testing.T) {
			t.Parallel()
			held := c.kubelet.hold(func(pod *corev1.Pod) bool {
				return pod.Namespace == namespace && placeOf(pod).Stage != v1alpha1.StagePrepare
			})
			var dead []*v1alpha1.AlignmentRun
			var errs []error
			for life := range lives {
				run := alignmentRun(namespace, runName, 1)
				c.create(t, run)
				errs = append(errs, eventually(t.Context(), patience, "it has lived", func() bool { return c.lived(t, run, life%5) }))
				if err := c.Delete(t.Context(), run, client.PropagationPolicy(policies[life%3])); err != nil {
					t.Fatal(err)
				}
				errs = append(errs, eventually(t.Context(), patience, "it is gone", func() bool { return c.gone(t.Context(), run) }))
				dead = append(dead, run)
			}
			held.drop()
			last := alignmentRun(namespace, runName, 1)
			c.create(t, last)
			errs = append(errs, c.ends(t.Context(), last), c.same(t.Context(), last, u.end))
			for _, run := range dead {
				errs = append(errs, c.history.judge(run))
			}
			report.tried(t, 18, lives, errors.Join(errs...))
		})
	}
}

// lived reports whether a run has come so far: 0 created, 1 accepted, 2 its first Job created, 3 its first pod ended, 4 a
// later stage runs.
func (c *cluster) lived(t *testing.T, run *v1alpha1.AlignmentRun, far int) bool {
	t.Helper()
	switch far {
	case 0:
		return true
	case 1:
		return c.Get(t.Context(), client.ObjectKeyFromObject(run), run) == nil && run.Status.Runtime != nil
	case 2:
		return len(c.history.family(run)) > 0
	}
	var pods corev1.PodList
	if err := c.List(t.Context(), &pods, client.InNamespace(run.Namespace), client.MatchingLabels{v1alpha1.LabelOwnerUID: string(run.UID)}); err != nil {
		return false
	}
	phase := map[int]corev1.PodPhase{3: corev1.PodSucceeded, 4: corev1.PodRunning}[far]
	return slices.ContainsFunc(pods.Items, func(p corev1.Pod) bool { return p.Status.Phase == phase })
}
