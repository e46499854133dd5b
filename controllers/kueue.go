package controllers

import (
	"context"
	"fmt"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

const (
	// jobUIDLabel of a Workload is Kueue's: the UID of the Job that it stands for.
	jobUIDLabel = "kueue.x-k8s.io/job-uid"
	// askAgain is how often at most the API server is asked whether Kueue is there.
	askAgain = 5 * time.Second
	// troubleStands is for how long a failed watch is worth telling of: it is tried again within half a minute.
	troubleStands = time.Minute
)

// workloadKind is Kueue's Workload, in whatever version the API server prefers when it is looked for.
var workloadKind = schema.GroupKind{Group: jobs.KueueGroup, Kind: "Workload"}

// Kueue knows what Kueue's Workloads say of Jobs. It watches them from the start or, where Kueue is not there yet, from the first
// time that a Job is in a queue and it is; and anew when the version that it watches is not served any more.
type Kueue struct {
	config *rest.Config
	// discover asks the API server what it serves now.
	discover   func() (meta.RESTMapper, error)
	namespaces []string
	clock      clock.PassiveClock
	// moved are the owners of Workloads that changed, once for each kind that is to be woken.
	moved []chan event.GenericEvent

	mu sync.Mutex
	// run is the life of the watch; nil before the manager starts.
	run context.Context
	// asked is when the API server was asked last whether Kueue is there, and absent that it was not.
	asked  time.Time
	absent bool
	// informer of Workloads; nil while there is no watch. end ends it.
	informer cache.Informer
	end      context.CancelFunc
	// trouble of the watch, and when it was met.
	trouble   error
	troubleAt time.Time
	// workloads by their Job.
	workloads map[jobKey]jobs.Workload
	// version of Kueue's API that is watched.
	version string
	// reserved are the runs that have a Workload as a whole.
	reserved map[types.UID]bool
}

type jobKey struct {
	namespace string
	uid       types.UID
}

func newKueue(mgr ctrl.Manager, passed clock.PassiveClock, namespaces []string) *Kueue {
	return &Kueue{
		config: mgr.GetConfig(), namespaces: namespaces, clock: passed, workloads: map[jobKey]jobs.Workload{}, reserved: map[types.UID]bool{},
		discover: func() (meta.RESTMapper, error) {
			return apiutil.NewDynamicRESTMapper(mgr.GetConfig(), mgr.GetHTTPClient())
		},
	}
}

// Start lets the watch live as long as the manager, and begins it though no Job may ever be in a queue: a run may have a Workload
// that it asked for before the operator started, and does not ask for any more.
func (k *Kueue) Start(ctx context.Context) error {
	k.mu.Lock()
	k.run = ctx
	k.mu.Unlock()
	_ = wait.PollUntilContextCancel(ctx, askAgain, true, func(context.Context) (answered bool, err error) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.there()
		return k.informer != nil || k.absent, nil
	})
	<-ctx.Done()
	return nil
}

// moves is a source of what owns Workloads that changed, for the controller of one kind.
func (k *Kueue) moves(requests handler.MapFunc) source.Source {
	moved := make(chan event.GenericEvent, 1024)
	k.moved = append(k.moved, moved)
	return source.Channel(moved, handler.EnqueueRequestsFromMapFunc(requests))
}

// look tells what can be seen of Kueue about a Job.
func (k *Kueue) look(job *batchv1.Job) jobs.Queue {
	k.mu.Lock()
	defer k.mu.Unlock()
	q := k.there()
	if w, ok := k.workloads[jobKey{job.Namespace, job.UID}]; ok && !q.Absent && q.Trouble == "" {
		q.Workload = &w
	}
	return q
}

// there tells whether Kueue is, and starts the watch when it is for the first time.
func (k *Kueue) there() jobs.Queue {
	if k.informer == nil {
		k.begin()
	}
	switch {
	case k.trouble == nil || k.clock.Since(k.troubleAt) >= troubleStands:
		return jobs.Queue{Absent: k.informer == nil && k.absent}
	default:
		return jobs.Queue{Trouble: k.trouble.Error()}
	}
}

// begin starts the watch if Kueue is there.
func (k *Kueue) begin() {
	if k.run == nil || k.clock.Since(k.asked) < askAgain {
		return
	}
	k.asked = k.clock.Now()
	var mapping *meta.RESTMapping
	mapper, err := k.discover()
	if err == nil {
		mapping, err = mapper.RESTMapping(workloadKind)
	}
	k.absent = meta.IsNoMatchError(err)
	if err == nil {
		err = k.watch(mapping.GroupVersionKind, mapper)
	}
	if k.trouble, k.troubleAt = err, k.asked; k.absent {
		k.trouble = nil
	}
}

// watch makes the cache of Workloads, and remembers of each no more than what plans read.
func (k *Kueue) watch(kind schema.GroupVersionKind, mapper meta.RESTMapper) error {
	c, err := cache.New(k.config, cache.Options{
		Scheme: runtime.NewScheme(), Mapper: mapper, DefaultNamespaces: CacheOptions(k.namespaces).DefaultNamespaces, DefaultTransform: slim,
		DefaultWatchErrorHandler: func(_ context.Context, _ *toolscache.Reflector, err error) { k.failed(kind.Version, err) },
	})
	if err != nil {
		return fmt.Errorf("cache Kueue's Workloads: %w", err)
	}
	workload := &unstructured.Unstructured{}
	workload.SetGroupVersionKind(kind)
	ctx, end := context.WithCancel(k.run)
	informer, err := c.GetInformer(ctx, workload, cache.BlockUntilSynced(false))
	if err == nil {
		_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc: k.seen, UpdateFunc: func(_, o any) { k.seen(o) }, DeleteFunc: k.gone,
		})
	}
	if err != nil {
		end()
		return fmt.Errorf("watch Kueue's Workloads: %w", err)
	}
	k.informer, k.end, k.version = informer, end, kind.Version
	go func() {
		if err := c.Start(ctx); err != nil {
			k.failed(kind.Version, err)
		}
	}()
	ctrl.Log.WithName("kueue").Info("Kueue is installed: watching its Workloads", "version", kind.Version)
	return nil
}

