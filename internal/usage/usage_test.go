package usage_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/golden"
	"github.com/spatialalign/operator/internal/usage"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func wasted(failed, interrupted int64) *v1alpha1.WastedGPUSeconds {
	return &v1alpha1.WastedGPUSeconds{Failed: failed, Interrupted: interrupted}
}

// run with a training that failed once and was evicted once, and with iterations whose stages status has dropped.
func run(namespace, name, runtime string, ended *time.Time) v1alpha1.AlignmentRun {
	r := v1alpha1.AlignmentRun{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	r.Spec.RuntimeRef.Name = runtime
	r.Status.GPUSeconds, r.Status.WastedGPUSeconds = 100*3600, wasted(4*3600, 2*3600)
	r.Status.Iterations = []v1alpha1.IterationStatus{{Stages: []v1alpha1.StageStatus{
		{Name: v1alpha1.StagePrepare},
		{Name: v1alpha1.StageSample, GPUSeconds: 20 * 3600},
		{Name: v1alpha1.StageTrain, GPUSeconds: 30 * 3600, WastedGPUSeconds: wasted(3*3600, 2*3600)},
	}}, {Stages: []v1alpha1.StageStatus{{Name: v1alpha1.StageTrain, GPUSeconds: 10 * 3600}}}}
	if ended != nil {
		r.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionFailed, Status: metav1.ConditionTrue, LastTransitionTime: metav1.NewTime(*ended)}}
	}
	return r
}

func batch(name string, owner *metav1.OwnerReference) v1alpha1.ScoringBatch {
	b := v1alpha1.ScoringBatch{ObjectMeta: metav1.ObjectMeta{Namespace: "team-b", Name: name}}
	if owner != nil {
		b.OwnerReferences = []metav1.OwnerReference{*owner}
	}
	b.Spec.RuntimeRef.Name = "wan"
	b.Status.GPUSeconds, b.Status.WastedGPUSeconds = 17, wasted(0, 5)
	return b
}

func TestUsage(t *testing.T) {
	runs := []v1alpha1.AlignmentRun{
		run("team-b", "spare", "wan", nil), run("team-a", "first", "wan", nil), run("team-a", "old", "tiny", ptr.To(noon.Add(-48*time.Hour))),
	}
	batches := []v1alpha1.ScoringBatch{batch("of-a-run", &metav1.OwnerReference{Controller: ptr.To(true)}), batch("my-videos", nil)}
	for _, tt := range []struct {
		golden, format string
		by             []string
		since          time.Time
	}{
		{"runs.txt", usage.Table, []string{"namespace", "runtime", "run"}, time.Time{}},
		{"namespaces.txt", usage.Table, []string{"namespace"}, time.Time{}},
		{"stages.txt", usage.Table, []string{"stage", "namespace"}, time.Time{}},
		{"since.txt", usage.Table, []string{"run"}, noon.Add(-24 * time.Hour)},
		{"all.csv", usage.CSV, usage.Keys, time.Time{}},
		{"runtimes.json", usage.JSON, []string{"runtime"}, time.Time{}},
	} {
		t.Run(tt.golden, func(t *testing.T) {
			var out strings.Builder
			rows := usage.Of(runs, batches, tt.by, tt.since)
			if err := usage.Print(&out, rows, tt.by, tt.format); err != nil {
				t.Fatal(err)
			}
			golden.Check(t, tt.golden, out.String())
			if total := usage.Total(rows); tt.since.IsZero() && total.GPUSeconds != 3*100*3600+17 {
				t.Errorf("the rows have %d GPU-seconds together, the statuses %d", total.GPUSeconds, 3*100*3600+17)
			}
		})
	}
}

func TestNoUsage(t *testing.T) {
	for format, want := range map[string]string{usage.Table: "No GPU time is recorded.\n", usage.JSON: "[]\n", usage.CSV: "run,gpuSeconds,usefulGPUSeconds,failedGPUSeconds,interruptedGPUSeconds\n"} {
		var out strings.Builder
		if err := usage.Print(&out, usage.Of(nil, nil, []string{"run"}, time.Time{}), []string{"run"}, format); err != nil || out.String() != want {
			t.Errorf("%s: %q, %v", format, out.String(), err)
		}
	}
}
