package metrics

import "github.com/prometheus/client_golang/prometheus"

// The counters, and the histogram of waiting times.
const (
	GPUSeconds       = "spatialalign_gpu_seconds_total"
	WastedGPUSeconds = "spatialalign_wasted_gpu_seconds_total"
	Attempts         = "spatialalign_stage_attempts_total"
	Interruptions    = "spatialalign_gpu_pod_interruptions_total"
	Wait             = "spatialalign_stage_wait_seconds"
	Finished         = "spatialalign_runs_finished_total"
)

// waits that tell a busy node from a full queue: seconds to days.
var waits = []float64{5, 30, 120, 600, 3600, 4 * 3600, 24 * 3600}

// Counters of one operator. They start at 0 with it.
type Counters struct {
	gpuSeconds, wasted, attempts, interruptions, finished *prometheus.CounterVec
	wait                                                  *prometheus.HistogramVec
}

// NewCounters makes the counters, and registers them.
func NewCounters(registry prometheus.Registerer) *Counters {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"namespace", "runtime"}, labels...))
	}
	c := &Counters{
		gpuSeconds:    counter(GPUSeconds, "GPU time of pods, from scheduling to end, as recorded in status.", "stage"),
		wasted:        counter(WastedGPUSeconds, "GPU time of pods that failed or were interrupted, as recorded in status.", "stage", "outcome"),
		attempts:      counter(Attempts, "Attempts of stages that ended, by outcome: Succeeded, Interrupted, or the class of the failure.", "stage", "outcome"),
		interruptions: counter(Interruptions, "GPU pods that were seen to be evicted, preempted, deleted, told to stop or lost.", "stage"),
		finished:      counter(Finished, "AlignmentRuns that ended, by the reason of their condition Complete or Failed.", "reason"),
		wait: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: Wait, Help: "Time from the creation of a stage's Job until a pod of it ran.", Buckets: waits,
		}, []string{"namespace", "runtime", "stage"}),
	}
	registry.MustRegister(c.gpuSeconds, c.wasted, c.attempts, c.interruptions, c.finished, c.wait)
	return c
}

// Add what a recorded change of status tells of an object in a namespace, of a runtime.
func (c *Counters) Add(namespace, runtime string, increments []Increment) {
	for _, i := range increments {
		switch i.Metric {
		case GPUSeconds:
			c.gpuSeconds.WithLabelValues(namespace, runtime, i.Stage).Add(i.Value)
		case WastedGPUSeconds:
			c.wasted.WithLabelValues(namespace, runtime, i.Stage, i.Outcome).Add(i.Value)
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
