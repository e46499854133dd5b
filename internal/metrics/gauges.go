package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
	"github.com/spatialalign/operator/internal/plan"
)

// The gauges.
const (
	InUse       = "spatialalign_gpus_in_use"
	Waiting     = "spatialalign_gpus_waiting"
	LongestWait = "spatialalign_longest_wait_seconds"
	Runs        = "spatialalign_runs"
	Recorded    = "spatialalign_recorded_gpu_seconds"
	NearBudget  = "spatialalign_runs_near_budget"
)

var descriptions = map[string]*prometheus.Desc{
	InUse:       describe(InUse, "GPUs of pods that have a node and have not ended.", "stage"),
	Waiting:     describe(Waiting, "GPUs that Jobs ask for and no pod of theirs has, and that stages need to begin which a ResourceQuota holds back.", "stage"),
	LongestWait: describe(LongestWait, "Age of the oldest Job of which no pod has run; since its suspension, where a queue holds it.", "stage"),
	Runs:        describe(Runs, "AlignmentRuns that exist, by phase.", "phase"),
	Recorded:    describe(Recorded, "GPU time in the status of the runs that exist, and of batches outside of runs."),
	NearBudget:  describe(NearBudget, "AlignmentRuns that have not ended and have used at least 90% of their budget."),
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, append([]string{"namespace", "runtime"}, labels...), nil)
}

// Describe the gauges.
func Describe(to chan<- *prometheus.Desc) {
	for _, d := range descriptions {
		to <- d
	}
}

// nearBudget is the part of a budget from which it is nearly spent.
const nearBudget = 0.9

// Observed is what exists. Nothing of it is changed.
type Observed struct {
	Now     time.Time
	Runs    []v1alpha1.AlignmentRun
	Batches []v1alpha1.ScoringBatch
	// Datasets have no gauges, but counters.
	Datasets []v1alpha1.PreferenceDataset
	// Jobs and Pods of ours.
	Jobs []batchv1.Job
	Pods []corev1.Pod
	// Held are the stages that have no pod because a ResourceQuota leaves no room.
	Held []Held
}

// users are the namespaces of what exists, each with the runtimes that are named there, and with none, as before an object is accepted.
func (o *Observed) users() map[user]bool {
	users := map[user]bool{}
	add := func(namespace, runtime string) {
		users[user{namespace, runtime}], users[user{namespace, ""}] = true, true
	}
	for i := range o.Runs {
		add(o.Runs[i].Namespace, o.Runs[i].Spec.RuntimeRef.Name)
	}
	for i := range o.Batches {
		add(o.Batches[i].Namespace, o.Batches[i].Spec.RuntimeRef.Name)
	}
	for i := range o.Datasets {
		add(o.Datasets[i].Namespace, o.Datasets[i].Spec.RuntimeRef.Name)
	}
	return users
}

// Held is a stage with the pods that it needs to begin.
type Held struct {
	Namespace string
	// Owner of the stage, by its UID.
	Owner types.UID
	Stage v1alpha1.StageName
	Pod   *corev1.PodSpec
	Pods  int32
}

// Gauge is a value with its labels.
type Gauge struct {
	Metric string
	// Labels are namespace, runtime and, where the metric has one, stage or phase.
	Labels []string
	Value  float64
}

// Const is the gauge as Prometheus' library has it.
func (g Gauge) Const() prometheus.Metric {
	return prometheus.MustNewConstMetric(descriptions[g.Metric], prometheus.GaugeValue, g.Value, g.Labels...)
}

// owner is what the labels of a Job's GPUs come from.
type owner struct {
	runtime string
	gpus    jobs.GPUs
}

