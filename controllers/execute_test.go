package controllers

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/plan"
)

// A plan that went by an older version of its object deletes nothing: a leader that was held up may see the children of a run
// before it sees how far the run has come.
func TestDeletionsAskForTheNewestVersion(t *testing.T) {
	run := &v1alpha1.AlignmentRun{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "run", UID: "u"}}
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "job", UID: "j"}}
	server := fake.NewClientBuilder().WithScheme(Scheme()).WithObjects(run, job).WithStatusSubresource(run).Build()
	e := &Engine{Client: server, Live: server, Clock: clock.RealClock{}}
	carry := func(seen *v1alpha1.AlignmentRun) time.Duration {
		t.Helper()
		result, err := carryOut(t.Context(), e, subject[v1alpha1.AlignmentRunStatus]{
			object: seen, status: &seen.Status, recorded: seen.Status.DeepCopy(), done: func() {}, ledger: runLedger,
		}, plan.Next[v1alpha1.AlignmentRunStatus]{Status: seen.Status, Delete: []plan.Object{job.DeepCopy()}})
		if err != nil {
			t.Fatal(err)
		}
		return result.RequeueAfter
	}
	exists := func() bool {
		err := server.Get(t.Context(), client.ObjectKeyFromObject(job), &batchv1.Job{})
		return !apierrors.IsNotFound(err)
	}
	get := func() *v1alpha1.AlignmentRun {
		var seen v1alpha1.AlignmentRun
		if err := server.Get(t.Context(), client.ObjectKeyFromObject(run), &seen); err != nil {
			t.Fatal(err)
		}
		return &seen
	}

	old := get()
	newer := get()
	newer.Status.Phase = v1alpha1.PhaseRunning
	if err := server.Status().Update(t.Context(), newer); err != nil {
		t.Fatal(err)
	}
	between := func(got, least time.Duration) bool { return got >= least && got <= 2*least }
	for least := catchUp; least < patience; least *= 2 {
		if again := carry(old); !exists() || !between(again, least) {
			t.Errorf("by an old version: the Job exists: %v; planned again after %s, want %s or up to twice that", exists(), again, least)
		}
	}
	if again := carry(old); !between(again, patience) || !between(carry(old), patience) {
		t.Errorf("while the cache stays behind, it is planned again after %s, want %s or up to twice that", again, patience)
	}
	if carry(get()); exists() {
		t.Error("by the newest version: the Job still exists")
	}
	if again := carry(old); !between(again, catchUp) {
		t.Errorf("after one plan was carried out, the next that goes by an old version is made again after %s", again)
	}
}
