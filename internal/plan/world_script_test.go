package plan

import (
	"fmt"
	"strconv"
	"strings"

	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jobs"
)

// script is what the stages come to when they succeed.
type script struct {
	// accuracy of iteration k, from 0, at the headline threshold. Of an iteration beyond, the last one.
	accuracy []string
	// samples of iteration k, from 1, of 150 in each round: winners, losers and invalid ones.
	samples map[int32][3]int64
	// pairs in each round, where not derived from samples.
	pairs map[int32]int64
	// usable prompts, of 30; 20 where absent.
	usable map[int32]int64
	// guard is the value of validFraction of iteration k's evaluation; 0.9 where absent.
	guard map[int32]string
	// gpus are the GPU models that iteration k's evaluation was made on, and landed those that its re-evaluation of the best was:
	// where absent, the one that was asked for. Nothing is told of others.
	gpus, landed map[int32][]string
	// again is what the re-evaluation in iteration k comes to; what the best had where absent.
	again map[int32]string
	// stored says that iteration 0's prepare finds every sample in the store.
	stored bool
	// tracked says that it finds the tracks of all that is stored, too.
	tracked bool
}

var rising = script{accuracy: []string{"0.35", "0.65", "0.8", "0.9"}}

// succeed ends a child well, with what the script says.
func (w *world) succeed(c *Child) {
	k := c.Place.Iteration
	file := func(name string) contract.Artifact {
		key := fmt.Sprintf("it%d/%s", k, name)
		if c.Place.Round > 0 {
			key = fmt.Sprintf("it%dr%d/%s", k, c.Place.Round, name)
		}
		return contract.Artifact{Key: key, Digest: contract.Digest([]byte(key))}
	}
	o := jobs.Outcome{
		State: jobs.Succeeded, Outputs: map[string]contract.Artifact{"manifest/0": file("manifest")}, Counts: map[string]int64{}, Metrics: map[string]string{},
	}
	switch c.Place.Stage {
	case v1alpha1.StagePrepare, v1alpha1.StageEvaluationPrepare, v1alpha1.StageReevaluationPrepare, v1alpha1.StageTestPrepare:
		for _, set := range []string{setTrain, setEvaluation, setTest} {
			o.Outputs["prompts/"+set], o.Outputs["index/"+set] = file("prompts-"+set), file("index-"+set)
			o.Counts[set+"/prompts"], o.Counts[set+"/missing"], o.Counts[set+"/untracked"] = 30, 150, 150
			if w.stored && k == 0 {
				o.Counts[set+"/missing"] = 0
			}
			if w.tracked && k == 0 {
				o.Counts[set+"/untracked"] = 0
			}
		}
		if c.Place.Stage == v1alpha1.StageReevaluationPrepare {
			o.Outputs["index/"+setEvaluation] = file("reevaluation-index")
		}
	case v1alpha1.StageScore:
		c.Batch = scoredBatch("0.5", file("scores"))
	case v1alpha1.StageEvaluationScore:
		c.Batch = scoredBatch(w.reaches(k), file("evaluation-scores"))
		c.Batch.Status.Summary.Guards = []v1alpha1.NamedMetric{{Name: "validFraction", Value: or(w.guard[k], "0.9")}}
	case v1alpha1.StageReevaluationScore:
		best := w.run.Status.Best
		c.Batch = scoredBatch(or(w.again[k], string(best.Accuracy)), file("reevaluation-scores"))
		c.Batch.Status.Summary.Guards = []v1alpha1.NamedMetric{{Name: "validFraction", Value: or(w.guard[*best.Iteration], "0.9")}}
	case v1alpha1.StageTestScore:
		c.Batch = scoredBatch("0.777", file("test-scores"))
	case v1alpha1.StageCompare, v1alpha1.StageReevaluationCompare:
		spec := specOf(w.t, c).Compare
		o.Devices = map[string][]string{"best": w.devices(spec.Best.Key), "candidate": w.devices(spec.Candidate.Key)}
		delta := decimal(v1alpha1.Fraction(w.reaches(k))) - decimal(w.run.Status.Best.Accuracy)
		for name, v := range map[string]float64{"delta": delta, "lowerBound": delta - 0.1, "upperBound": delta + 0.1} {
			o.Metrics[name] = strings.Replace(strconv.FormatFloat(min(max(v, -1), 1), 'f', 6, 64), "-0.000000", "0.000000", 1)
		}
		o.Outputs["verdict"] = file("verdict")
		if c.Place.Stage == v1alpha1.StageReevaluationCompare {
			o.Outputs["verdict"] = file("reevaluation-verdict")
		}
	case v1alpha1.StageLineage:
		o.Outputs["lineage"], o.Outputs["modelCard"] = file("lineage"), file("model-card")
	case v1alpha1.StagePair:
		c.Dataset = &v1alpha1.PreferenceDataset{Status: v1alpha1.PreferenceDatasetStatus{Summary: w.paired(k, c.Place.Round, file("pairs"))}}
	case v1alpha1.StageTrain:
		o.Outputs["adapter"], o.Metrics["loss"] = file("adapter"), "0.61"
	}
	c.Outcome = o
}

// devices are the GPU models that scores tell of.
func (s *script) devices(scores string) []string {
	var k int32
	var name string
	if _, err := fmt.Sscanf(scores, "it%d/%s", &k, &name); err != nil || name == "evaluation-scores" {
		return s.gpus[k]
	}
	if landed, ok := s.landed[k]; ok {
		return landed
	}
	return s.gpus[k]
}

// reaches is the accuracy of iteration k.
func (s *script) reaches(k int32) string { return s.accuracy[min(int(k), len(s.accuracy)-1)] }

// paired is what pairing finds in all rounds of iteration k.
func (s *script) paired(k, round int32, pairsFile contract.Artifact) *v1alpha1.PairSummary {
	rounds := int64(round) + 1
	n, ok := s.samples[k]
	if !ok {
		n = [3]int64{60, 80, 10}
	}
	pairs, ok := s.pairs[k]
	if !ok {
		pairs = n[0] * n[1]
	}
	return &v1alpha1.PairSummary{
		Pairs: ptr.To(pairs * rounds), UsablePrompts: ptr.To(min(or(s.usable[k], 20)*rounds, 30)),
		Winners: ptr.To(n[0] * rounds), Losers: ptr.To(n[1] * rounds), Invalid: ptr.To(n[2] * rounds), Artifact: reference(pairsFile),
	}
}

func scoredBatch(accuracy string, scores contract.Artifact) *v1alpha1.ScoringBatch {
	return &v1alpha1.ScoringBatch{Status: v1alpha1.ScoringBatchStatus{Summary: &v1alpha1.ScoreSummary{
		Total: ptr.To(int64(150)), Scored: ptr.To(int64(140)), Invalid: ptr.To(int64(10)), Missing: ptr.To(int64(0)),
		Accuracy: []v1alpha1.AccuracyAt{{Threshold: "0.7", Value: v1alpha1.Fraction(accuracy)}}, Scores: reference(scores),
	}}}
}
