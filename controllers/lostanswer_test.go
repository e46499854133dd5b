package controllers

import (
	"context"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/metrics"
	"github.com/spatialalign/operator/internal/plan"
)

// A status write that is carried out and whose answer is lost has its event and its counters all the same, once.
func TestLostAnswer(t *testing.T) {
	run := &v1alpha1.AlignmentRun{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "run", UID: "u"}}
	lose := true
	server := fake.NewClientBuilder().WithScheme(Scheme()).WithObjects(run).WithStatusSubresource(run).WithInterceptorFuncs(interceptor.Funcs{
		SubResourceUpdate: func(ctx context.Context, c client.Client, subresource string, o client.Object, options ...client.SubResourceUpdateOption) error {
			err := c.SubResource(subresource).Update(ctx, o.DeepCopyObject().(client.Object), options...)
			if lose && err == nil {
				return apierrors.NewTimeoutError("the answer is lost", 1)
			}
			return err
		},
	}).Build()
	registry := prometheus.NewRegistry()
	e := &Engine{Client: server, Live: server, Clock: clock.RealClock{}, Counters: metrics.NewCounters(registry)}
	ends := metav1.Condition{Type: v1alpha1.ConditionComplete, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonIterationsCompleted, LastTransitionTime: metav1.Now()}
	told := 0
	carry := func() error {
		t.Helper()
		var seen v1alpha1.AlignmentRun
		if err := server.Get(t.Context(), client.ObjectKeyFromObject(run), &seen); err != nil {
			t.Fatal(err)
		}
		recorded, urgent := recall(e, &seen, &seen.Status)
		next := *seen.Status.DeepCopy()
		if len(next.Conditions) == 0 {
			next.Conditions = []metav1.Condition{ends}
		}
		_, err := carryOut(t.Context(), e, subject[v1alpha1.AlignmentRunStatus]{
			object: &seen, status: &seen.Status, recorded: recorded, urgent: urgent, done: func() {}, ledger: runLedger,
			announce: func(before, after *v1alpha1.AlignmentRunStatus) {
				if len(before.Conditions) < len(after.Conditions) {
					told++
				}
			},
		}, plan.Next[v1alpha1.AlignmentRunStatus]{Status: next})
		return err
	}
	if err := carry(); !apierrors.IsTimeout(err) || told != 0 {
		t.Fatalf("the lost answer is %v, and %d events", err, told)
	}
	lose = false
	for range 3 {
		if err := carry(); err != nil {
			t.Fatal(err)
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := 0.0
	for _, family := range families {
		for _, m := range family.Metric {
			if family.GetName() == metrics.Finished {
				counted += m.GetCounter().GetValue()
			}
		}
	}
	if told != 1 || counted != 1 {
		t.Errorf("its end is told %d times and counted %v times, want once", told, counted)
	}
}
