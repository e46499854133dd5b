package report

import (
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
)

// Data is everything that a report shows; report.json is its JSON.
type Data struct {
	Namespace   string      `json:"namespace"`
	Name        string      `json:"name"`
	UID         string      `json:"uid"`
	GeneratedAt time.Time   `json:"generatedAt"`
	Phase       string      `json:"phase"`
	Ending      *Ending     `json:"ending,omitempty"`
	Facts       []Fact      `json:"facts"`
	Threshold   string      `json:"threshold"`
	Best        *Best       `json:"best,omitempty"`
	Iterations  []Iteration `json:"iterations"`
	Galleries   []Gallery   `json:"galleries,omitempty"`
	Problems    []string    `json:"problems,omitempty"`
}

// Ending is the run's terminal condition.
type Ending struct {
	Good    bool   `json:"good"`
	Reason  string `json:"reason"`
	Message string `json:"message,omitempty"`
}

// Fact is a line about the run.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Best is the best accepted adapter, or the base model.
type Best struct {
	Iteration int32              `json:"iteration"`
	Accuracy  float64            `json:"accuracy"`
	Adapter   *contract.Artifact `json:"adapter,omitempty"`
}

// Iteration joins what the status and the store tell.
type Iteration struct {
	Number     int32              `json:"iteration"`
	Seconds    int64              `json:"seconds,omitempty"`
	Evaluation *Summary           `json:"evaluation,omitempty"`
	Samples    *Summary           `json:"samples,omitempty"`
	Pairs      *Pairs             `json:"pairs,omitempty"`
	Metrics    []Fact             `json:"trainingMetrics,omitempty"`
	Course     []Point            `json:"trainingCourse,omitempty"`
	Accepted   *bool              `json:"accepted,omitempty"`
	Decision   string             `json:"decision,omitempty"`
	Adapter    *contract.Artifact `json:"adapter,omitempty"`
}

// Summary of a set of samples.
type Summary struct {
	Total     int64  `json:"total"`
	Scored    int64  `json:"scored"`
	Invalid   int64  `json:"invalid"`
	Missing   int64  `json:"missing"`
	MeanScore string `json:"meanScore,omitempty"`
	// Accuracy by threshold, in the order of the status.
	Accuracy []Accuracy         `json:"accuracy"`
	Guards   []Fact             `json:"guards,omitempty"`
	Scores   *contract.Artifact `json:"scores,omitempty"`
	// Found is absent where the scores could not be read.
	Found *Scores `json:"found,omitempty"`
}

// Accuracy at one threshold.
type Accuracy struct {
	Threshold float64 `json:"threshold"`
	Value     float64 `json:"value"`
}

// Pairs of an iteration.
type Pairs struct {
	Pairs         int64              `json:"pairs"`
	UsablePrompts int64              `json:"usablePrompts"`
	Winners       int64              `json:"winners"`
	Losers        int64              `json:"losers"`
	Invalid       int64              `json:"invalid"`
	Artifact      *contract.Artifact `json:"artifact,omitempty"`
}

// Compose joins a run with what the store told of it.
func Compose(run *v1alpha1.AlignmentRun, findings Findings, now time.Time) Data {
	status := &run.Status
	d := Data{
		Namespace: run.Namespace, Name: run.Name, UID: string(run.UID), GeneratedAt: now.UTC().Truncate(time.Second),
		Phase: string(status.Phase), Ending: ending(status.Conditions), Facts: facts(run),
		Threshold: string(run.HeadlineThreshold()),
		Galleries: findings.Galleries, Problems: findings.Problems,
	}
	if best := status.Best; best != nil && best.Iteration != nil {
		d.Best = &Best{Iteration: *best.Iteration, Accuracy: decimal(string(best.Accuracy)), Adapter: artifactOf(best.Adapter)}
	}
	found := make(map[int32]IterationFindings)
	for _, f := range findings.Iterations {
		found[f.Iteration] = f
	}
	for i := range status.Iterations {
		n := number(&status.Iterations[i])
		d.Iterations = append(d.Iterations, iteration(&status.Iterations[i], found[n]))
	}
	return d
}

