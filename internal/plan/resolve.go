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
	training          contract.Training
}

func resolve(spec v1alpha1.AlignmentRunSpec, d v1alpha1.RuntimeDefaults) resolved {
	lora := ptr.Deref(spec.Training.LoRA, d.Training.LoRA)
	return resolved{
		seed:              unsigned(spec.Sampling.Seed),
		samplesPerPrompt:  int(ptr.Deref(spec.Sampling.SamplesPerPrompt, d.Sampling.SamplesPerPrompt)),
		samplingSteps:     int(ptr.Deref(spec.Sampling.Steps, d.Sampling.Steps)),
		evaluationSeed:    unsigned(spec.Evaluation.Seed),
		evaluationSamples: int(ptr.Deref(spec.Evaluation.SamplesPerPrompt, d.Evaluation.SamplesPerPrompt)),
		headline:          spec.Evaluation.HeadlineThreshold,
		training: contract.Training{
			Steps:        int(ptr.Deref(spec.Training.Steps, d.Training.Steps)),
			PairsPerStep: int(ptr.Deref(spec.Training.PairsPerStep, d.Training.PairsPerStep)),
			LearningRate: string(or(spec.Training.LearningRate, d.Training.LearningRate)),
			Beta:         string(spec.Training.Beta),
			Lambda:       string(spec.Training.Lambda),
			MarginClip:   string(spec.Training.MarginClip),
			LoRARank:     int(lora.Rank),
			LoRAAlpha:    int(lora.Alpha),
		},
	}
}

func or(value, otherwise v1alpha1.Decimal) v1alpha1.Decimal {
	if value != "" {
		return value
	}
	return otherwise
}

// unsigned is a seed; admission keeps it from being negative.
func unsigned(seed *int64) uint64 { return uint64(max(ptr.Deref(seed, 0), 0)) }
