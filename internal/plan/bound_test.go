package plan

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

// bulky is a summary with all that a score stage tells, under the longest key that a stage writes to.
func bulky(s *v1alpha1.ScoreSummary) {
	s.MeanScore, s.Accuracy, s.Guards = "0.512345", nil, nil
	for _, at := range thresholds {
		value := v1alpha1.Fraction("0.123456")
		if at == "0.7" {
			value = "0.4"
		}
		s.Accuracy = append(s.Accuracy, v1alpha1.AccuracyAt{Threshold: at, Value: value})
	}
	for _, name := range []string{"areaRatio", "objectDrift", "subjectJump", "validFraction"} {
		s.Guards = append(s.Guards, v1alpha1.NamedMetric{Name: name, Value: "0.123456"})
	}
	s.Scores.Key = v1alpha1.ArtifactKey("runs/" + strings.Repeat("u", 36) + "/0000/score/a0/s0/scores-" + string(s.Scores.Key))
}

// TestBulkyStatus: status keeps within its bound when every iteration samples all its rounds and is evaluated on another GPU model
// than the best, every stage goes through as many pods as one may, and every stage tells all that it can.
func TestBulkyStatus(t *testing.T) {
	w := newWorld(t, script{accuracy: []string{"0.35", "0.5", "0.4"}})
	w.unmeasured, w.run.Spec.Iterations, w.gpus = true, keptIterations+4, map[int32][]string{}
	for k := range w.run.Spec.Iterations + 1 {
		w.gpus[k] = []string{strings.Repeat(string('A'+k%2), 64)}
	}
	w.run.Spec.Pairing.OnShortfall, w.run.Spec.Pairing.MinPairs, w.run.Spec.Pairing.MaxResampleRounds = v1alpha1.ShortfallResample, 6*4800, maxRound
	w.pods = jobs.MaxPods
	largest := 0
	for !Ended(w.run.Status.Conditions) {
		w.step()
		data, err := json.Marshal(w.run.Status)
		if err != nil {
			t.Fatal(err)
		}
		largest = max(largest, len(data))
		for _, c := range w.active() {
			w.succeed(c)
			if c.Batch != nil {
				bulky(c.Batch.Status.Summary)
			}
			for i := range maxMetrics {
				c.Outcome.Metrics[fmt.Sprintf("metric-%02d", i)] = "0.123456"
			}
		}
		w.trace.Reset()
		w.children = slices.DeleteFunc(w.children, func(c *Child) bool {
			attempt, recorded := w.succeededAt(c.Place)
			return recorded && attempt == c.Place.Attempt && c.Outcome.State == jobs.Succeeded
		})
	}
	t.Logf("the status takes up to %d bytes", largest)
	if largest > maxStatus {
		t.Errorf("the status takes up to %d bytes, more than %d", largest, maxStatus)
	}
}
