package metrics_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/metrics"
)

// everything is a registry with a value of every metric.
func everything(t *testing.T) *prometheus.Registry {
	t.Helper()
	registry := prometheus.NewRegistry()
	c := metrics.NewCounters(registry)
	for _, name := range []string{metrics.UsedGPUSeconds, metrics.GPUSeconds, metrics.Attempts, metrics.Interruptions, metrics.Wait, metrics.Finished} {
		c.Add("team-a", "wan", []metrics.Increment{{Metric: name, Stage: "Train", Outcome: "Failed", Value: 2}, {Metric: name, Stage: "Train", Outcome: "Failed", Value: 40}})
	}
	if err := registry.Register(gauges{}); err != nil {
		t.Fatal(err)
	}
	return registry
}

// gauges of every kind.
type gauges struct{}

func (gauges) Describe(to chan<- *prometheus.Desc) { metrics.Describe(to) }

func (gauges) Collect(to chan<- prometheus.Metric) {
	for _, name := range []string{metrics.InUse, metrics.Waiting, metrics.LongestWait, metrics.Runs} {
		to <- metrics.Gauge{Metric: name, Labels: []string{"team-a", "wan", "Train"}, Value: 1}.Const()
	}
	for _, name := range []string{metrics.Recorded, metrics.NearBudget} {
		to <- metrics.Gauge{Metric: name, Labels: []string{"team-a", "wan"}, Value: 1}.Const()
	}
}

func TestCountersCount(t *testing.T) {
	want := `
# HELP spatialalign_gpu_seconds_total GPU time of pods that ended, by how they did: Succeeded, Failed or Interrupted.
# TYPE spatialalign_gpu_seconds_total counter
spatialalign_gpu_seconds_total{namespace="team-a",outcome="Failed",runtime="wan",stage="Train"} 42
# HELP spatialalign_stage_wait_seconds Time from the creation of a stage's Job until a pod of it ran.
# TYPE spatialalign_stage_wait_seconds histogram
spatialalign_stage_wait_seconds_bucket{namespace="team-a",runtime="wan",stage="Train",le="5"} 1
spatialalign_stage_wait_seconds_bucket{namespace="team-a",runtime="wan",stage="Train",le="30"} 1
spatialalign_stage_wait_seconds_bucket{namespace="team-a",runtime="wan",stage="Train",le="120"} 2
spatialalign_stage_wait_seconds_bucket{namespace="team-a",runtime="wan",stage="Train",le="600"} 2
spatialalign_stage_wait_seconds_bucket{namespace="team-a",runtime="wan",stage="Train",le="3600"} 2
spatialalign_stage_wait_seconds_bucket{namespace="team-a",runtime="wan",stage="Train",le="14400"} 2
spatialalign_stage_wait_seconds_bucket{namespace="team-a",runtime="wan",stage="Train",le="86400"} 2
spatialalign_stage_wait_seconds_bucket{namespace="team-a",runtime="wan",stage="Train",le="+Inf"} 2
spatialalign_stage_wait_seconds_sum{namespace="team-a",runtime="wan",stage="Train"} 42
spatialalign_stage_wait_seconds_count{namespace="team-a",runtime="wan",stage="Train"} 2
`
	if err := testutil.GatherAndCompare(everything(t), strings.NewReader(want), metrics.GPUSeconds, metrics.Wait); err != nil {
		t.Error(err)
	}
}

// Series begin at 0 with the first status that has their stage, so that what comes first is growth; stages without GPUs have none of theirs.
func TestSeriesBeginAtZero(t *testing.T) {
	registry := prometheus.NewRegistry()
	c := metrics.NewCounters(registry)
	s := metrics.Status{Run: true, Stages: map[int32][]v1alpha1.StageStatus{0: {
		{Name: v1alpha1.StagePrepare}, {Name: v1alpha1.StageSample}, {Name: v1alpha1.StageEvaluationScore},
	}}}
	for range 2 {
		c.Begin("team-a", "wan", s)
	}
	for metric, want := range map[string]int{
		metrics.Attempts: 3 * 14, metrics.Wait: 3, metrics.UsedGPUSeconds: 2, metrics.GPUSeconds: 2 * 3, metrics.Interruptions: 2, metrics.Finished: 15,
	} {
		if got, err := testutil.GatherAndCount(registry, metric); err != nil || got != want {
			t.Errorf("%s has %d series, want %d, %v", metric, got, want, err)
		}
	}
	c.Add("team-a", "wan", []metrics.Increment{{Metric: metrics.GPUSeconds, Stage: "Sample", Outcome: "Succeeded", Value: 3}})
	c.Begin("team-a", "wan", s)
	want := strings.NewReader(`
# HELP spatialalign_gpu_seconds_total GPU time of pods that ended, by how they did: Succeeded, Failed or Interrupted.
# TYPE spatialalign_gpu_seconds_total counter
spatialalign_gpu_seconds_total{namespace="team-a",outcome="Failed",runtime="wan",stage="Sample"} 0
spatialalign_gpu_seconds_total{namespace="team-a",outcome="Interrupted",runtime="wan",stage="Sample"} 0
spatialalign_gpu_seconds_total{namespace="team-a",outcome="Succeeded",runtime="wan",stage="Sample"} 3
spatialalign_gpu_seconds_total{namespace="team-a",outcome="Failed",runtime="wan",stage="Track"} 0
spatialalign_gpu_seconds_total{namespace="team-a",outcome="Interrupted",runtime="wan",stage="Track"} 0
spatialalign_gpu_seconds_total{namespace="team-a",outcome="Succeeded",runtime="wan",stage="Track"} 0
`)
	if err := testutil.GatherAndCompare(registry, want, metrics.GPUSeconds); err != nil {
		t.Error(err)
	}
}