// Gauges of what exists, in no order.
func Gauges(o Observed) []Gauge {
	t := totals{}
	owners := map[types.UID]owner{}
	for i := range o.Runs {
		run := &o.Runs[i]
		runtime := t.run(run)
		if s := run.Status.Runtime; s != nil {
			owners[run.UID] = owner{runtime, jobs.CountedBy(&s.Spec)}
		}
	}
	for i := range o.Batches {
		t.batch(&o.Batches[i], owners)
	}
	pods := map[types.UID][]corev1.Pod{}
	for i := range o.Pods {
		if by := metav1.GetControllerOfNoCopy(&o.Pods[i]); by != nil {
			pods[by.UID] = append(pods[by.UID], o.Pods[i])
		}
	}
	for i := range o.Jobs {
		job := &o.Jobs[i]
		if by := metav1.GetControllerOfNoCopy(job); by != nil {
			t.job(job, pods[job.UID], owners[by.UID], o.Now)
		}
	}
	for _, h := range o.Held {
		if by := owners[h.Owner]; h.Pod != nil {
			t.waiting(h.Namespace, by, h.Stage, int64(h.Pods)*by.gpus.Of(h.Pod))
		}
	}
	return t.gauges()
}

// key of a gauge.
type key struct {
	metric, namespace, runtime string
	// label is the stage or phase; empty for a metric that has none.
	label string
}

type totals map[key]float64

// run counts a run, and returns the runtime that it may be labelled with: what was not accepted may name anything.
func (t totals) run(run *v1alpha1.AlignmentRun) (runtime string) {
	if run.Status.Runtime != nil {
		runtime = run.Spec.RuntimeRef.Name
	}
	phase := run.Status.Phase
	if phase == "" {
		phase = v1alpha1.PhasePending
	}
	t[key{Runs, run.Namespace, runtime, string(phase)}]++
	if runtime == "" {
		return runtime
	}
	t[key{Recorded, run.Namespace, runtime, ""}] += float64(run.Status.GPUSeconds)
	budget := float64(plan.BudgetSeconds(run))
	if budget > 0 && float64(run.Status.GPUSeconds) >= nearBudget*budget && !plan.Ended(run.Status.Conditions) {
		t[key{NearBudget, run.Namespace, runtime, ""}]++
	}
	return runtime
}

// batch of nobody's counts its own GPU time.
func (t totals) batch(batch *v1alpha1.ScoringBatch, owners map[types.UID]owner) {
	by := metav1.GetControllerOfNoCopy(batch)
	if by != nil {
		owners[batch.UID] = owners[by.UID]
		return
	}
	if batch.Status.Runtime == nil {
		return
	}
	runtime := batch.Spec.RuntimeRef.Name
	owners[batch.UID] = owner{runtime, jobs.CountedBy(&batch.Status.Runtime.Spec)}
	t[key{Recorded, batch.Namespace, runtime, ""}] += float64(batch.Status.GPUSeconds)
}

func (t totals) job(job *batchv1.Job, pods []corev1.Pod, by owner, now time.Time) {
	stage := v1alpha1.StageName(job.Labels[v1alpha1.LabelStage])
	if jobs.Slug(stage) == "" {
		return // no Job of ours, whatever it calls itself
	}
	d := jobs.Demanded(job, pods, by.gpus, now)
	if d.InUse > 0 {
		t[key{InUse, job.Namespace, by.runtime, string(stage)}] += float64(d.InUse)
	}
	t.waiting(job.Namespace, by, stage, d.Waiting)
	if k := (key{LongestWait, job.Namespace, by.runtime, string(stage)}); d.Waited > 0 {
		t[k] = max(t[k], d.Waited.Seconds())
	}
}

func (t totals) waiting(namespace string, by owner, stage v1alpha1.StageName, gpus int64) {
	if gpus > 0 {
		t[key{Waiting, namespace, by.runtime, string(stage)}] += float64(gpus)
	}
}

func (t totals) gauges() []Gauge {
	list := make([]Gauge, 0, len(t))
	for k, value := range t {
		labels := []string{k.namespace, k.runtime}
		if k.label != "" {
			labels = append(labels, k.label)
		}
		list = append(list, Gauge{k.metric, labels, value})
	}
	return list
}