// failed keeps an error of the watch of a version that people can do something about. Others pass.
func (k *Kueue) failed(version string, err error) {
	switch {
	case apierrors.IsNotFound(err):
		k.unserved(version)
	case apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err):
		k.mu.Lock()
		defer k.mu.Unlock()
		k.trouble, k.troubleAt = err, k.clock.Now()
	}
}

// unserved ends the watch of a version that the API server does not serve any more: Kueue was upgraded, or is gone. What it serves
// now is looked for anew.
func (k *Kueue) unserved(version string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.version != version || version == "" {
		return // known already
	}
	if k.end != nil {
		k.end()
	}
	k.informer, k.end, k.version = nil, nil, ""
	k.trouble, k.troubleAt = fmt.Errorf("the API server does not serve Kueue's %s any more", version), k.clock.Now()
	ctrl.Log.WithName("kueue").Info("a version of Kueue's API is not served any more: looking for another one", "version", version)
}

// seen keeps what a Workload says, and wakes the owners of its Job if that is news.
func (k *Kueue) seen(o any) {
	u, ok := o.(*unstructured.Unstructured)
	if !ok {
		return
	}
	key, owner := keyOf(u), metav1.GetControllerOf(u)
	if owner != nil && owner.Kind == "AlignmentRun" {
		k.ofRun(u, owner, true)
		return
	}
	if owner == nil || owner.Kind != "Job" || owner.UID != key.uid {
		return
	}
	w := said(u)
	k.mu.Lock()
	k.trouble = nil
	before := k.workloads[key]
	k.workloads[key] = w
	k.mu.Unlock()
	if w.News(before) {
		k.wake(&batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: u.GetNamespace(), Name: owner.Name}})
	}
}

// said is what a Workload's status tells. One that is not as we know it tells nothing.
func said(u *unstructured.Unstructured) jobs.Workload {
	var w jobs.Workload
	if status, ok := u.Object["status"].(map[string]any); ok {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(status, &w); err != nil {
			return jobs.Workload{}
		}
	}
	return w
}

func (k *Kueue) gone(o any) {
	if last, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
		o = last.Obj
	}
	if u, ok := o.(*unstructured.Unstructured); ok {
		if owner := metav1.GetControllerOf(u); owner != nil && owner.Kind == "AlignmentRun" {
			k.ofRun(u, owner, false)
			return
		}
		k.mu.Lock()
		delete(k.workloads, keyOf(u))
		k.mu.Unlock()
	}
}

func keyOf(workload *unstructured.Unstructured) jobKey {
	return jobKey{workload.GetNamespace(), types.UID(workload.GetLabels()[jobUIDLabel])}
}

// wake tells the controllers that there is news of an object.
func (k *Kueue) wake(o client.Object) {
	for _, moved := range k.moved {
		moved <- event.GenericEvent{Object: o}
	}
}

// slim keeps of a Workload what is read here: its pod templates would fill the memory.
func slim(o any) (any, error) {
	u, ok := o.(*unstructured.Unstructured)
	if !ok {
		return o, nil
	}
	kept := &unstructured.Unstructured{Object: map[string]any{}}
	kept.SetAPIVersion(u.GetAPIVersion())
	kept.SetKind(u.GetKind())
	kept.SetNamespace(u.GetNamespace())
	kept.SetName(u.GetName())
	kept.SetUID(u.GetUID())
	kept.SetResourceVersion(u.GetResourceVersion())
	kept.SetLabels(u.GetLabels())
	kept.SetOwnerReferences(u.GetOwnerReferences())
	if status, ok := u.Object["status"].(map[string]any); ok {
		told := map[string]any{}
		for _, field := range []string{"conditions", "admissionChecks"} {
			if v, ok := status[field]; ok {
				told[field] = v
			}
		}
		kept.Object["status"] = told
	}
	return kept, nil
}

// jobOwner maps a Job to the object of a kind that owns it, and a run to itself.
func (e *Engine) jobOwner(kind string) handler.MapFunc {
	return func(ctx context.Context, o client.Object) []ctrl.Request {
		if run, ok := o.(*v1alpha1.AlignmentRun); ok {
			if kind != "AlignmentRun" {
				return nil
			}
			return []ctrl.Request{{NamespacedName: client.ObjectKeyFromObject(run)}}
		}
		var job batchv1.Job // others' Jobs are not in the cache
		if err := e.Client.Get(ctx, client.ObjectKeyFromObject(o), &job); err != nil {
			return nil
		}
		owner := metav1.GetControllerOf(&job)
		if owner == nil || owner.Kind != kind {
			return nil
		}
		return []ctrl.Request{{NamespacedName: types.NamespacedName{Namespace: job.Namespace, Name: owner.Name}}}
	}
}
