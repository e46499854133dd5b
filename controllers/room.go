package controllers

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
	"github.com/spatialalign/operator/internal/metrics"
	"github.com/spatialalign/operator/internal/plan"
	"github.com/spatialalign/operator/internal/quota"
)

// unfinishedIndex finds the Jobs that have not ended.
const unfinishedIndex = "unfinished"

// rooms is what must be known of namespaces with quotas and is in no cache.
type rooms struct {
	mu sync.Mutex
	// turns, by namespace: objects look at the room and take from it one after the other.
	turns map[string]*sync.Mutex
	// promises are Jobs as they were just created or resized, by UID, until the cache shows them so.
	promises map[types.UID]promise
	// wanting are the objects that want more room, by kind.
	wanting map[string]map[client.ObjectKey]bool
	// line are the stages that have no pod for want of room, those first that have waited for longest.
	line []waiter
}

// waiter is a stage in the line.
type waiter struct {
	kind string
	key  client.ObjectKey
	uid  types.UID
	plan.Waiter
	// until is when its object must have been planned again; later nothing is kept for it.
	until time.Time
}

type promise struct {
	job *batchv1.Job
	// until is when the cache must have seen it; later the Job is gone.
	until time.Time
}

// keep is how long a promise outlasts a cache that does not show its Job, and a place in the line an object that fails to be planned.
const keep = 30 * time.Second

// errTurn says that another object has the turn at the room of the namespace.
var errTurn = errors.New("another object has the turn at the room that the namespace's quotas leave")

// room is what quotas leave in the namespace of an object beside what its other Jobs are still to use, and nil where there are
// none. Nobody else takes from it until done is called. Nobody is waited for: an API server that is slow in one namespace must
// not keep the workers from the others.
func (e *Engine) room(ctx context.Context, owner client.Object) (room *quota.Room, done func(), err error) {
	namespace := client.InNamespace(owner.GetNamespace())
	done = func() {}
	var quotas corev1.ResourceQuotaList
	var limits corev1.LimitRangeList
	look := func() error {
		if err := e.Client.List(ctx, &quotas, namespace); err != nil {
			return err
		}
		return e.Client.List(ctx, &limits, namespace)
	}
	if err := look(); err != nil || len(quotas.Items)+len(limits.Items) == 0 {
		return nil, done, err
	}
	turn := e.rooms.turn(owner.GetNamespace())
	if !turn.TryLock() {
		return nil, done, errTurn
	}
	done = sync.OnceFunc(turn.Unlock)
	if err := look(); err != nil { // somebody else had a turn meanwhile
		return nil, done, err
	}
	room = quota.New(quotas.Items, limits.Items)
	return room, done, e.promised(ctx, owner, room)
}

// promised takes from the room what Jobs of other objects are still to use.
func (e *Engine) promised(ctx context.Context, owner client.Object, room *quota.Room) error {
	var list batchv1.JobList
	err := e.Client.List(ctx, &list, client.InNamespace(owner.GetNamespace()), client.MatchingFields{unfinishedIndex: "true"}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return err
	}
	if err := e.holding(ctx, owner.GetNamespace(), list.Items, room); err != nil {
		return err
	}
	unseen := e.rooms.unseen(owner.GetNamespace(), list.Items, e.Clock.Now())
	for i := range list.Items {
		job := &list.Items[i]
		if newer := unseen[job.UID]; newer != nil {
			job = newer
			delete(unseen, job.UID)
		}
		if err := e.promise(ctx, owner, job, false, room); err != nil {
			return err
		}
	}
	for _, job := range unseen {
		ended, err := e.ended(ctx, job)
		if err != nil {
			return err
		}
		if ended {
			e.rooms.kept(job.UID)
			continue
		}
		if err := e.promise(ctx, owner, job, true, room); err != nil {
			return err
		}
	}
	return nil
}

// ended reports whether the cache shows that a Job has ended. It may never have shown it before.
func (e *Engine) ended(ctx context.Context, job *batchv1.Job) (bool, error) {
	var now batchv1.Job
	err := e.Client.Get(ctx, client.ObjectKeyFromObject(job), &now)
	return err == nil && now.UID == job.UID && jobs.Finished(&now), client.IgnoreNotFound(err)
}

// holding corrects quotas that count fewer pods than are seen: the quota controller counts anew from time to time, and may know
// less than admission had let in. What of it a queue has admitted, it may take back.
func (e *Engine) holding(ctx context.Context, namespace string, list []batchv1.Job, room *quota.Room) error {
	seen := room.Empty()
	for i := range list {
		var pods corev1.PodList
		err := e.Client.List(ctx, &pods, client.InNamespace(namespace), client.MatchingFields{ownerIndex: string(list[i].UID)}, client.UnsafeDisableDeepCopy)
		if err != nil {
			return err
		}
		ask, n := plan.AskOf(&list[i], false), counted(pods.Items, e.Clock.Now())
		seen.Take(ask, n)
		if jobs.InQueue(&list[i]) {
			room.Lend(ask, n)
		}
	}
	room.AtLeast(seen)
	return nil
}

// counted is how many of some pods quotas count: not those that ended, nor those that should have.
func counted(pods []corev1.Pod, now time.Time) (n int32) {
	for i := range pods {
		p := &pods[i]
		ended := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
		if late := p.DeletionTimestamp != nil && now.After(p.DeletionTimestamp.Time); !ended && !late {
			n++
		}
	}
	return n
}

