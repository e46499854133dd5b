package watch

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/golden"
)

func TestScreen(t *testing.T) {
	wide := Size{Columns: 100, Rows: 40}
	scoring, batch := midway()

	waiting := newRun()
	waiting.Status.Phase = v1alpha1.PhasePending
	waiting.Status.Conditions = []metav1.Condition{
		condition(v1alpha1.ConditionReconciling, v1alpha1.ReasonRuntimeNotFound, "AlignmentRuntime \"synthetic\" does not exist; waiting for it", 0),
	}

	preparing := stuckInPrepare()

	sampling := started()
	sample := running(v1alpha1.StageSample, "job", 10)
	sample.Attempt = new(int32(1))
	sample.Message = "pod first-run-0: 0/1 nodes are available:\n1 Insufficient nvidia.com/gpu \x1b[31m"
	sampling.Status.Iterations = []v1alpha1.IterationStatus{
		{Iteration: new(int32(0)), StartTime: at(0), Stages: []v1alpha1.StageStatus{
			done(v1alpha1.StagePrepare, 0, 3), running(v1alpha1.StageEvaluationSample, "other", 3),
		}},
		{Iteration: new(int32(1)), StartTime: at(3), Stages: []v1alpha1.StageStatus{sample}},
	}
	sampling.Status.Progress = &v1alpha1.ProgressStatus{
		Iteration: new(int32(0)), Stage: v1alpha1.StageEvaluationSample, Percentage: new(int32(8)), EstimatedRemainingSeconds: new(int64(310)), LastUpdatedTime: at(28),
	}

	failed := ended(v1alpha1.ConditionFailed, v1alpha1.ReasonStageFailed, "iteration 3, Train: diverged (NaN) at step 40")
	train := v1alpha1.StageStatus{Name: v1alpha1.StageTrain, State: v1alpha1.StageFailed, Attempt: new(int32(0)), StartTime: at(135), CompletionTime: at(140), Message: "loss is NaN at step 40"}
	failed.Status.Iterations = append(failed.Status.Iterations, v1alpha1.IterationStatus{Iteration: new(int32(3)), StartTime: at(130), Stages: []v1alpha1.StageStatus{train}})

	late := ended(v1alpha1.ConditionFailed, v1alpha1.ReasonDeadlineExceeded, "pods ran for activeDeadlineSeconds, 600")
	train.State, train.Message = v1alpha1.StageStopped, "stopped, as the run ended: DeadlineExceeded"
	late.Status.Iterations = append(late.Status.Iterations, v1alpha1.IterationStatus{Iteration: new(int32(3)), StartTime: at(130), Stages: []v1alpha1.StageStatus{train}})

	for _, tc := range []struct {
		name       string
		view       View
		size       Size
		connection string
	}{
		{"waiting", view(waiting, children{}), wide, ""},
		{"preparing", view(preparing, children{}), wide, ""},
		{"two-stages-at-once", view(sampling, children{}), wide, ""},
		{"scoring", view(scoring, batch), wide, ""},
		{"narrow", view(sampling, children{}), Size{Columns: 50, Rows: 40}, ""},
		{"low", view(scoring, batch), Size{Columns: 80, Rows: 10}, ""},
		{"very-low", view(scoring, batch), Size{Columns: 80, Rows: 6}, ""},
		{"no-connection", view(scoring, batch), wide, "API server, trying again: connection refused"},
		{"complete", view(ended(v1alpha1.ConditionComplete, v1alpha1.ReasonNoImprovement, "1 iteration did not raise the best accuracy"), children{}), wide, ""},
		{"failed", view(failed, children{}), wide, ""},
		{"stopped", view(late, children{}), wide, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rows := Screen(tc.view, begin.Add(35*time.Second), tc.size, false, tc.connection)
			if len(rows) >= tc.size.Rows {
				t.Errorf("%d rows on a terminal of %d", len(rows), tc.size.Rows)
			}
			for _, row := range rows {
				if columnsOf(row) > tc.size.Columns {
					t.Errorf("%d columns on a terminal of %d: %q", columnsOf(row), tc.size.Columns, row)
				}
			}
			golden.Check(t, "screen-"+tc.name+".txt", strings.Join(rows, "\n")+"\n")
		})
	}
}