// Series of a namespace, or of a runtime in it, that nothing is in any more go after an hour, and begin at 0 when something comes back.
func TestSeriesOfWhatIsGoneAreDropped(t *testing.T) {
	registry := prometheus.NewRegistry()
	c := metrics.NewCounters(registry)
	begin := func(namespace, runtime string) {
		c.Begin(namespace, runtime, metrics.Status{Run: true, Stages: map[int32][]v1alpha1.StageStatus{0: {{Name: v1alpha1.StageSample}}}})
	}
	count := func(namespace, runtime string) {
		begin(namespace, runtime)
		c.Add(namespace, runtime, []metrics.Increment{{Metric: metrics.UsedGPUSeconds, Stage: "Sample", Value: 5}})
	}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	// forget what is gone some minutes after the start, when there are these users of runtimes.
	forget := func(minutes int, users ...string) {
		o := metrics.Observed{Now: start.Add(time.Duration(minutes) * time.Minute)}
		for i, u := range users {
			namespace, runtime, _ := strings.Cut(u, "/")
			m, ref := metav1.ObjectMeta{Namespace: namespace}, v1alpha1.RuntimeReference{Name: runtime}
			switch i % 3 { // whatever kind it is
			case 0:
				o.Runs = append(o.Runs, v1alpha1.AlignmentRun{ObjectMeta: m, Spec: v1alpha1.AlignmentRunSpec{RuntimeRef: ref}})
			case 1:
				o.Batches = append(o.Batches, v1alpha1.ScoringBatch{ObjectMeta: m, Spec: v1alpha1.ScoringBatchSpec{RuntimeRef: ref}})
			case 2:
				o.Datasets = append(o.Datasets, v1alpha1.PreferenceDataset{ObjectMeta: m, Spec: v1alpha1.PreferenceDatasetSpec{RuntimeRef: ref}})
			}
		}
		c.Forget(o)
	}
	expect := func(when string, want map[string]float64) {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		used, others := map[string]float64{}, map[string]bool{}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				label := map[string]string{}
				for _, l := range m.GetLabel() {
					label[l.GetName()] = l.GetValue()
				}
				place := label["namespace"] + "/" + label["runtime"]
				others[place] = true
				if f.GetName() == metrics.UsedGPUSeconds {
					used[place] = m.GetCounter().GetValue()
				}
			}
		}
		if diff := cmp.Diff(want, used); diff != "" || len(others) != len(want) {
			t.Errorf("%s: %s series of any metric: %v", when, diff, others)
		}
	}
	all := map[string]float64{"team-a/wan": 5, "team-a/old": 5, "team-a/": 5, "team-b/wan": 5, "team-c/wan": 5}
	for place := range all {
		namespace, runtime, _ := strings.Cut(place, "/")
		count(namespace, runtime)
	}
	forget(0, "team-a/wan", "team-b/wan", "team-c/wan")
	forget(59, "team-b/wan", "team-b/wan", "team-a/wan")
	expect("within the hour", all)
	forget(60, "team-a/wan", "team-b/wan")
	expect("after an hour", map[string]float64{"team-a/wan": 5, "team-a/": 5, "team-b/wan": 5})
	forget(118, "team-a/wan")
	begin("team-c", "wan")
	forget(120, "team-a/wan")
	expect("after another, with one that came back", map[string]float64{"team-a/wan": 5, "team-a/": 5, "team-c/wan": 0})
}

// Names, units and help texts are as Prometheus wants them.
func TestLint(t *testing.T) {
	problems, err := testutil.GatherAndLint(everything(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// The page has every metric, with its type and its labels, and no other.
func TestPageHasEveryMetric(t *testing.T) {
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(spatialalign_[a-z_]+)` \\| ([a-z]+) \\|([^|]*)\\|").FindAllStringSubmatch(string(page), -1) {
		labels := append([]string{"namespace", "runtime"}, regexp.MustCompile("[a-z]+").FindAllString(row[3], -1)...)
		slices.Sort(labels)
		documented = append(documented, fmt.Sprint(row[1], " ", row[2], " ", labels))
	}
	families, err := everything(t).Gather()
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, f := range families {
		var labels []string
		for _, l := range f.Metric[0].Label {
			labels = append(labels, l.GetName())
		}
		slices.Sort(labels)
		have = append(have, fmt.Sprint(f.GetName(), " ", strings.ToLower(f.GetType().String()), " ", labels))
	}
	slices.Sort(documented)
	slices.Sort(have)
	if diff := cmp.Diff(have, documented); diff != "" {
		t.Errorf("docs/metrics.md (-operator +page):\n%s", diff)
	}
}
