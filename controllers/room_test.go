package controllers

import (
	"errors"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/quota"
)

// withQuota is an engine and the server of a namespace n with a quota of 4 pods, and these objects.
func withQuota(objects ...client.Object) *Engine {
	hard := corev1.ResourceList{"pods": resource.MustParse("4")}
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "q"}, Status: corev1.ResourceQuotaStatus{Hard: hard}}
	server := fake.NewClientBuilder().WithScheme(Scheme()).WithObjects(quota).WithObjects(objects...).
		WithIndex(&batchv1.Job{}, unfinishedIndex, unfinished).
		WithIndex(&corev1.Pod{}, ownerIndex, byLabel(batchv1.ControllerUidLabel)).Build()
	return &Engine{Client: server, Live: server, Clock: clock.RealClock{}}
}

// Whoever comes while another object of the namespace has its turn goes away and comes again; what has ended needs no turn.
func TestNobodyWaitsForATurn(t *testing.T) {
	e := withQuota()
	run := func(name string) *v1alpha1.AlignmentRun {
		return &v1alpha1.AlignmentRun{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name}}
	}
	comes := func(o *v1alpha1.AlignmentRun, ended bool) (func(), error) {
		t.Helper()
		type turn struct {
			done func()
			err  error
		}
		turns := make(chan turn, 1)
		go func() {
			_, done, err := e.base(t.Context(), o, "r", nil, ended)
			turns <- turn{done, err}
		}()
		select {
		case has := <-turns:
			return has.done, has.err
		case <-time.After(10 * time.Second):
			t.Fatalf("%s waits for a turn", o.Name)
			return nil, nil
		}
	}
	first, second := run("first"), run("second")
	done, err := comes(first, false)
	if err != nil {
		t.Fatal(err)
	}
	_, err = comes(second, false)
	if again, other := e.unplanned(second, err); !errors.Is(err, errTurn) || other != nil || again.RequeueAfter < catchUp {
		t.Errorf("beside the turn of another: %v; planned again after %s, error %v", err, again.RequeueAfter, other)
	}
	if _, err := comes(second, true); err != nil {
		t.Errorf("one that has ended: %v", err)
	}
	done()
	if done, err = comes(second, false); err != nil {
		t.Errorf("after that turn: %v", err)
	}
	done()
}

// What was promised to a Job is free again as soon as the cache shows that it has ended, though it never showed that it ran.
func TestEndedJobHoldsNoRoom(t *testing.T) {
	e := withQuota()
	run := &v1alpha1.AlignmentRun{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "run", UID: "u"}}
	room := func() int32 {
		t.Helper()
		room, done, err := e.room(t.Context(), run)
		if err != nil {
			t.Fatal(err)
		}
		defer done()
		return room.Fit(quota.Ask{Pod: &corev1.PodSpec{}}, 100)
	}
	if free := room(); free != 4 {
		t.Fatalf("room for %d pods, want 4", free)
	}
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "job", UID: "j", Generation: 1},
		Spec:       batchv1.JobSpec{Parallelism: ptr.To(int32(3)), Completions: ptr.To(int32(3))},
	}
	e.rooms.made(job, e.Clock.Now())
	if free := room(); free != 1 {
		t.Errorf("while the cache does not show the Job: room for %d pods, want 1", free)
	}
	job.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}}
	if err := e.Client.Create(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	if free := room(); free != 4 {
		t.Errorf("when it has ended: room for %d pods, want 4", free)
	}
}

// What a queue has admitted it may take back for another Job in a queue, and for no one else.
func TestAQueuesPodsAreNotInItsWay(t *testing.T) {
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "job", UID: "j", Labels: map[string]string{"kueue.x-k8s.io/queue-name": "gpus"}},
		Spec:       batchv1.JobSpec{Parallelism: ptr.To(int32(3)), Completions: ptr.To(int32(3))},
	}
	e := withQuota(job)
	for _, name := range []string{"job-0", "job-1", "job-2"} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name, Labels: map[string]string{batchv1.ControllerUidLabel: "j"}}}
		if err := e.Client.Create(t.Context(), pod); err != nil {
			t.Fatal(err)
		}
	}
	room, done, err := e.room(t.Context(), &v1alpha1.AlignmentRun{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "run", UID: "u"}})
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	for queued, want := range map[bool]int32{true: 4, false: 1} {
		if free := room.Fit(quota.Ask{Pod: &corev1.PodSpec{}, Job: true, Queued: queued}, 100); free != want {
			t.Errorf("queued: %v, room for %d pods, want %d", queued, free, want)
		}
	}
}
