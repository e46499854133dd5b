package controllers

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
	"github.com/spatialalign/operator/internal/metrics"
	"github.com/spatialalign/operator/internal/plan"
)

// Scheme knows our kinds and Kubernetes' own.
func Scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			panic(err) // a programming error: two types under one name
		}
	}
	return s
}

// CacheOptions keep the cache small: of Jobs and pods only ours, of pods only what plans look at, and of the whole cluster only
// the given namespaces; none given means all.
func CacheOptions(namespaces []string) cache.Options {
	ours := cache.ByObject{Label: labels.SelectorFromSet(labels.Set{v1alpha1.LabelManaged: "true"}), Transform: lean}
	o := cache.Options{
		ByObject:         map[client.Object]cache.ByObject{&batchv1.Job{}: ours, &corev1.Pod{}: ours},
		DefaultTransform: cache.TransformStripManagedFields(),
	}
	if len(namespaces) > 0 {
		o.DefaultNamespaces = map[string]cache.Config{}
		for _, n := range namespaces {
			o.DefaultNamespaces[n] = cache.Config{}
		}
	}
	return o
}

// lean drops the bulk of a pod or Job that no plan looks at, as the cache holds thousands: what its containers are told to do.
func lean(o any) (any, error) {
	switch o := o.(type) {
	case *corev1.Pod:
		o.ManagedFields, o.Spec = nil, leanSpec(&o.Spec)
		delete(o.Annotations, v1alpha1.AnnotationSpec) // the Job's tells the same
	case *batchv1.Job:
		o.ManagedFields, o.Spec.Template.Spec = nil, leanSpec(&o.Spec.Template.Spec)
	}
	return o, nil // also the last word of a watch about one that is gone
}

// leanSpec is where pods are, and what of them quotas count.
func leanSpec(full *corev1.PodSpec) corev1.PodSpec {
	pod := corev1.PodSpec{
		NodeName: full.NodeName, ResourceClaims: full.ResourceClaims, Resources: full.Resources,
		ActiveDeadlineSeconds: full.ActiveDeadlineSeconds, PriorityClassName: full.PriorityClassName,
	}
	for _, c := range full.Containers {
		pod.Containers = append(pod.Containers, corev1.Container{Name: c.Name, Image: c.Image, Resources: c.Resources})
	}
	return pod
}

// Setup registers all controllers with a manager that works in the given namespaces (none given means all), and what they
// tell of themselves with a registry of metrics.
func Setup(ctx context.Context, mgr ctrl.Manager, config plan.Config, namespaces []string, workers int, registry prometheus.Registerer) error {
	for _, o := range []client.Object{&batchv1.Job{}, &v1alpha1.ScoringBatch{}, &v1alpha1.PreferenceDataset{}} {
		if err := mgr.GetFieldIndexer().IndexField(ctx, o, ownerIndex, byLabel(v1alpha1.LabelOwnerUID)); err != nil {
			return fmt.Errorf("index %T: %w", o, err)
		}
	}
	if err := mgr.GetFieldIndexer().IndexField(ctx, &batchv1.Job{}, unfinishedIndex, unfinished); err != nil {
		return fmt.Errorf("index unfinished Jobs: %w", err)
	}
	if err := mgr.GetFieldIndexer().IndexField(ctx, &corev1.Pod{}, ownerIndex, byLabel(batchv1.ControllerUidLabel)); err != nil {
		return fmt.Errorf("index pods: %w", err)
	}
	err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.AlignmentApproval{}, approvalIndex, func(o client.Object) []string {
		return []string{o.(*v1alpha1.AlignmentApproval).Spec.RunUID}
	})
	if err != nil {
		return fmt.Errorf("index approvals: %w", err)
	}
	if err := indexNames(ctx, mgr); err != nil {
		return err
	}
	e := &Engine{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Events: mgr.GetEventRecorder("spatialalign-operator"),
		Clock: clock.RealClock{}, Config: config, Progress: NewHTTPProgress(), Workers: workers, Counters: metrics.NewCounters(registry),
	}
	if err := registry.Register(gauges{mgr.GetClient(), mgr.Elected(), e.Clock, &e.rooms, e.Counters}); err != nil {
		return fmt.Errorf("register the gauges: %w", err)
	}
	e.Kueue = newKueue(mgr, e.Clock, namespaces)
	if err := mgr.Add(e.Kueue); err != nil {
		return fmt.Errorf("set up the watch of Kueue: %w", err)
	}
	for _, c := range []interface{ SetupWithManager(ctrl.Manager) error }{&RunReconciler{e}, &BatchReconciler{e}, &DatasetReconciler{e}} {
		if err := c.SetupWithManager(mgr); err != nil {
			return fmt.Errorf("set up %T: %w", c, err)
		}
	}
	return nil
}

func byLabel(label string) client.IndexerFunc {
	return func(o client.Object) []string {
		if v := o.GetLabels()[label]; v != "" {
			return []string{v}
		}
		return nil
	}
}

// unfinished tells of a Job that has not ended.
func unfinished(o client.Object) []string {
	if jobs.Finished(o.(*batchv1.Job)) {
		return nil
	}
	return []string{"true"}
}
