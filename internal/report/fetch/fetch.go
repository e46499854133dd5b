package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
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
	"github.com/spatialalign/operator/internal/report"
)

// Fetcher gets bundles.
type Fetcher struct {
	Client client.WithWatch
	// Forward opens a way to a port of a pod, until close is called.
	Forward func(ctx context.Context, namespace, pod string, port int) (address string, closeIt func(), err error)
	// Image of the operator; empty means the one that the run's own Jobs used.
	Image string
	// StartTimeout is how long the pod may take to start.
	StartTimeout time.Duration
	// Say gets a line per step.
	Say func(format string, args ...any)
}

const (
	// cleanUp is the time for removing the pod when the user has already given up.
	cleanUp = 15 * time.Second
	// downloads are tried that often: a connection through a port-forward may be cut.
	downloads = 3
)

// Fetch the bundle of a run. The pod is removed before Fetch returns, also when ctx ends.
func (f *Fetcher) Fetch(ctx context.Context, run *v1alpha1.AlignmentRun) (bundle *report.Bundle, err error) {
	const deadline = deadlineSeconds * time.Second
	ctx, cancel := context.WithTimeoutCause(ctx, deadline, fmt.Errorf("no report after %s", deadline))
	defer cancel()
	if run.Status.Runtime == nil {
		return nil, errors.New("the run was not accepted yet: its status names no store")
	}
	image, err := f.image(ctx, run)
	if err != nil {
		return nil, err
	}
	pod, err := newPod(run, image, report.PlanOf(run))
	if err != nil {
		return nil, err
	}
	if err := f.Client.Create(ctx, pod); err != nil {
		return nil, fmt.Errorf("create the pod that reads the store: %w", err)
	}
	defer func() { err = errors.Join(err, f.remove(ctx, pod)) }()
	f.Say("pod %s/%s reads the store", pod.Namespace, pod.Name)
	if err := f.wait(ctx, pod); err != nil {
		return nil, err
	}
	address, closeIt, err := f.Forward(ctx, pod.Namespace, pod.Name, contract.ProgressPort)
	if err != nil {
		return nil, fmt.Errorf("port-forward to pod %s: %w", pod.Name, err)
	}
	defer closeIt()
	for try := range downloads {
		if bundle, err = f.download(ctx, address); err == nil || ctx.Err() != nil {
			break
		}
		f.Say("download %d of %d: %v", try+1, downloads, err)
	}
	return bundle, err
}

func (f *Fetcher) image(ctx context.Context, run *v1alpha1.AlignmentRun) (Image, error) {
	if f.Image != "" {
		return Image{Name: f.Image, PullPolicy: corev1.PullIfNotPresent}, nil
	}
	// The stages that run the operator's own image.
	ours, err := labels.NewRequirement(v1alpha1.LabelStage, selection.In, []string{
		string(v1alpha1.StagePrepare), string(v1alpha1.StageEvaluationPrepare), string(v1alpha1.StageScore), string(v1alpha1.StagePair),
	})
	if err != nil {
		return Image{}, err
	}
	selector := labels.SelectorFromSet(labels.Set{v1alpha1.LabelRun: run.Name}).Add(*ours)
	var list batchv1.JobList
	if err := f.Client.List(ctx, &list, client.InNamespace(run.Namespace), client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return Image{}, fmt.Errorf("look for the operator's image in the run's Jobs: %w; name it with --image", err)
	}
	image, found := imageOf(list.Items)
	if !found {
		return Image{}, fmt.Errorf("the run has no Job left that tells the operator's image: name it with --image")
	}
	return image, nil
}

// remove deletes the pod, with time of its own: ctx may have ended, by Ctrl-C for one.
func (f *Fetcher) remove(ctx context.Context, pod *corev1.Pod) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUp)
	defer cancel()
	err := f.Client.Delete(ctx, pod, client.GracePeriodSeconds(1))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("remove the pod: %w; it ends by itself in %d minutes, kubectl delete pod -n %s %s removes it", err, deadlineSeconds/60, pod.Namespace, pod.Name)
	}
	return nil
}

// wait until the pod has the bundle ready.
func (f *Fetcher) wait(ctx context.Context, pod *corev1.Pod) error {
	last := pod
	until := func(ctx context.Context, reached func(*corev1.Pod) bool) error {
		_, err := watchtools.UntilWithSync(ctx, f.podWatch(pod), &corev1.Pod{}, nil, func(e apiwatch.Event) (bool, error) {
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
	startCtx, cancel := context.WithTimeout(ctx, f.StartTimeout)
	defer cancel()
	err := until(startCtx, started)
	if err == nil {
		err = until(ctx, isReady)
	} else if startCtx.Err() != nil {
		err = fmt.Errorf("pod %s did not start in %s: %s", pod.Name, f.StartTimeout, waiting(last))
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (f *Fetcher) podWatch(pod *corev1.Pod) cache.ListerWatcher {
	one := client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("metadata.name", pod.Name)}
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, raw metav1.ListOptions) (runtime.Object, error) {
			list := &corev1.PodList{}
			err := f.Client.List(ctx, list, &client.ListOptions{Raw: &raw}, client.InNamespace(pod.Namespace), one)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, raw metav1.ListOptions) (apiwatch.Interface, error) {
			return f.Client.Watch(ctx, &corev1.PodList{}, &client.ListOptions{Raw: &raw}, client.InNamespace(pod.Namespace), one)
		},
	}, f.Client)
}

func (f *Fetcher) download(ctx context.Context, address string) (*report.Bundle, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+report.BundlePath, nil)
	if err != nil {
		return nil, err
	}
	// A proxy must not see what the port-forward carries.
	direct := &http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}
	response, err := direct.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", report.BundlePath, response.Status)
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, report.MaxBundle+1))
	if err != nil {
		return nil, err
	}
	if want := response.Header.Get(report.DigestHeader); len(data) > report.MaxBundle || contract.Digest(data) != want {
		return nil, fmt.Errorf("%d bytes with digest %s arrived, %s was sent", len(data), contract.Digest(data), want)
	}
	f.Say("received %d KiB", (len(data)+1023)/1024)
	return report.ReadBundle(bytes.NewReader(data))
}