// promise takes from the room what one Job is still to use: its pods, and itself and its Service where it is created so newly that no
// quota may count them. The object's own Jobs its plan knows better.
func (e *Engine) promise(ctx context.Context, owner client.Object, job *batchv1.Job, created bool, room *quota.Room) error {
	if job.Labels[v1alpha1.LabelOwnerUID] == string(owner.GetUID()) || !job.DeletionTimestamp.IsZero() {
		return nil
	}
	var pods corev1.PodList
	err := e.Client.List(ctx, &pods, client.InNamespace(job.Namespace), client.MatchingFields{ownerIndex: string(job.UID)}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return err
	}
	room.Take(plan.AskOf(job, created), jobs.SizeOf(job, pods.Items, e.Clock.Now()).Missing)
	return nil
}

func (r *rooms) turn(namespace string) *sync.Mutex {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.turns == nil {
		r.turns = map[string]*sync.Mutex{}
	}
	if r.turns[namespace] == nil {
		r.turns[namespace] = &sync.Mutex{}
	}
	return r.turns[namespace]
}

// made remembers a Job that was created or resized just now, in a namespace that has quotas.
func (r *rooms) made(job *batchv1.Job, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.turns[job.Namespace] == nil {
		return // nobody has ever looked for room there
	}
	if r.promises == nil {
		r.promises = map[types.UID]promise{}
	}
	r.promises[job.UID] = promise{job.DeepCopy(), now.Add(keep)}
}

// kept says that nothing more is to come of what was promised to a Job.
func (r *rooms) kept(job types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.promises, job)
}

// unseen are the Jobs of a namespace that the cache does not show yet, or not as they are.
func (r *rooms) unseen(namespace string, seen []batchv1.Job, now time.Time) map[types.UID]*batchv1.Job {
	r.mu.Lock()
	defer r.mu.Unlock()
	generations := make(map[types.UID]int64, len(seen))
	for i := range seen {
		generations[seen[i].UID] = seen[i].Generation
	}
	list := map[types.UID]*batchv1.Job{}
	for uid, p := range r.promises {
		switch {
		case now.After(p.until) || generations[uid] >= p.job.Generation:
			delete(r.promises, uid)
		case p.job.Namespace == namespace:
			list[uid] = p.job
		}
	}
	return list
}

// inLine are the stages that wait for room in the namespace of an object, those first that have waited for longest.
func (r *rooms) inLine(o client.Object, now time.Time) []plan.Waiter {
	r.mu.Lock()
	defer r.mu.Unlock()
	kind, key := kindOf(o), client.ObjectKeyFromObject(o)
	var line []plan.Waiter
	for _, w := range r.line {
		if w.key.Namespace == key.Namespace && now.Before(w.until) {
			w.Own = w.kind == kind && w.key == key
			line = append(line, w.Waiter)
		}
	}
	return line
}

// held are the stages that wait for room, in all namespaces.
func (r *rooms) held(now time.Time) []metrics.Held {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []metrics.Held
	for _, w := range r.line {
		if now.Before(w.until) {
			list = append(list, metrics.Held{Namespace: w.key.Namespace, Owner: w.uid, Stage: w.Place.Stage, Pod: w.Demand.Pod, Pods: w.Demand.Pods})
		}
	}
	return list
}

// stand keeps the places in the line of those stages of an object that wait, and gives the last ones to those that are new;
// the first to those that were served in vain.
func (r *rooms) stand(o client.Object, waiting []plan.Waiter, until time.Time) {
	kind, key := kindOf(o), client.ObjectKeyFromObject(o)
	waiting = slices.Clone(waiting)
	kept := r.line[:0]
	for _, w := range r.line {
		if w.kind == kind && w.key == key {
			at := slices.IndexFunc(waiting, w.same)
			if at < 0 {
				continue // it begins, or waits no more
			}
			w.uid, w.Waiter, w.until = o.GetUID(), waiting[at], until
			waiting = slices.Delete(waiting, at, at+1)
		}
		kept = append(kept, w)
	}
	r.line = kept
	for _, w := range waiting {
		at := len(r.line)
		if w.Served {
			at = 0
		}
		r.line = slices.Insert(r.line, at, waiter{kind, key, o.GetUID(), w, until})
	}
}

// same says that it is the stage that waits, in whatever attempt.
func (w waiter) same(other plan.Waiter) bool {
	place := other.Place
	place.Attempt = w.Place.Attempt
	return w.Place == place
}

// want remembers whether an object wants more room, and which of its stages have no pod for want of it.
func (r *rooms) want(o client.Object, wants bool, waiting []plan.Waiter, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	kind, key := kindOf(o), client.ObjectKeyFromObject(o)
	r.stand(o, waiting, now.Add(keep))
	if !wants {
		delete(r.wanting[kind], key)
		return
	}
	if r.wanting == nil {
		r.wanting = map[string]map[client.ObjectKey]bool{}
	}
	if r.wanting[kind] == nil {
		r.wanting[kind] = map[client.ObjectKey]bool{}
	}
	r.wanting[kind][key] = true
}

// wantingRoom enqueues the objects of a kind that want more room, when the quotas or limit ranges of their namespace change.
func (e *Engine) wantingRoom(kind client.Object) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(_ context.Context, changed client.Object) []ctrl.Request {
		e.rooms.mu.Lock()
		defer e.rooms.mu.Unlock()
		var requests []ctrl.Request
		for key := range e.rooms.wanting[kindOf(kind)] {
			if key.Namespace == changed.GetNamespace() {
				requests = append(requests, ctrl.Request{NamespacedName: key})
			}
		}
		return requests
	})
}
