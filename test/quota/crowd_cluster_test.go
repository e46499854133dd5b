//go:build quota

package quota

import (
	"context"
	"fmt"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/test/quota/figures"
)

const gpu = corev1.ResourceName("nvidia.com/gpu")

// fakeGPUs requires that kwok's nodes have so many GPUs.
func (c cluster) fakeGPUs(n int64) {
	c.Helper()
	var nodes corev1.NodeList
	if err := c.List(c.Context(), &nodes, client.MatchingLabels{"type": "kwok"}); err != nil {
		c.Fatal(err)
	}
	there := int64(0)
	for i := range nodes.Items {
		there += gpusOf(nodes.Items[i].Status.Allocatable)
	}
	if there < n {
		c.Fatalf("nodes that do not exist have %d GPUs, not %d: run this through make test-quota", there, n)
	}
}

// podsLast sets how long the pods with a GPU run, until the end of the test.
func (c cluster) podsLast(least, most time.Duration) {
	c.Helper()
	patch := func(ctx context.Context, least, most time.Duration) {
		stage := &unstructured.Unstructured{}
		stage.SetGroupVersionKind(schema.GroupVersionKind{Group: "kwok.x-k8s.io", Version: "v1alpha1", Kind: "Stage"})
		stage.SetName("gpu-pod-ends")
		text := fmt.Appendf(nil, `{"spec":{"delay":{"durationMilliseconds":%d,"jitterDurationMilliseconds":%d}}}`, least.Milliseconds(), most.Milliseconds())
		if err := c.Patch(ctx, stage, client.RawPatch(types.MergePatchType, text)); err != nil {
			c.Error(err)
		}
	}
	patch(c.Context(), least, most)
	c.Cleanup(func() { patch(context.Background(), 30*time.Second, 120*time.Second) })
}

// finish waits until so many runs of the namespaces, which are all, have ended, which must be well.
func (c cluster) finish(namespaces []string, runs int, limit time.Duration) {
	c.Helper()
	c.within(limit, "all runs end", func() bool {
		ended := 0
		for _, run := range c.runs(namespaces) {
			switch run.Status.Phase {
			case v1alpha1.PhaseSucceeded:
				ended++
			case v1alpha1.PhaseFailed:
				c.Fatalf("run %s/%s failed: %+v", run.Namespace, run.Name, run.Status.Conditions)
			}
		}
		return ended == runs
	})
}

func (c cluster) runs(namespaces []string) (runs []v1alpha1.AlignmentRun) {
	c.Helper()
	for _, namespace := range namespaces {
		var list v1alpha1.AlignmentRunList
		if err := c.List(c.Context(), &list, client.InNamespace(namespace)); err != nil {
			c.Fatal(err)
		}
		runs = append(runs, list.Items...)
	}
	return runs
}

// measure reads the times of everything that the runs had: nothing of an ended run is deleted, and nothing was tried twice.
func (c cluster) measure(namespaces []string) figures.Crowd {
	c.Helper()
	crowd := figures.Crowd{GPUs: crowdGPUs}
	for _, namespace := range namespaces {
		pods, scorings := c.podsByJob(namespace), c.scorings(namespace)
		var list batchv1.JobList
		if err := c.List(c.Context(), &list, client.InNamespace(namespace)); err != nil {
			c.Fatal(err)
		}
		jobs := map[string][]figures.Job{}
		for i := range list.Items {
			job := &list.Items[i]
			if had, want := len(pods[job.UID]), int(*job.Spec.Completions); job.Labels[v1alpha1.LabelAttempt] != "0" || had != want {
				c.Errorf("Job %s is attempt %s of its stage, with %d pods: want the first and %d", job.Name, job.Labels[v1alpha1.LabelAttempt], had, want)
			}
			run, stage := job.Labels[v1alpha1.LabelRun], placeOf(job)
			if owner := metav1.GetControllerOf(job); owner.Kind == "ScoringBatch" {
				stage = scorings[owner.UID]
			}
			jobs[run] = append(jobs[run], figures.Job{Owner: stage, Created: job.CreationTimestamp.Time, Pods: pods[job.UID]})
		}
		for _, run := range c.runs([]string{namespace}) {
			crowd.Runs = append(crowd.Runs, figures.Run{Created: run.CreationTimestamp.Time, Ended: run.Status.CompletionTime.Time, Jobs: jobs[run.Name]})
		}
	}
	return crowd
}

// scorings are the stages of runs that ScoringBatches are.
func (c cluster) scorings(namespace string) map[types.UID]figures.Stage {
	c.Helper()
	var list v1alpha1.ScoringBatchList
	if err := c.List(c.Context(), &list, client.InNamespace(namespace)); err != nil {
		c.Fatal(err)
	}
	places := map[types.UID]figures.Stage{}
	for i := range list.Items {
		places[list.Items[i].UID] = placeOf(&list.Items[i])
	}
	return places
}

func placeOf(o client.Object) figures.Stage {
	iteration, _ := strconv.Atoi(o.GetLabels()[v1alpha1.LabelIteration])
	return figures.Stage{Iteration: iteration, Name: o.GetLabels()[v1alpha1.LabelStage]}
}

// podsByJob are the pods of a namespace, which have all ended, by the UID of their Job.
func (c cluster) podsByJob(namespace string) map[types.UID][]figures.Pod {
	c.Helper()
	var list corev1.PodList
	if err := c.List(c.Context(), &list, client.InNamespace(namespace)); err != nil {
		c.Fatal(err)
	}
	pods := map[types.UID][]figures.Pod{}
	for i := range list.Items {
		pod := &list.Items[i]
		if len(pod.Status.ContainerStatuses) != 1 || pod.Status.ContainerStatuses[0].State.Terminated == nil {
			c.Errorf("pod %s has not ended", pod.Name)
			continue
		}
		end := pod.Status.ContainerStatuses[0].State.Terminated
		job := metav1.GetControllerOf(pod).UID
		pods[job] = append(pods[job], figures.Pod{
			GPUs: podGPUs(pod), Scheduled: scheduled(pod), Running: end.StartedAt.Time, Ended: end.FinishedAt.Time,
		})
	}
	return pods
}

// scheduled is when a pod got its node; zero while it has none.
func scheduled(pod *corev1.Pod) time.Time {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionTrue {
			return c.LastTransitionTime.Time
		}
	}
	return time.Time{}
}

func podGPUs(pod *corev1.Pod) (n int64) {
	for i := range pod.Spec.Containers {
		n += gpusOf(pod.Spec.Containers[i].Resources.Requests)
	}
	return n
}

func gpusOf(list corev1.ResourceList) int64 {
	q := list[gpu]
	return q.Value()
}
