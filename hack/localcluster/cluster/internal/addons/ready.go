package addons

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Probe is an HTTP readiness check.
type Probe struct {
	Port int
	Path string
}

// Trial is an object whose creation is tried, and not done.
type Trial struct {
	Path, Body string
}

// Ready reports whether the addon does its work: its Deployment is rolled out, and its pods answer now. What the API says
// alone would not do: after a restart of the cluster it still tells of pods that were.
func (a Addon) Ready(ctx context.Context, client kubernetes.Interface) error {
	deployment, err := client.AppsV1().Deployments(a.Namespace).Get(ctx, a.Deployment, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if !rolledOut(deployment) {
		return fmt.Errorf("deployment %s is not rolled out", a.Deployment)
	}
	selector, err := metav1.LabelSelectorAsSelector(deployment.Spec.Selector)
	if err != nil {
		return err
	}
	pods, err := client.CoreV1().Pods(a.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return err
	}
	if len(pods.Items) == 0 {
		return fmt.Errorf("deployment %s has no pod", a.Deployment)
	}
	var silent []error
	for _, pod := range pods.Items {
		port := strconv.Itoa(a.Probe.Port)
		_, err := client.CoreV1().Pods(a.Namespace).ProxyGet("http", pod.Name, port, a.Probe.Path, nil).DoRaw(ctx)
		silent = append(silent, err)
	}
	if err := errors.Join(silent...); err != nil {
		return err
	}
	if a.Nodes != "" {
		if err := nodesReady(ctx, client, a.Nodes); err != nil {
			return err
		}
	}
	if a.Trial.Path == "" {
		return nil
	}
	return client.Discovery().RESTClient().Post().AbsPath(a.Trial.Path).Param("dryRun", metav1.DryRunAll).
		SetHeader("Content-Type", "application/json").Body([]byte(a.Trial.Body)).Do(ctx).Error()
}

func nodesReady(ctx context.Context, client kubernetes.Interface, label string) error {
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: label})
	if err != nil {
		return err
	}
	for _, node := range nodes.Items {
		ready := slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
		})
		if !ready {
			return fmt.Errorf("node %s is not ready", node.Name)
		}
	}
	return nil
}

func rolledOut(d *appsv1.Deployment) bool {
	want := *d.Spec.Replicas
	return d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedReplicas == want &&
		d.Status.AvailableReplicas == want && d.Status.Replicas == want
}
