package watch

import (
	"slices"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// View is what there is to see of a run.
type View struct {
	Namespace, Name string
	// Runtime and Model are names; Model is empty until the run is accepted.
	Runtime, Model string
	Phase          v1alpha1.RunPhase
	// Start is when the run was accepted, or created as long as it was not. End is zero while it goes on.
	Start, End time.Time
	// Threshold is the headline threshold, as in Acc@0.7.
	Threshold  string
	Iterations []Iteration
	// Wanted is spec.iterations.
	Wanted int32
	Best   *v1alpha1.BestAdapter
	// Notes say why nothing moves: waiting, stalled, suspended.
	Notes []Note
	// Ending is the terminal condition, nil while the run goes on.
	Ending *Note
}

// Note is a condition that is true.
type Note struct {
	Type, Reason, Message string
	Since                 time.Time
}

// Iteration is one round; iteration 0 is the baseline.
type Iteration struct {
	Number     int32
	Start, End time.Time
	Stages     []Stage
	// Accuracy at the headline threshold; nil until the iteration is evaluated. Delta is its distance
	// to the baseline's, nil where either is missing.
	Accuracy, Delta *float64
	Pairs           *int64
	Decision        *v1alpha1.Decision
}

// Stage is one line of an iteration. State is empty while the stage has not begun.
type Stage struct {
	Name v1alpha1.StageName
	// Round of resampling; 0 is the iteration's first.
	Round      int32
	State      v1alpha1.StageState
	Attempt    int32
	Start, End time.Time
	Message    string
	Progress   *Progress
}

// Progress of a running stage, as its pods report it.
type Progress struct {
	// Step is the stage of a child that has several (Track, Score); empty elsewhere.
	Step       v1alpha1.StageName
	Percentage int32
	// Remaining is what the pods expected at Updated; negative when they did not say.
	Remaining time.Duration
	Updated   time.Time
}

var (
	// baselineStages begin with the run's own Prepare, which lists the samples of the baseline and of iteration 1.
	baselineStages  = []v1alpha1.StageName{v1alpha1.StagePrepare, v1alpha1.StageEvaluationSample, v1alpha1.StageEvaluationScore}
	iterationStages = []v1alpha1.StageName{
		v1alpha1.StagePrepare, v1alpha1.StageSample, v1alpha1.StageScore, v1alpha1.StagePair, v1alpha1.StageTrain,
		v1alpha1.StageEvaluationPrepare, v1alpha1.StageEvaluationSample, v1alpha1.StageEvaluationScore,
		v1alpha1.StageCompare, v1alpha1.StageLineage,
	}
)

// NewView looks at a run and at the children of its stages, by name.
func NewView(run *v1alpha1.AlignmentRun, batches map[string]*v1alpha1.ScoringBatch, datasets map[string]*v1alpha1.PreferenceDataset) View {
	v := View{
		Namespace: run.Namespace, Name: run.Name,
		Runtime: run.Spec.RuntimeRef.Name, Wanted: run.Spec.Iterations,
		Phase: run.Status.Phase, Best: run.Status.Best,
		Start: run.CreationTimestamp.Time, End: timeOf(run.Status.CompletionTime),
		Threshold: string(run.HeadlineThreshold()),
	}
	if run.Status.StartTime != nil {
		v.Start = run.Status.StartTime.Time
	}
	if run.Status.Runtime != nil {
		v.Model = run.Status.Runtime.Spec.Model.Name
	}
	v.notes(run.Status.Conditions)
	var baseline *float64
	for i := range run.Status.Iterations {
		it := newIteration(&run.Status, i, v.Threshold, batches, datasets)
		if it.Number == 0 {
			baseline = it.Accuracy
		}
		if it.Number > 0 && it.Accuracy != nil && baseline != nil {
			delta := *it.Accuracy - *baseline
			it.Delta = &delta
		}
		v.Iterations = append(v.Iterations, it)
	}
	return v
}

// accuracyAt finds the accuracy at a threshold, nil when the summary has none.
func accuracyAt(s *v1alpha1.ScoreSummary, threshold string) *float64 {
	if s == nil {
		return nil
	}
	for _, a := range s.Accuracy {
		if string(a.Threshold) != threshold {
			continue
		}
		if value, err := strconv.ParseFloat(string(a.Value), 64); err == nil {
			return &value
		}
	}
	return nil
}

func (v *View) notes(conditions []metav1.Condition) {
	for _, kind := range []string{v1alpha1.ConditionComplete, v1alpha1.ConditionFailed} {
		if c := meta.FindStatusCondition(conditions, kind); c != nil && c.Status == metav1.ConditionTrue {
			note := noteOf(c)
			v.Ending = &note
			return
		}
	}
	for _, kind := range []string{
		v1alpha1.ConditionSuspended, v1alpha1.ConditionAwaitingApproval, v1alpha1.ConditionStalled, v1alpha1.ConditionReconciling,
	} {
		if c := meta.FindStatusCondition(conditions, kind); c != nil && c.Status == metav1.ConditionTrue {
			v.Notes = append(v.Notes, noteOf(c))
		}
	}
	if c := meta.FindStatusCondition(conditions, v1alpha1.ConditionQuotaReserved); c != nil && c.Status == metav1.ConditionFalse {
		v.Notes = append(v.Notes, noteOf(c))
	}
}

func noteOf(c *metav1.Condition) Note {
	return Note{Type: c.Type, Reason: c.Reason, Message: printable(c.Message), Since: c.LastTransitionTime.Time}
}

func newIteration(status *v1alpha1.AlignmentRunStatus, i int, threshold string,
	batches map[string]*v1alpha1.ScoringBatch, datasets map[string]*v1alpha1.PreferenceDataset,
) Iteration {
	from := &status.Iterations[i]
	it := Iteration{
		Start: timeOf(from.StartTime), End: timeOf(from.CompletionTime),
		Accuracy: accuracyAt(from.Evaluation, threshold), Decision: from.Decision,
	}
	if from.Iteration != nil {
		it.Number = *from.Iteration
	}
	if from.Pairs != nil {
		it.Pairs = from.Pairs.Pairs
	}
	it.Stages = stagesOf(from.Stages, it.Number, func(rec *v1alpha1.StageStatus) Stage {
		return newStage(rec, it.Number, status.Progress, batches, datasets)
	})
	return it
}

// stagesOf an iteration: all that are recorded, in the order of the loop, and those that are still to come.
func stagesOf(from []v1alpha1.StageStatus, iteration int32, show func(*v1alpha1.StageStatus) Stage) []Stage {
	names := iterationStages
	if iteration == 0 {
		names = baselineStages
	}
	var stages []Stage
	begun := 0 // up to here; what has no record before the newest that has one was not needed
	for _, name := range names {
		i := slices.IndexFunc(from, func(rec v1alpha1.StageStatus) bool { return rec.Name == name && round(&rec) == 0 })
		if i < 0 {
			stages = append(stages, Stage{Name: name})
			continue
		}
		stages = append(stages, show(&from[i]))
		begun = len(stages)
	}
	stages = slices.Concat(slices.DeleteFunc(stages[:begun:begun], func(s Stage) bool { return s.State == "" }), stages[begun:])
	// What few iterations have: further rounds of samples, another evaluation of the best, and the test.
	for i := range from {
		if rec := &from[i]; round(rec) > 0 || !slices.Contains(names, rec.Name) {
			stages = append(stages, show(rec))
		}
	}
	return stages
}

func round(s *v1alpha1.StageStatus) int32 {
	if s.Round == nil {
		return 0
	}
	return *s.Round
}

func newStage(from *v1alpha1.StageStatus, iteration int32, progress *v1alpha1.ProgressStatus,
	batches map[string]*v1alpha1.ScoringBatch, datasets map[string]*v1alpha1.PreferenceDataset,
) Stage {
	stage := Stage{
		Name: from.Name, Round: round(from), State: from.State, Message: printable(from.Message),
		Start: timeOf(from.StartTime), End: timeOf(from.CompletionTime),
	}
	if from.Attempt != nil {
		stage.Attempt = *from.Attempt
	}
	if stage.State != v1alpha1.StageRunning {
		return stage
	}
	if batch := batches[from.Child]; batch != nil {
		stage.fromBatch(batch)
	} else if progress != nil && progress.Stage == from.Name && progress.Iteration != nil && *progress.Iteration == iteration {
		stage.Progress = newProgress(progress, "")
	}
	if dataset := datasets[from.Child]; dataset != nil && stage.Message == "" {
		stage.Message = runningMessage(dataset.Status.Stages)
	}
	return stage
}

func (s *Stage) fromBatch(batch *v1alpha1.ScoringBatch) {
	if p := batch.Status.Progress; p != nil {
		s.Progress = newProgress(p, p.Stage)
	}
	if s.Message == "" {
		s.Message = runningMessage(batch.Status.Stages)
	}
}

// runningMessage is what a waiting pod of a child says.
func runningMessage(stages []v1alpha1.StageStatus) string {
	for i := range stages {
		if stages[i].State == v1alpha1.StageRunning && stages[i].Message != "" {
			return printable(stages[i].Message)
		}
	}
	return ""
}

func newProgress(from *v1alpha1.ProgressStatus, step v1alpha1.StageName) *Progress {
	p := &Progress{Step: step, Remaining: -1, Updated: timeOf(from.LastUpdatedTime)}
	if from.Percentage != nil {
		p.Percentage = min(max(*from.Percentage, 0), 100)
	}
	if from.EstimatedRemainingSeconds != nil {
		p.Remaining = time.Duration(*from.EstimatedRemainingSeconds) * time.Second
	}
	return p
}

// Left is what remains at a time, counted down since the pods said so; false when they did not.
func (p *Progress) Left(now time.Time) (time.Duration, bool) {
	if p.Remaining < 0 || p.Updated.IsZero() {
		return max(p.Remaining, 0), p.Remaining >= 0
	}
	return max(p.Remaining-now.Sub(p.Updated), 0), true
}

func timeOf(t *metav1.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}
