//go:build faults

package faults

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jobs"
)

// moment is a point in a run's life that it can be brought to.
type moment struct {
	name string
	// reach brings a run that was not created yet there, and returns how to let it go on.
	reach func(*testing.T, *cluster, *v1alpha1.AlignmentRun) (*wish, error)
}

// moments are every stage of a run of one iteration, and every phase without one.
func moments(u undisturbed) []moment {
	phase := func(phase v1alpha1.RunPhase) func(*testing.T, *cluster, *v1alpha1.AlignmentRun) error {
		return func(t *testing.T, c *cluster, run *v1alpha1.AlignmentRun) error {
			c.create(t, run)
			return eventually(t.Context(), patience, "run is "+string(phase), func() bool {
				return c.Get(t.Context(), client.ObjectKeyFromObject(run), run) == nil && run.Status.Phase == phase
			})
		}
	}
	list := []moment{
		{"pending", func(t *testing.T, c *cluster, run *v1alpha1.AlignmentRun) (*wish, error) {
			run.Spec.RuntimeRef.Name = "none"
			return nil, phase(v1alpha1.PhasePending)(t, c, run)
		}},
		{"suspended", func(t *testing.T, c *cluster, run *v1alpha1.AlignmentRun) (*wish, error) {
			run.Spec.Suspend = ptr.To(true)
			return nil, phase(v1alpha1.PhaseSuspended)(t, c, run)
		}},
		{"failed", func(t *testing.T, c *cluster, run *v1alpha1.AlignmentRun) (*wish, error) {
			w := c.kubelet.fail(contract.ExitBadSpec, `{"class":"BadSpec","message":"injected"}`, podsOf(run))
			return w, phase(v1alpha1.PhaseFailed)(t, c, run)
		}},
		{"succeeded", func(t *testing.T, c *cluster, run *v1alpha1.AlignmentRun) (*wish, error) {
			return nil, phase(v1alpha1.PhaseSucceeded)(t, c, run)
		}},
	}
	for _, place := range u.places {
		list = append(list, moment{fmt.Sprintf("%s-%d", jobs.Slug(place.Stage), place.Iteration),
			func(t *testing.T, c *cluster, run *v1alpha1.AlignmentRun) (*wish, error) {
				matches := podsOf(run, place)
				w := c.kubelet.hold(matches)
				c.create(t, run)
				return w, eventually(t.Context(), patience, fmt.Sprintf("%s runs %s", run.Name, place.Stage), func() bool {
					return len(c.kubelet.running(t.Context(), run.Namespace, matches)) > 0
				})
			}})
	}
	return list
}

// Item 17: runs are deleted in every phase, and namespaces with runs in every phase. It goes before the other items: how long
// Kubernetes takes to delete a namespace depends on what else it has to do.
func TestDeletion(t *testing.T) {
	u, c := references[1].get(t), shared
	all := moments(u)
	report.describe(17, "deletion of a run, and of its namespace, in each of %d phases and stages: all gone within 60 s, no orphan", len(all))
	home := c.namespace(t, "deleted")
	namespaces := []string{home}
	for _, m := range all {
		namespaces = append(namespaces, c.namespace(t, "deleted-"+m.name))
	}
	c.operate(t, "deletion", namespaces)
	for i, m := range all {
		t.Run("run/"+m.name, func(t *testing.T) {
			t.Parallel()
			run := alignmentRun(home, "run-"+m.name, 1)
			policy := []metav1.DeletionPropagation{metav1.DeletePropagationBackground, metav1.DeletePropagationForeground}[i%2]
			report.tried(t, 17, 1, c.deletes(t, m, run, run, client.PropagationPolicy(policy)))
		})
		t.Run("namespace/"+m.name, func(t *testing.T) {
			t.Parallel()
			run := alignmentRun("deleted-"+m.name, runName, 1)
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: run.Namespace}}
			report.tried(t, 17, 1, c.deletes(t, m, run, namespace))
		})
	}
}

// deletes brings a run to a moment, deletes the run or its namespace, and waits until nothing of it is left.
func (c *cluster) deletes(t *testing.T, m moment, run *v1alpha1.AlignmentRun, target client.Object, options ...client.DeleteOption) error {
	t.Helper()
	w, err := m.reach(t, c, run)
	if w != nil {
		defer w.drop()
	}
	if err != nil {
		return err
	}
	since := time.Now()
	if err := c.Delete(t.Context(), target, options...); err != nil {
		return err
	}
	var left []string
	err = eventually(t.Context(), time.Minute, "all is gone", func() bool {
		left = c.left(t.Context(), run)
		return len(left) == 0 && c.gone(t.Context(), target)
	})
	report.longest(17, "gone", time.Since(since))
	if err != nil {
		return c.explained(t.Context(), run, fmt.Errorf("%w; left: %s", err, strings.Join(left, ", ")))
	}
	return c.history.judge(run)
}

// left are all objects of a run that still exist.
func (c *cluster) left(ctx context.Context, run *v1alpha1.AlignmentRun) []string {
	owners := map[string]bool{string(run.UID): true}
	for _, b := range c.history.family(run) {
		owners[string(b.uid)] = true
	}
	var names []string
	for _, list := range []client.ObjectList{
		&v1alpha1.AlignmentRunList{}, &v1alpha1.ScoringBatchList{}, &v1alpha1.PreferenceDatasetList{}, &batchv1.JobList{}, &corev1.PodList{},
	} {
		if err := c.List(ctx, list, client.InNamespace(run.Namespace)); err != nil {
			return []string{err.Error()}
		}
		for _, o := range objectsOf(list) {
			owner := metav1.GetControllerOf(o)
			if owners[string(o.GetUID())] || owner != nil && owners[string(owner.UID)] {
				names = append(names, kindOf(o)+" "+o.GetName())
			}
		}
	}
	return names
}
