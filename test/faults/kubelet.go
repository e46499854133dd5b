//go:build faults

package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jobs"
)

// kubelet plays scheduler, kubelet and stage of every stage pod: it is scheduled when its claim exists, runs at once,
// and ends with the last word of its stage, unless a test wants it otherwise.
type kubelet struct {
	client.Client
	mu     sync.Mutex
	wishes map[*wish]bool
}

// wish is what a test wants some pods to come to, until it is dropped.
type wish struct {
	kubelet *kubelet
	matches func(*corev1.Pod) bool
	// code and message that the pods end with; they run on when the code is zero.
	code    int32
	message string
}

func newKubelet(mgr ctrl.Manager) (*kubelet, error) {
	k := &kubelet{Client: mgr.GetClient(), wishes: map[*wish]bool{}}
	err := ctrl.NewControllerManagedBy(mgr).For(&corev1.Pod{}).
		WithOptions(controller.Options{MaxConcurrentReconciles: 16}).Complete(k)
	return k, err
}

// hold keeps pods running.
func (k *kubelet) hold(matches func(*corev1.Pod) bool) *wish {
	return k.wish(&wish{kubelet: k, matches: matches})
}

// fail makes pods fail.
func (k *kubelet) fail(code contract.ExitCode, message string, matches func(*corev1.Pod) bool) *wish {
	return k.wish(&wish{kubelet: k, matches: matches, code: int32(code), message: message})
}

func (k *kubelet) wish(w *wish) *wish {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wishes[w] = true
	return w
}

// drop lets what was held end, and what failed go well again.
func (w *wish) drop() {
	w.kubelet.mu.Lock()
	defer w.kubelet.mu.Unlock()
	delete(w.kubelet.wishes, w)
}

// podsOf matches the pods of a run, at places whose attempts do not matter; at any place when none is given.
func podsOf(run client.Object, places ...jobs.Place) func(*corev1.Pod) bool {
	return func(pod *corev1.Pod) bool {
		if pod.Namespace != run.GetNamespace() || pod.Labels[v1alpha1.LabelRun] != run.GetName() {
			return false
		}
		place := placeOf(pod)
		place.Attempt = 0
		return len(places) == 0 || slices.Contains(places, place)
	}
}

// running are the pods that match and run, as the cache has them.
func (k *kubelet) running(ctx context.Context, namespace string, matches func(*corev1.Pod) bool) []corev1.Pod {
	var list corev1.PodList
	if err := k.List(ctx, &list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil
	}
	var found []corev1.Pod
	for i := range list.Items {
		if p := &list.Items[i]; p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil && matches(p) {
			found = append(found, *p.DeepCopy())
		}
	}
	return found
}

// wished is what a test wants a pod to come to; nil when none has a wish.
func (k *kubelet) wished(pod *corev1.Pod) *wish {
	k.mu.Lock()
	defer k.mu.Unlock()
	for w := range k.wishes {
		if w.matches(pod) {
			return w
		}
	}
	return nil
}

// killed is what a container says that does not handle SIGTERM.
var killed = wish{code: int32(contract.ExitSIGTERM)}

// again is how soon a pod that is held, or waits for its claim, is looked at again.
const again = 200 * time.Millisecond

// Reconcile moves one pod on.
func (k *kubelet) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var pod corev1.Pod
	if err := k.Get(ctx, req.NamespacedName, &pod); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return ctrl.Result{}, nil
	}
	missing, err := k.missingClaim(ctx, &pod)
	if err != nil {
		return ctrl.Result{}, err
	}
	before, wished := pod.DeepCopy(), k.wished(&pod)
	wait := ctrl.Result{RequeueAfter: again}
	now := metav1.NewTime(time.Now().Truncate(time.Second))
	switch {
	case pod.DeletionTimestamp != nil:
		// The Job's finalizer keeps it until it has ended.
		wait = ctrl.Result{}
		if pod.Status, err = ended(&pod, now, &killed); err != nil {
			return ctrl.Result{}, err
		}
	case missing != "":
		pod.Status.Phase = corev1.PodPending
		pod.Status.Conditions = []corev1.PodCondition{scheduled(corev1.ConditionFalse, now, corev1.PodReasonUnschedulable, missing)}
		if len(before.Status.Conditions) > 0 {
			return wait, nil // said already
		}
	case wished != nil && wished.code == 0:
		if pod.Status.Phase == corev1.PodRunning {
			return wait, nil
		}
		pod.Status = running(now)
	default:
		wait = ctrl.Result{}
		if pod.Status, err = ended(&pod, now, wished); err != nil {
			return ctrl.Result{}, err
		}
	}
	return wait, client.IgnoreNotFound(k.Status().Patch(ctx, &pod, client.MergeFrom(before)))
}

