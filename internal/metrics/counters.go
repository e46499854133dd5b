package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// The counters, and the histogram of waiting times.
const (
	UsedGPUSeconds = "spatialalign_used_gpu_seconds_total"
	GPUSeconds     = "spatialalign_gpu_seconds_total"
	Attempts       = "spatialalign_stage_attempts_total"
	Interruptions  = "spatialalign_gpu_pod_interruptions_total"
	Wait           = "spatialalign_stage_wait_seconds"
	Finished       = "spatialalign_runs_finished_total"
)

// waits that tell a busy node from a full queue: seconds to days.
var waits = []float64{5, 30, 120, 600, 3600, 4 * 3600, 24 * 3600}

// Counters of one operator. They start at 0 with it.
type Counters struct {
	used, gpuSeconds, attempts, interruptions, finished *prometheus.CounterVec
	wait                                                *prometheus.HistogramVec
	// begun has every place whose series exist.
	begun sync.Map
	// seen is when something was last in a namespace, of a runtime, that has series; of Forget alone.
	seen map[user]time.Time
	lock sync.Mutex
}

// user of a runtime.
type user struct{ namespace, runtime string }

// kept is how long series outlive the last object that they are about: every scraper has their last value by then.
const kept = time.Hour

// NewCounters makes the counters, and registers them.
func NewCounters(registry prometheus.Registerer) *Counters {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"namespace", "runtime"}, labels...))
	}
	c := &Counters{
		seen:          map[user]time.Time{},
		used:          counter(UsedGPUSeconds, "GPU time of pods as it passes, from scheduling to end, as recorded in status.", "stage"),
		gpuSeconds:    counter(GPUSeconds, "GPU time of pods that ended, by how they did: Succeeded, Failed or Interrupted.", "stage", "outcome"),
		attempts:      counter(Attempts, "Attempts of stages that ended, by outcome: Succeeded, Interrupted, or the class of the failure.", "stage", "outcome"),
		interruptions: counter(Interruptions, "GPU pods that were seen to be evicted, preempted, deleted, told to stop or lost.", "stage"),
		finished:      counter(Finished, "AlignmentRuns that ended, by the reason of their condition Complete or Failed.", "reason"),
		wait: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: Wait, Help: "Time from the creation of a stage's Job until a pod of it ran.", Buckets: waits,
		}, []string{"namespace", "runtime", "stage"}),
	}
	registry.MustRegister(c.used, c.gpuSeconds, c.attempts, c.interruptions, c.finished, c.wait)
	return c
}

// place is what the series of a stage, or with an empty stage of whole runs, are told apart by.
type place struct{ namespace, runtime, stage string }

// Begin makes the series of a status, at 0 where they are new: Prometheus' increase sees growth, not what a series begins with.
func (c *Counters) Begin(namespace, runtime string, s Status) {
	if s.Run && c.first(place{namespace, runtime, ""}) {
		for _, reason := range endings {
			c.finished.WithLabelValues(namespace, runtime, reason)
		}
	}
	for _, records := range s.Stages {
		for i := range records {
			stage := records[i].Name
			if s.Run && nested(stage) {
				stage = v1alpha1.StageTrack
			}
			if c.first(place{namespace, runtime, string(stage)}) {
				c.beginStage(namespace, runtime, stage)
			}
		}
	}
}

// Forget drops the series of namespaces, and in them of runtimes, that nothing has been in for long: or they would be as many as ever were.
func (c *Counters) Forget(o Observed) {
	c.lock.Lock()
	defer c.lock.Unlock()
	users := o.users()
	c.begun.Range(func(p, _ any) bool {
		u := user{p.(place).namespace, p.(place).runtime}
		if _, known := c.seen[u]; !known || users[u] {
			c.seen[u] = o.Now
		}
		return true
	})
	for u, last := range c.seen {
		if o.Now.Sub(last) >= kept {
			delete(c.seen, u)
			c.drop(u)
		}
	}
}

func (c *Counters) drop(u user) {
	c.begun.Range(func(p, _ any) bool {
		if u == (user{p.(place).namespace, p.(place).runtime}) {
			c.begun.Delete(p)
		}
		return true
	})
	labels := prometheus.Labels{"namespace": u.namespace, "runtime": u.runtime}
	for _, v := range []*prometheus.CounterVec{c.used, c.gpuSeconds, c.attempts, c.interruptions, c.finished} {
		v.DeletePartialMatch(labels)
	}
	c.wait.DeletePartialMatch(labels)
}

func (c *Counters) first(p place) bool {
	_, before := c.begun.LoadOrStore(p, true)
	return !before
}

func (c *Counters) beginStage(namespace, runtime string, stage v1alpha1.StageName) {
	c.wait.WithLabelValues(namespace, runtime, string(stage))
	for _, outcome := range append([]string{OutcomeSucceeded, outcomeOther}, classes...) {
		c.attempts.WithLabelValues(namespace, runtime, string(stage), outcome)
	}
	switch stage {
	case v1alpha1.StageSample, v1alpha1.StageTrack, v1alpha1.StageTrain, v1alpha1.StageEvaluationSample, v1alpha1.StageReevaluationSample,
		v1alpha1.StageTestSample:
		c.used.WithLabelValues(namespace, runtime, string(stage))
		c.interruptions.WithLabelValues(namespace, runtime, string(stage))
		for _, outcome := range []string{OutcomeSucceeded, OutcomeFailed, OutcomeInterrupted} {
			c.gpuSeconds.WithLabelValues(namespace, runtime, string(stage), outcome)
		}
	}
}

// endings of runs.
var endings = []string{
	v1alpha1.ReasonTargetReached, v1alpha1.ReasonIterationsCompleted, v1alpha1.ReasonConverged, v1alpha1.ReasonNoImprovement, v1alpha1.ReasonRejected,
	v1alpha1.ReasonCollapsed, v1alpha1.ReasonInsufficientPairs, v1alpha1.ReasonGuardrailTripped, v1alpha1.ReasonBudgetExceeded,
	v1alpha1.ReasonDeadlineExceeded, v1alpha1.ReasonApprovalDenied, v1alpha1.ReasonApprovalTimedOut, v1alpha1.ReasonStageFailed,
	v1alpha1.ReasonTooManyInvalid, v1alpha1.ReasonInvalidSpec,
}

// Add what a recorded change of status tells of an object in a namespace, of a runtime.
func (c *Counters) Add(namespace, runtime string, increments []Increment) {
	for _, i := range increments {
		switch i.Metric {
		case UsedGPUSeconds:
			c.used.WithLabelValues(namespace, runtime, i.Stage).Add(i.Value)
		case GPUSeconds:
			c.gpuSeconds.WithLabelValues(namespace, runtime, i.Stage, i.Outcome).Add(i.Value)
		case Attempts:
			c.attempts.WithLabelValues(namespace, runtime, i.Stage, i.Outcome).Add(i.Value)
		case Interruptions:
			c.interruptions.WithLabelValues(namespace, runtime, i.Stage).Add(i.Value)
		case Finished:
			c.finished.WithLabelValues(namespace, runtime, i.Outcome).Add(i.Value)
		case Wait:
			c.wait.WithLabelValues(namespace, runtime, i.Stage).Observe(i.Value)
		}
	}
}
