package dispatch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/errand"
)

// Errand is a question to a store of a namespace.
type Errand struct {
	// Name of the errand, as the operator binary's serve knows it.
	Name      string
	Namespace string
	// Run that the pod belongs to and goes with; nil for errands of a whole namespace.
	Run *v1alpha1.AlignmentRun
	// Runtime as a run or batch took it; it names the store.
	Runtime *v1alpha1.AlignmentRuntimeSpec
	// Writes says that the errand changes the store.
	Writes   bool
	Question []byte
}

// Dispatcher sends errands.
type Dispatcher struct {
	Client client.WithWatch
	// Forward opens a way to a port of a pod, until close is called.
	Forward func(ctx context.Context, namespace, pod string, port int) (address string, closeIt func(), err error)
	// Image of the operator; empty means the one that the run's own Jobs used, or the namespace's.
	Image string
	// StartTimeout is how long the pod may take to start, Timeout how long all may take.
	StartTimeout, Timeout time.Duration
	// PollInterval is how often an answer is asked for.
	PollInterval time.Duration
	// Say gets a line per step.
	Say func(format string, args ...any)
}

const (
	// cleanUp is the time for removing the pod when the user has already given up.
	cleanUp = 15 * time.Second
	// tries of asking: a connection through a port-forward may be cut.
	tries = 5
)

// Send an errand and wait for its answer. The pod is removed before Send returns, also when ctx ends.
func (d *Dispatcher) Send(ctx context.Context, e Errand) (answer []byte, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, d.Timeout, fmt.Errorf("no answer after %s", d.Timeout))
	defer cancel()
	image, err := d.image(ctx, &e)
	if err != nil {
		return nil, err
	}
	pod := newPod(&e, image, d.Timeout)
	if err := d.Client.Create(ctx, pod); err != nil {
		return nil, fmt.Errorf("create the pod that reads the store: %w", err)
	}
	defer func() { err = errors.Join(err, d.remove(ctx, pod)) }()
	d.Say("pod %s/%s reads the store", pod.Namespace, pod.Name)
	if err := d.wait(ctx, pod); err != nil {
		return nil, err
	}
	for try := range tries {
		answer, err = d.ask(ctx, pod, e.Question)
		if err == nil || final(ctx, err, try == 0) {
			break
		}
		d.Say("try %d of %d: %v", try+1, tries, err)
		select {
		case <-time.After(d.PollInterval):
		case <-ctx.Done():
		}
	}
	return answer, err
}

// forwardError says that there is no way to the pod.
type forwardError struct{ error }

// final says that asking again would end the same way: the work itself failed, or the user may not forward
// ports, which shows with the first try.
func final(ctx context.Context, err error, first bool) bool {
	var refused *errand.RefusedError
	var forward forwardError
	return ctx.Err() != nil || errors.As(err, &refused) || first && errors.As(err, &forward)
}

func (d *Dispatcher) ask(ctx context.Context, pod *corev1.Pod, question []byte) ([]byte, error) {
	address, closeIt, err := d.Forward(ctx, pod.Namespace, pod.Name, contract.ProgressPort)
	if err != nil {
		return nil, forwardError{fmt.Errorf("port-forward to pod %s: %w", pod.Name, err)}
	}
	defer closeIt()
	answer, err := errand.Ask(ctx, address, question, d.PollInterval, func(progress string) { d.Say("%s", progress) })
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return answer, err
}

func (d *Dispatcher) image(ctx context.Context, e *Errand) (Image, error) {
	if d.Image != "" {
		return Image{Name: d.Image, PullPolicy: corev1.PullIfNotPresent}, nil
	}
	// The stages that run the operator's own image.
	ours, err := labels.NewRequirement(v1alpha1.LabelStage, selection.In, []string{
		string(v1alpha1.StagePrepare), string(v1alpha1.StageEvaluationPrepare), string(v1alpha1.StageScore), string(v1alpha1.StagePair),
		string(v1alpha1.StageCompare), string(v1alpha1.StageReevaluationPrepare), string(v1alpha1.StageReevaluationCompare), string(v1alpha1.StageLineage), string(v1alpha1.StageTestPrepare),
	})
	if err != nil {
		return Image{}, err
	}
	selector, whose := labels.NewSelector().Add(*ours), "namespace"
	if e.Run != nil {
		selector, whose = labels.SelectorFromSet(labels.Set{v1alpha1.LabelRun: e.Run.Name}).Add(*ours), "run"
	}
	var list batchv1.JobList
	if err := d.Client.List(ctx, &list, client.InNamespace(e.Namespace), client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return Image{}, fmt.Errorf("look for the operator's image in the %s's Jobs: %w; name it with --image", whose, err)
	}
	image, found := imageOf(list.Items)
	if !found {
		return Image{}, fmt.Errorf("the %s has no Job left that tells the operator's image: name it with --image", whose)
	}
	return image, nil
}

// remove deletes the pod, with time of its own: ctx may have ended, by Ctrl-C for one.
func (d *Dispatcher) remove(ctx context.Context, pod *corev1.Pod) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUp)
	defer cancel()
	err := d.Client.Delete(ctx, pod, client.GracePeriodSeconds(1))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("remove the pod: %w; it ends by itself in %s, kubectl delete pod -n %s %s removes it", err, d.Timeout, pod.Namespace, pod.Name)
	}
	return nil
}

// wait until the pod listens.
func (d *Dispatcher) wait(ctx context.Context, pod *corev1.Pod) error {
	last := pod
	until := func(ctx context.Context, reached func(*corev1.Pod) bool) error {
		_, err := watchtools.UntilWithSync(ctx, d.podWatch(pod), &corev1.Pod{}, nil, func(e apiwatch.Event) (bool, error) {
			seen, ok := e.Object.(*corev1.Pod)
			if !ok {
				return false, apierrors.FromObject(e.Object)
			}
			last = seen
			switch {
			case e.Type == apiwatch.Deleted:
				return false, fmt.Errorf("pod %s was deleted by somebody else", pod.Name)
			case ended(seen):
				return false, fmt.Errorf("the store could not be read: %s", strings.TrimSpace(failure(seen)))
			default:
				return reached(seen), nil
			}
		})
		return err
	}
	startCtx, cancel := context.WithTimeout(ctx, d.StartTimeout)
	defer cancel()
	err := until(startCtx, started)
	if err == nil {
		err = until(ctx, isReady)
	} else if startCtx.Err() != nil {
		err = fmt.Errorf("pod %s did not start in %s: %s", pod.Name, d.StartTimeout, waiting(last))
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (d *Dispatcher) podWatch(pod *corev1.Pod) cache.ListerWatcher {
	one := client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("metadata.name", pod.Name)}
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, raw metav1.ListOptions) (runtime.Object, error) {
			list := &corev1.PodList{}
			err := d.Client.List(ctx, list, &client.ListOptions{Raw: &raw}, client.InNamespace(pod.Namespace), one)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, raw metav1.ListOptions) (apiwatch.Interface, error) {
			return d.Client.Watch(ctx, &corev1.PodList{}, &client.ListOptions{Raw: &raw}, client.InNamespace(pod.Namespace), one)
		},
	}, d.Client)
}