// missingClaim is what the scheduler says of a pod whose claim does not exist. A pod that runs has its claim, which lives as
// long as the pod does.
func (k *kubelet) missingClaim(ctx context.Context, pod *corev1.Pod) (string, error) {
	if pod.Status.Phase == corev1.PodRunning {
		return "", nil
	}
	for _, v := range pod.Spec.Volumes {
		if v.PersistentVolumeClaim == nil {
			continue
		}
		var claim corev1.PersistentVolumeClaim
		name := v.PersistentVolumeClaim.ClaimName
		err := k.Get(ctx, client.ObjectKey{Namespace: pod.Namespace, Name: name}, &claim)
		switch {
		case apierrors.IsNotFound(err):
			return fmt.Sprintf("0/1 nodes are available: persistentvolumeclaim %q not found.", name), nil
		case err != nil:
			return "", err
		case claim.DeletionTimestamp != nil:
			return fmt.Sprintf("0/1 nodes are available: persistentvolumeclaim %q is being deleted.", name), nil
		}
	}
	return "", nil
}

// stageSeconds is how long every stage that is not held claims to have taken, so that what is charged for it is known.
const stageSeconds = 7

func running(since metav1.Time) corev1.PodStatus {
	return corev1.PodStatus{
		Phase: corev1.PodRunning, StartTime: &since,
		Conditions: []corev1.PodCondition{scheduled(corev1.ConditionTrue, since, "", "")},
		ContainerStatuses: []corev1.ContainerStatus{{
			Name: "stage", Image: "stage:1", ImageID: imageID, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: since}},
		}},
	}
}

// ended is the status of a stage pod that has done its work, or failed as wished.
func ended(pod *corev1.Pod, now metav1.Time, wished *wish) (corev1.PodStatus, error) {
	var spec contract.Spec
	if err := json.Unmarshal([]byte(pod.Annotations[v1alpha1.AnnotationSpec]), &spec); err != nil {
		return corev1.PodStatus{}, fmt.Errorf("pod %s carries no stage spec: %w", pod.Name, err)
	}
	shard, err := strconv.Atoi(pod.Annotations[batchv1.JobCompletionIndexAnnotation])
	if err != nil {
		return corev1.PodStatus{}, fmt.Errorf("pod %s has no completion index: %w", pod.Name, err)
	}
	since := metav1.NewTime(now.Add(-stageSeconds * time.Second))
	if pod.Status.StartTime != nil {
		since = *pod.Status.StartTime // it was held
	}
	s := running(since)
	s.Phase = corev1.PodSucceeded
	end := &corev1.ContainerStateTerminated{Reason: "Completed", Message: word(&spec, shard), StartedAt: since, FinishedAt: now}
	if wished != nil {
		s.Phase, end.ExitCode, end.Reason, end.Message = corev1.PodFailed, wished.code, "Error", wished.message
	}
	s.ContainerStatuses[0].State = corev1.ContainerState{Terminated: end}
	return s, nil
}

const imageID = "registry.example/stage@sha256:0000000000000000000000000000000000000000000000000000000000000000"

func scheduled(status corev1.ConditionStatus, since metav1.Time, reason, message string) corev1.PodCondition {
	return corev1.PodCondition{Type: corev1.PodScheduled, Status: status, LastTransitionTime: since, Reason: reason, Message: message}
}
