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
	sampling          contract.Sampling
	evaluationSeed    uint64
	evaluationSamples int
	headline          v1alpha1.Fraction
	minDelta          v1alpha1.Fraction
	training          contract.Training
	nodes             int32
	gpusPerNode       int32
}

func resolve(spec v1alpha1.AlignmentRunSpec, d v1alpha1.RuntimeDefaults) resolved {
	// The API server defaults these; a zero stands for what it left absent.
	sampling, training := ptr.Deref(spec.Sampling, v1alpha1.SamplingSpec{}), ptr.Deref(spec.Training, v1alpha1.TrainingSpec{})
	evaluation, acceptance := ptr.Deref(spec.Evaluation, v1alpha1.EvaluationSpec{}), ptr.Deref(spec.Acceptance, v1alpha1.AcceptanceSpec{})
	return resolved{
		seed:             unsigned(sampling.Seed),
		samplesPerPrompt: int(or(sampling.SamplesPerPrompt, d.Sampling.SamplesPerPrompt)),
		sampling: contract.Sampling{
			Steps:          int(or(sampling.Steps, d.Sampling.Steps)),
			GuidanceScale:  string(or(sampling.GuidanceScale, d.Sampling.GuidanceScale)),
			NegativePrompt: or(sampling.NegativePrompt, d.Sampling.NegativePrompt),
			Frames:         int(or(sampling.Frames, d.Sampling.Frames)),
			Width:          int(or(sampling.Width, d.Sampling.Width)),
			Height:         int(or(sampling.Height, d.Sampling.Height)),
		},
		evaluationSeed:    unsigned(evaluation.Seed),
		evaluationSamples: int(or(evaluation.SamplesPerPrompt, d.Evaluation.SamplesPerPrompt)),
		headline:          evaluation.HeadlineThreshold,
		minDelta:          acceptance.MinDelta,
		training:          resolveTraining(training, d.Training),
		nodes:             max(training.Nodes, 1),
		gpusPerNode:       training.GPUsPerNode,
	}
}

func resolveTraining(spec v1alpha1.TrainingSpec, d v1alpha1.TrainingDefaults) contract.Training {
	lora := ptr.Deref(spec.LoRA, d.LoRA)
	steps := or(spec.Steps, d.Steps)
	// What the run and the runtime say each for themselves may not fit together; the trainer takes only what does.
	schedule := max(or(spec.ScheduleSteps, d.ScheduleSteps), steps)
	warmup := min(schedule, *or(spec.WarmupSteps, or(d.WarmupSteps, ptr.To(min(maxWarmup, steps/10)))))
	return contract.Training{
		Steps: int(steps), ScheduleSteps: int(schedule), WarmupSteps: int(warmup),
		CheckpointEverySteps: int(or(spec.CheckpointEverySteps, d.CheckpointEverySteps)),
		PairsPerStep:         int(or(spec.PairsPerStep, d.PairsPerStep)),
		LearningRate:         string(or(spec.LearningRate, d.LearningRate)),
		Beta:                 string(spec.Beta), Lambda: string(spec.Lambda), MarginClip: string(spec.MarginClip),
		LoRARank: int(lora.Rank), LoRAAlpha: int(lora.Alpha),
	}
}

// maxWarmup is the published recipe's: warm-up is a tenth of the steps, and no more than that.
const maxWarmup = 300

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
