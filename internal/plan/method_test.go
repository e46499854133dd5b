package plan

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jobs"
)

// method sets every field of the method that a run has.
func method(s *v1alpha1.AlignmentRunSpec) {
	s.Prompts.Train.Generate.Relations = []v1alpha1.Relation{"LR", "TR"}
	s.Sampling = &v1alpha1.SamplingSpec{SamplesPerPrompt: 7, Seed: ptr.To(int64(11)), SamplingParameters: v1alpha1.SamplingParameters{
		Steps: 13, GuidanceScale: "5.5", NegativePrompt: "blurred", Frames: 33, Width: 640, Height: 360,
	}}
	s.Scoring = &v1alpha1.ScoringSpec{MinUsableFrames: 21, MaxInvalidFraction: "0.4"}
	s.Pairing.PairingRules = v1alpha1.PairingRules{WinnerThreshold: "0.8", LoserThreshold: "0.3", MinMargin: "0.2", MaxPairsPerPrompt: 17}
	s.Training = &v1alpha1.TrainingSpec{
		Steps: 1000, TrainingSchedule: v1alpha1.TrainingSchedule{ScheduleSteps: 2000, WarmupSteps: ptr.To(int32(19)), CheckpointEverySteps: 23},
		PairsPerStep: 29, LearningRate: "0.0003", Beta: "2", Lambda: "0.25", MarginClip: "4", LoRA: &v1alpha1.LoRASpec{Rank: 31, Alpha: 37},
		ReferencePolicy: "Base", Start: "Best",
	}
	s.Evaluation = &v1alpha1.EvaluationSpec{SamplesPerPrompt: 3, Seed: ptr.To(int64(41)), HeadlineThreshold: "0.5"}
	s.Acceptance.Confidence = "0.8"
}

// runtimesMethod sets every default that a runtime has for them, to other values.
func runtimesMethod(d *v1alpha1.RuntimeDefaults) {
	d.Sampling = v1alpha1.SamplingDefaults{SamplesPerPrompt: 70, SamplingParameters: v1alpha1.SamplingParameters{
		Steps: 130, GuidanceScale: "9", NegativePrompt: "ugly", Frames: 81, Width: 832, Height: 480,
	}}
	d.Training = v1alpha1.TrainingDefaults{
		Steps: 500, TrainingSchedule: v1alpha1.TrainingSchedule{ScheduleSteps: 600, WarmupSteps: ptr.To(int32(50)), CheckpointEverySteps: 60},
		PairsPerStep: 6, LearningRate: "0.01", LoRA: v1alpha1.LoRASpec{Rank: 4, Alpha: 8},
	}
	d.Evaluation = v1alpha1.EvaluationDefaults{SamplesPerPrompt: 30}
}

// TestMethodReachesTheStages: what a run says of the method stands in its stages' specs, and what it does not say, the runtime does.
func TestMethodReachesTheStages(t *testing.T) {
	type said struct {
		Relations        []string
		Samples, HeldOut int
		Seed, HeldSeed   uint64
		Sampling         contract.Sampling
		Scoring          v1alpha1.ScoringSpec
		Pairing          v1alpha1.PairingRules
		Training         contract.Training
		Headline         string
		Confidence       string
	}
	for _, c := range []struct {
		name string
		edit func(*v1alpha1.AlignmentRunSpec)
		want said
	}{
		{"the run says all", method, said{
			Relations: []string{"LR", "TR"}, Samples: 7, HeldOut: 3, Seed: 11, HeldSeed: 41,
			Sampling: contract.Sampling{Steps: 13, GuidanceScale: "5.5", NegativePrompt: "blurred", Frames: 33, Width: 640, Height: 360},
			Scoring:  v1alpha1.ScoringSpec{MinUsableFrames: 21, MaxInvalidFraction: "0.4"},
			Pairing:  v1alpha1.PairingRules{WinnerThreshold: "0.8", LoserThreshold: "0.3", MinMargin: "0.2", MaxPairsPerPrompt: 17},
			Training: contract.Training{
				Steps: 1000, ScheduleSteps: 2000, WarmupSteps: 19, CheckpointEverySteps: 23, PairsPerStep: 29, LearningRate: "0.0003",
				Beta: "2", Lambda: "0.25", MarginClip: "4", LoRARank: 31, LoRAAlpha: 37,
			},
			Headline: "0.5", Confidence: "0.8",
		}},
		{"the runtime says what it can", func(*v1alpha1.AlignmentRunSpec) {}, said{
			Samples: 70, HeldOut: 30,
			Sampling: contract.Sampling{Steps: 130, GuidanceScale: "9", NegativePrompt: "ugly", Frames: 81, Width: 832, Height: 480},
			Scoring:  v1alpha1.ScoringSpec{MinUsableFrames: 20, MaxInvalidFraction: "0.9"},
			Pairing:  v1alpha1.PairingRules{WinnerThreshold: "0.7", LoserThreshold: "0.7"},
			Training: contract.Training{
				Steps: 500, ScheduleSteps: 600, WarmupSteps: 50, CheckpointEverySteps: 60, PairsPerStep: 6, LearningRate: "0.01",
				Beta: "1", Lambda: "0.5", MarginClip: "5", LoRARank: 4, LoRAAlpha: 8,
			},
			Headline: "0.7", Confidence: shownConfidence,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, rising)
			c.edit(&w.run.Spec)
			runtimesMethod(&w.runtime.Spec.Defaults)
			w.until(1, v1alpha1.StageCompare)
			child := func(k int32, stage v1alpha1.StageName) *Child {
				return w.children[slices.IndexFunc(w.children, func(c *Child) bool { return c.Place == jobs.Place{Iteration: k, Stage: stage} })]
			}
			prepare := specOf(t, child(0, v1alpha1.StagePrepare)).Prepare
			heldOut, training := prepare.Sets[0], prepare.Sets[1]
			sampling := specOf(t, child(1, v1alpha1.StageSample)).Sample.Sampling
			for what, other := range map[string]contract.Sampling{
				"training samples that are listed": training.Sampling, "held-out ones that are listed": heldOut.Sampling,
				"held-out ones that are sampled": specOf(t, child(0, v1alpha1.StageEvaluationSample)).Sample.Sampling,
			} {
				if diff := cmp.Diff(sampling, other); diff != "" {
					t.Errorf("%s differ from training samples (-want +got):\n%s", what, diff)
				}
			}
			sampling.Model, sampling.NumericsRevision = contract.Model{}, ""
			compare := specOf(t, child(1, v1alpha1.StageCompare)).Compare
			got := said{
				Relations: prepare.Prompts[0].Generate.Relations, Samples: training.SamplesPerPrompt, HeldOut: heldOut.SamplesPerPrompt,
				Seed: training.Seeds.Seed, HeldSeed: heldOut.Seeds.Seed, Sampling: sampling,
				Scoring:  *child(1, v1alpha1.StageScore).Object.(*v1alpha1.ScoringBatch).Spec.Scoring,
				Pairing:  child(1, v1alpha1.StagePair).Object.(*v1alpha1.PreferenceDataset).Spec.Pairing.PairingRules,
				Training: specOf(t, child(1, v1alpha1.StageTrain)).Train.Training, Headline: compare.Threshold, Confidence: compare.Confidence,
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if seed := specOf(t, child(1, v1alpha1.StageTrain)).Train.Seed; seed != got.Seed {
				t.Errorf("the training draws with seed %d", seed)
			}
		})
	}
}
