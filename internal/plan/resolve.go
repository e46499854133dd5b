package plan

import (
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
)

// resolved is a run's spec with its runtime's defaults filled in.
type resolved struct {
	seed              uint64
	samplesPerPrompt  int
	samplingSteps     int
	evaluationSeed    uint64
	evaluationSamples int
	headline          v1alpha1.Fraction
	minDelta          v1alpha1.Fraction
	training          contract.Training
}

func resolve(spec v1alpha1.AlignmentRunSpec, d v1alpha1.RuntimeDefaults) resolved {
	// The API server defaults these; a zero stands for what it left absent.
	sampling, training := ptr.Deref(spec.Sampling, v1alpha1.SamplingSpec{}), ptr.Deref(spec.Training, v1alpha1.TrainingSpec{})
	evaluation, acceptance := ptr.Deref(spec.Evaluation, v1alpha1.EvaluationSpec{}), ptr.Deref(spec.Acceptance, v1alpha1.AcceptanceSpec{})
	lora := ptr.Deref(training.LoRA, d.Training.LoRA)
	return resolved{
		seed:              unsigned(sampling.Seed),
		samplesPerPrompt:  int(or(sampling.SamplesPerPrompt, d.Sampling.SamplesPerPrompt)),
		samplingSteps:     int(or(sampling.Steps, d.Sampling.Steps)),
		evaluationSeed:    unsigned(evaluation.Seed),
		evaluationSamples: int(or(evaluation.SamplesPerPrompt, d.Evaluation.SamplesPerPrompt)),
		headline:          evaluation.HeadlineThreshold,
		minDelta:          acceptance.MinDelta,
		training: contract.Training{
			Steps:        int(or(training.Steps, d.Training.Steps)),
			PairsPerStep: int(or(training.PairsPerStep, d.Training.PairsPerStep)),
			LearningRate: string(or(training.LearningRate, d.Training.LearningRate)),
			Beta:         string(training.Beta),
			Lambda:       string(training.Lambda),
			MarginClip:   string(training.MarginClip),
			LoRARank:     int(lora.Rank),
			LoRAAlpha:    int(lora.Alpha),
		},
	}
}

// or is value, or otherwise where value is absent: of these fields admission accepts no zero.
func or[T comparable](value, otherwise T) T {
	var absent T
	if value != absent {
		return value
	}
	return otherwise
}

// unsigned is a seed; admission keeps it from being negative.
func unsigned(seed *int64) uint64 { return uint64(max(ptr.Deref(seed, 0), 0)) }
