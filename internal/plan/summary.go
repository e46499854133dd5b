package plan

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jobs"
)

// thresholds at which accuracies are reported, as exact decimals.
var thresholds = []v1alpha1.Fraction{"0.0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9"}

// scoreSummary takes a score stage's last word into status.
func scoreSummary(o jobs.Outcome) *v1alpha1.ScoreSummary {
	s := &v1alpha1.ScoreSummary{
		Total: ptr.To(o.Counts["total"]), Scored: ptr.To(o.Counts["scored"]), Invalid: ptr.To(o.Counts["invalid"]), Missing: ptr.To(o.Counts["missing"]),
		MeanScore: v1alpha1.Fraction(o.Metrics["meanScore"]),
		Scores:    reference(o.Outputs["scores"]),
	}
	for _, t := range thresholds {
		if v, ok := o.Metrics["accuracy/"+string(t)]; ok {
			s.Accuracy = append(s.Accuracy, v1alpha1.AccuracyAt{Threshold: t, Value: v1alpha1.Fraction(v)})
		}
	}
	guards := map[string]string{}
	for name, v := range o.Metrics {
		if guard, ok := strings.CutPrefix(name, "guard/"); ok {
			guards[guard] = v
		}
	}
	s.Guards = metrics(guards)
	return s
}

// pairSummary takes a pair stage's last word into status.
func pairSummary(o jobs.Outcome) *v1alpha1.PairSummary {
	return &v1alpha1.PairSummary{
		Pairs: ptr.To(o.Counts["pairs"]), UsablePrompts: ptr.To(o.Counts["usablePrompts"]),
		Winners: ptr.To(o.Counts["latest/winners"]), Losers: ptr.To(o.Counts["latest/losers"]),
		Invalid:  ptr.To(o.Counts["latest/invalid"] + o.Counts["latest/missing"]),
		Artifact: reference(o.Outputs["pairs"]),
	}
}

// maxMetrics is what status may hold of them.
const maxMetrics = 16

func metrics(values map[string]string) []v1alpha1.NamedMetric {
	var list []v1alpha1.NamedMetric
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if len(list) == maxMetrics {
			break
		}
		list = append(list, v1alpha1.NamedMetric{Name: name, Value: values[name]})
	}
	return list
}

// reference is an artifact as status names it; nil for none.
func reference(a contract.Artifact) *v1alpha1.ArtifactReference {
	if a.Key == "" {
		return nil
	}
	return ptr.To(pinned(a))
}

// pinned is an artifact as specs of our own kinds name it.
func pinned(a contract.Artifact) v1alpha1.ArtifactReference {
	return v1alpha1.ArtifactReference{Key: v1alpha1.ArtifactKey(a.Key), Digest: v1alpha1.Digest(a.Digest)}
}

// artifact is a reference as stage specs name it.
func artifact(r v1alpha1.ArtifactReference) contract.Artifact {
	return contract.Artifact{Key: string(r.Key), Digest: string(r.Digest)}
}
