package stage

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/spatialalign/operator/internal/contract"
)

// Progress is what a stage tells while it runs. Every Add, Skip and Checkpoint is also a heartbeat:
// without one for the heartbeat time the container reports itself unhealthy and is restarted.
type Progress struct {
	now       func() time.Time
	heartbeat time.Duration

	mu             sync.Mutex
	started        time.Time // of the measured work: the last Total
	stepped        time.Time
	done, total    int64
	skipped        int64
	unit           string
	metrics        map[string]float64
	lastCheckpoint time.Time
}

func newProgress(now func() time.Time, heartbeat time.Duration) *Progress {
	t := now()
	return &Progress{now: now, heartbeat: heartbeat, started: t, stepped: t, metrics: map[string]float64{}}
}

// Total says how many units (samples, steps, ...) there are to do, and starts over from zero.
func (p *Progress) Total(total int64, unit string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done, p.skipped, p.total, p.unit = 0, 0, total, unit
	p.started = p.now()
	p.stepped = p.started
}

// Add says that n more units are done.
func (p *Progress) Add(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	p.stepped = p.now()
}

// Skip says that n units were there already; they do not enter the estimate of the remaining time.
func (p *Progress) Skip(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	p.skipped += n
	p.stepped = p.now()
}

// Beat says that there is no step to make, and that this is no fault: others are waited for.
func (p *Progress) Beat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stepped = p.now()
}

// Metric shows a current value, for example the loss. NaN and infinities remove it.
func (p *Progress) Metric(name string, value float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if math.IsNaN(value) || math.IsInf(value, 0) {
		delete(p.metrics, name)
		return
	}
	p.metrics[name] = value
}

// Checkpoint says that progress was saved just now.
func (p *Progress) Checkpoint() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastCheckpoint = p.now()
	p.stepped = p.lastCheckpoint
}

// snapshot is the answer of /progress.
func (p *Progress) snapshot() contract.Progress {
	p.mu.Lock()
	defer p.mu.Unlock()
	answer := contract.Progress{Done: p.done, Total: p.total, Unit: p.unit}
	if p.total > 0 {
		answer.ProgressPercentage = int32(min(100, 100*p.done/p.total))
	}
	if measured := p.done - p.skipped; measured > 0 && p.total > p.done {
		perUnit := p.stepped.Sub(p.started).Seconds() / float64(measured)
		answer.EstimatedRemainingSeconds = int64(math.Ceil(perUnit * float64(p.total-p.done)))
	}
	for _, name := range slices.Sorted(maps.Keys(p.metrics)) {
		answer.Metrics = append(answer.Metrics, contract.Metric{Name: name, Value: decimal(p.metrics[name])})
	}
	if !p.lastCheckpoint.IsZero() {
		answer.LastCheckpointTime = p.lastCheckpoint.UTC().Format(time.RFC3339)
	}
	return answer
}

// stalled is how long ago the last step was, when that is longer than the heartbeat.
func (p *Progress) stalled() (since time.Duration, stalled bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	since = p.now().Sub(p.stepped)
	return since, since > p.heartbeat
}

// handler serves /progress, /healthz and /metrics.
func (p *Progress) handler(stage contract.Stage) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /progress", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		// The reader has gone when this fails, and losing progress fails nothing.
		_ = json.NewEncoder(w).Encode(p.snapshot())
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if since, stalled := p.stalled(); stalled {
			http.Error(w, fmt.Sprintf("no step for %s, longer than the heartbeat of %s", since.Round(time.Second), p.heartbeat), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	registry := prometheus.NewRegistry()
	registry.MustRegister(&collector{progress: p, stage: stage})
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return mux
}

// collector shows a Progress as Prometheus metrics.
type collector struct {
	progress *Progress
	stage    contract.Stage
}

var (
	descDone   = prometheus.NewDesc("spatialalign_stage_done", "Units (samples, steps) done.", []string{"stage", "unit"}, nil)
	descTotal  = prometheus.NewDesc("spatialalign_stage_total", "Units (samples, steps) to do.", []string{"stage", "unit"}, nil)
	descStep   = prometheus.NewDesc("spatialalign_stage_last_step_age_seconds", "Seconds since the last step.", []string{"stage"}, nil)
	descMetric = prometheus.NewDesc("spatialalign_stage_metric", "Current value of a metric of the stage, for example its loss.", []string{"stage", "name"}, nil)
)

// Describe implements prometheus.Collector.
func (c *collector) Describe(descriptions chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descDone, descTotal, descStep, descMetric} {
		descriptions <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(metrics chan<- prometheus.Metric) {
	since, _ := c.progress.stalled()
	c.progress.mu.Lock()
	defer c.progress.mu.Unlock()
	stage := string(c.stage)
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	gauge(descDone, float64(c.progress.done), stage, c.progress.unit)
	gauge(descTotal, float64(c.progress.total), stage, c.progress.unit)
	gauge(descStep, since.Seconds(), stage)
	for name, value := range c.progress.metrics {
		gauge(descMetric, value, stage, name)
	}
}
