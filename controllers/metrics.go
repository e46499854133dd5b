package controllers

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/metrics"
)

// count adds a recorded change of an object's status to the counters.
func (e *Engine) count(o client.Object, runtime string, before, after ledger) {
	if !after.accepted {
		runtime = "" // it may name anything
	}
	owned := metav1.GetControllerOf(o) != nil
	_, run := o.(*v1alpha1.AlignmentRun)
	was, is := before.measured(run, owned), after.measured(run, owned)
	e.Counters.Begin(o.GetNamespace(), runtime, is)
	e.Counters.Add(o.GetNamespace(), runtime, metrics.Difference(was, is))
}

// measured is what metrics read of a ledger.
func (l ledger) measured(run, owned bool) metrics.Status {
	s := metrics.Status{Run: run, Owned: owned, Stages: make(map[int32][]v1alpha1.StageStatus, len(l.stages)), Conditions: *l.conditions}
	for k, records := range l.stages {
		s.Stages[k] = *records
	}
	return s
}

// gauges tells a scraper what exists, and what waits for room. It reads the cache and what the operator remembers, and only where
// this operator leads: the others say nothing, so that a sum over all of them is right.
type gauges struct {
	cache   client.Reader
	elected <-chan struct{}
	clock   clock.PassiveClock
	rooms   *rooms
	// counters forget what is gone when they are asked.
	counters *metrics.Counters
}

// gaugesTimeout is for a cache that is not filled yet.
const gaugesTimeout = 2 * time.Second

// Describe implements prometheus.Collector.
func (g gauges) Describe(descriptions chan<- *prometheus.Desc) { metrics.Describe(descriptions) }

// Collect implements prometheus.Collector.
func (g gauges) Collect(values chan<- prometheus.Metric) {
	select {
	case <-g.elected:
	default:
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), gaugesTimeout)
	defer cancel()
	observed, err := g.observe(ctx)
	if err != nil {
		ctrl.Log.WithName("metrics").Error(err, "the gauges are left out") // the counters need not be
		return
	}
	g.counters.Forget(observed)
	for _, v := range metrics.Gauges(observed) {
		values <- v.Const()
	}
}

func (g gauges) observe(ctx context.Context) (metrics.Observed, error) {
	var runs v1alpha1.AlignmentRunList
	var batches v1alpha1.ScoringBatchList
	var datasets v1alpha1.PreferenceDatasetList
	var jobs batchv1.JobList
	var pods corev1.PodList
	for _, list := range []client.ObjectList{&runs, &batches, &datasets, &jobs, &pods} {
		if err := g.cache.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return metrics.Observed{}, err
		}
	}
	now := g.clock.Now()
	return metrics.Observed{
		Now: now, Runs: runs.Items, Batches: batches.Items, Datasets: datasets.Items, Jobs: jobs.Items, Pods: pods.Items, Held: g.rooms.held(now),
	}, nil
}