// TestStages: the stages of every iteration are those that it has, and nothing that is recorded is left out.
func TestStages(t *testing.T) {
	const recorded, ahead = v1alpha1.StageSucceeded, v1alpha1.StageState("")
	again := done(v1alpha1.StageSample, 9, 10)
	again.Round = new(int32(1))
	for _, tc := range []struct {
		name      string
		iteration int32
		records   []v1alpha1.StageStatus
		want      []Stage
	}{
		{"the baseline begins with Prepare", 0, nil, []Stage{
			{Name: v1alpha1.StagePrepare, State: ahead}, {Name: v1alpha1.StageEvaluationSample, State: ahead}, {Name: v1alpha1.StageEvaluationScore, State: ahead},
		}},
		{"a baseline taken over needs no samples", 0, []v1alpha1.StageStatus{done(v1alpha1.StageEvaluationScore, 1, 2)}, []Stage{
			{Name: v1alpha1.StageEvaluationScore, State: recorded},
		}},
		{"what the loop does not have in iteration 0", 0, []v1alpha1.StageStatus{done(v1alpha1.StageEvaluationScore, 1, 2), done(v1alpha1.StageEvaluationPrepare, 2, 3)}, []Stage{
			{Name: v1alpha1.StageEvaluationScore, State: recorded}, {Name: v1alpha1.StageEvaluationPrepare, State: recorded},
		}},
		{"without Prepare, and with another round and a test", 2, []v1alpha1.StageStatus{
			done(v1alpha1.StageSample, 1, 2), again, done(v1alpha1.StageCompare, 2, 3), done(v1alpha1.StageTestSample, 3, 4),
		}, []Stage{
			{Name: v1alpha1.StageSample, State: recorded}, {Name: v1alpha1.StageCompare, State: recorded}, {Name: v1alpha1.StageLineage, State: ahead},
			{Name: v1alpha1.StageSample, Round: 1, State: recorded}, {Name: v1alpha1.StageTestSample, State: recorded},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := stagesOf(tc.records, tc.iteration, func(rec *v1alpha1.StageStatus) Stage {
				return Stage{Name: rec.Name, Round: round(rec), State: rec.State}
			})
			if !slices.Equal(got, tc.want) {
				t.Errorf("got  %+v\nwant %+v", got, tc.want)
			}
		})
	}
}

func TestTable(t *testing.T) {
	onlyBase := started()
	onlyBase.Status.Iterations = []v1alpha1.IterationStatus{baseline()}
	onlyBase.Status.Best = &v1alpha1.BestAdapter{Iteration: new(int32(0)), Accuracy: "0.352"}
	for name, run := range map[string]*v1alpha1.AlignmentRun{
		"complete":  ended(v1alpha1.ConditionComplete, v1alpha1.ReasonIterationsCompleted, "all iterations done"),
		"base-best": onlyBase,
		"nothing":   newRun(),
	} {
		t.Run(name, func(t *testing.T) { golden.Check(t, "table-"+name+".txt", Table(view(run, children{}))) })
	}
}

func TestProgressCountsDown(t *testing.T) {
	p := Progress{Remaining: 20 * time.Second, Updated: begin}
	for after, want := range map[time.Duration]time.Duration{0: 20 * time.Second, 8 * time.Second: 12 * time.Second, time.Minute: 0} {
		if left, known := p.Left(begin.Add(after)); !known || left != want {
			t.Errorf("after %v: %v, %v; want %v", after, left, known, want)
		}
	}
	if _, known := (&Progress{Remaining: -1, Updated: begin}).Left(begin); known {
		t.Error("an estimate that nobody made")
	}
}

func TestDurations(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 8400 * time.Millisecond: "8s", 102 * time.Second: "1m42s", 2*time.Hour + 5*time.Minute: "2h05m", 76 * time.Hour: "3d04h",
	} {
		if got := short(d); got != want {
			t.Errorf("short(%v) = %q, want %q", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "00:00:00", -time.Second: "-00:00:01", 25 * time.Hour: "25:00:00"} {
		if got := clockTime(d); got != want {
			t.Errorf("clockTime(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestLinesAreCutByColumn(t *testing.T) {
	for _, tc := range []struct {
		text    string
		columns int
		want    string
	}{
		{"short", 10, "short"}, {"exactly 10", 10, "exactly 10"}, {"a bit too long", 10, "a bit too…"}, {"東京東京東京", 7, "東京東…"},
	} {
		if got := (line{{tc.text, plain}}).render(tc.columns, false); got != tc.want {
			t.Errorf("%q in %d columns: %q, want %q", tc.text, tc.columns, got, tc.want)
		}
	}
	if got := (line{{"ab", green}, {"cdef", plain}}).render(4, true); got != "\x1b[32mab\x1b[0mc…" {
		t.Errorf("colour changes where a line is cut: %q", got)
	}
}