func iteration(from *v1alpha1.IterationStatus, found IterationFindings) Iteration {
	it := Iteration{
		Number: number(from), Adapter: artifactOf(from.Adapter), Metrics: metrics(from.Training), Course: found.Training,
		Evaluation: summary(from.Evaluation, found.Evaluation), Samples: summary(from.Samples, found.Samples),
	}
	if from.StartTime != nil && from.CompletionTime != nil {
		it.Seconds = int64(from.CompletionTime.Sub(from.StartTime.Time).Seconds())
	}
	if p := from.Pairs; p != nil {
		it.Pairs = &Pairs{
			Pairs: count(p.Pairs), UsablePrompts: count(p.UsablePrompts), Winners: count(p.Winners), Losers: count(p.Losers),
			Invalid: count(p.Invalid), Artifact: artifactOf(p.Artifact),
		}
	}
	if from.Decision != nil {
		it.Accepted, it.Decision = from.Decision.Accepted, from.Decision.Message
	}
	return it
}

func summary(from *v1alpha1.ScoreSummary, found *Scores) *Summary {
	if from == nil {
		return nil
	}
	s := &Summary{
		Total: count(from.Total), Scored: count(from.Scored), Invalid: count(from.Invalid), Missing: count(from.Missing),
		MeanScore: string(from.MeanScore), Guards: metrics(from.Guards), Scores: artifactOf(from.Scores), Found: found,
	}
	for _, a := range from.Accuracy {
		s.Accuracy = append(s.Accuracy, Accuracy{decimal(string(a.Threshold)), decimal(string(a.Value))})
	}
	return s
}

// At is the accuracy at a threshold; false where the summary has none.
func (s *Summary) At(threshold string) (float64, bool) {
	if s == nil {
		return 0, false
	}
	for _, a := range s.Accuracy {
		if a.Threshold == decimal(threshold) {
			return a.Value, true
		}
	}
	return 0, false
}

func ending(conditions []metav1.Condition) *Ending {
	for _, kind := range []string{v1alpha1.ConditionComplete, v1alpha1.ConditionFailed} {
		if c := meta.FindStatusCondition(conditions, kind); c != nil && c.Status == metav1.ConditionTrue {
			return &Ending{Good: kind == v1alpha1.ConditionComplete, Reason: c.Reason, Message: c.Message}
		}
	}
	return nil
}

func facts(run *v1alpha1.AlignmentRun) []Fact {
	spec, status := &run.Spec, &run.Status
	facts := []Fact{{"Runtime", spec.RuntimeRef.Name}}
	add := func(name, value string) {
		if value != "" {
			facts = append(facts, Fact{name, value})
		}
	}
	if status.Runtime != nil {
		add("Model", status.Runtime.Spec.Model.Name)
		add("Model digest", string(status.Runtime.Spec.Model.Digest))
		add("Detector", status.Runtime.Spec.Detector.Name)
	}
	if p := status.Prompts; p != nil {
		add("Training prompts", strconv.FormatInt(p.Train.Count, 10))
		add("Evaluation prompts", strconv.FormatInt(p.Evaluation.Count, 10))
	}
	add("Run seed", seed(spec.Sampling.Seed))
	add("Evaluation seed", seed(spec.Evaluation.Seed))
	add("Winners score at least", string(spec.Pairing.WinnerThreshold))
	add("Losers score below", string(spec.Pairing.LoserThreshold))
	add("Iterations asked for", strconv.Itoa(int(spec.Iterations)))
	if status.StartTime != nil {
		add("Started", status.StartTime.UTC().Format(time.DateTime)+" UTC")
		if status.CompletionTime != nil {
			add("Took", status.CompletionTime.Sub(status.StartTime.Time).Round(time.Second).String())
		}
	}
	return facts
}

func seed(s *int64) string {
	if s == nil {
		return ""
	}
	return strconv.FormatInt(*s, 10)
}

func metrics(from []v1alpha1.NamedMetric) []Fact {
	var list []Fact
	for _, m := range from {
		list = append(list, Fact{m.Name, m.Value})
	}
	return list
}

func count(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}

// decimal of a status field, which the API server has checked; 0 for what it let pass.
func decimal(s string) float64 {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0
	}
	return f
}
