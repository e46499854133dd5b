package v1alpha1

// PromptsSpec names the prompt sets.
type PromptsSpec struct {
	// train prompts are sampled, scored and paired.
	// +required
	// +kubebuilder:validation:XValidation:rule="!has(self.generate) || [(has(self.generate.relations) ? self.generate.relations : ['LR', 'LT', 'RL', 'RT', 'TL', 'TR']).map(r, {'LR': 78, 'LT': 74, 'RL': 62, 'RT': 69, 'TL': 78, 'TR': 68}[?r].orValue(0))].all(offers, self.generate.count <= offers.map(n, n > offers.min() ? offers.min() + 1 : n).sum())",fieldPath=".generate.count",message="must be at most what the grammar offers of the relations for train prompts; of all six that is 377"
	Train PromptSource `json:"train,omitzero"`

	// evaluation prompts are held out of training and measure every adapter with the same seeds.
	// +required
	// +kubebuilder:validation:XValidation:rule="!has(self.generate) || [(has(self.generate.relations) ? self.generate.relations : ['LR', 'LT', 'RL', 'RT', 'TL', 'TR']).map(r, {'LR': 20, 'LT': 24, 'RL': 27, 'RT': 31, 'TL': 20, 'TR': 35}[?r].orValue(0))].all(offers, self.generate.count <= offers.map(n, n > offers.min() ? offers.min() + 1 : n).sum())",fieldPath=".generate.count",message="must be at most what the grammar offers of the relations for evaluation prompts; of all six that is 124"
	Evaluation PromptSource `json:"evaluation,omitzero"`

	// test prompts are evaluated once, on the best adapter, when the run ends well: picking the best of several on one set
	// makes that set's accuracy look too good.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!has(self.generate) || [(has(self.generate.relations) ? self.generate.relations : ['LR', 'LT', 'RL', 'RT', 'TL', 'TR']).map(r, {'LR': 14, 'LT': 11, 'RL': 21, 'RT': 15, 'TL': 16, 'TR': 11}[?r].orValue(0))].all(offers, self.generate.count <= offers.map(n, n > offers.min() ? offers.min() + 1 : n).sum())",fieldPath=".generate.count",message="must be at most what the grammar offers of the relations for test prompts; of all six that is 70"
	Test *PromptSource `json:"test,omitempty"`
}

// PromptSource says where a prompt set comes from.
//
// +kubebuilder:validation:XValidation:rule="[has(self.generate), has(self.configMapRef), has(self.artifact)].filter(x, x).size() == 1",message="exactly one of generate, configMapRef and artifact must be set"
// +kubebuilder:validation:XValidation:rule="!has(self.artifact) || self.artifact.key.endsWith('.jsonl') || self.artifact.key.endsWith('.csv')",fieldPath=".artifact.key",message="must end in .jsonl or .csv"
// +kubebuilder:validation:MinProperties=1
type PromptSource struct {
	// generate makes prompts from the built-in grammar. Training and evaluation sets never overlap, whatever their seeds.
	// +optional
	Generate *GeneratedPrompts `json:"generate,omitempty"`

	// configMapRef takes a ConfigMap of the run's namespace; its key ends in .jsonl or .csv.
	// +optional
	ConfigMapRef *ConfigMapKeyReference `json:"configMapRef,omitempty"`

	// artifact takes a file of the store; its key ends in .jsonl or .csv.
	// +optional
	Artifact *ArtifactReference `json:"artifact,omitempty"`
}

// Relation is a DSR type: an ordered pair of two different relations out of L (left of), R (right of) and T (on top of).
//
// +kubebuilder:validation:Enum=LR;LT;RL;RT;TL;TR
type Relation string

// GeneratedPrompts describes a generated set.
type GeneratedPrompts struct {
	// relations to use, in equal shares. All six when absent.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=6
	Relations []Relation `json:"relations,omitempty"`

	// count of prompts.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	Count int32 `json:"count,omitempty"`

	// seed of the draw; the same seed gives the same prompts.
	// +optional
	// +default=0
	// +kubebuilder:validation:Minimum=0
	Seed *int64 `json:"seed,omitempty"`
}

// ConfigMapKeyReference names a key of a ConfigMap in the same namespace.
//
// +kubebuilder:validation:XValidation:rule="self.key.endsWith('.jsonl') || self.key.endsWith('.csv')",fieldPath=".key",message="must end in .jsonl or .csv"
type ConfigMapKeyReference struct {
	// name of the ConfigMap.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`

	// key within the ConfigMap.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._-]+$`
	Key string `json:"key,omitempty"`
}

// SamplingSpec says how videos are sampled.
//
// +kubebuilder:validation:MinProperties=1
type SamplingSpec struct {
	// samplesPerPrompt of the training prompts.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	SamplesPerPrompt int32 `json:"samplesPerPrompt,omitempty"`

	// seed of the run: every training sample's seed and every draw of the training derives from it.
	// +optional
	// +default=0
	// +kubebuilder:validation:Minimum=0
	Seed *int64 `json:"seed,omitempty"`

	SamplingParameters `json:",inline"`
}

// SamplingParameters are what a sample's content depends on beside model, adapter, prompt and seed. What is absent is the
// runtime's default and, where there is none, the image's own. A runtime refuses what its model cannot do.
type SamplingParameters struct {
	// steps of the sampler.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Steps int32 `json:"steps,omitempty"`

	// guidanceScale is the weight of classifier-free guidance.
	// +optional
	GuidanceScale Decimal `json:"guidanceScale,omitempty"`

	// negativePrompt that guidance leads away from.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	NegativePrompt string `json:"negativePrompt,omitempty"`

	// frames of a video.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	Frames int32 `json:"frames,omitempty"`

	// width of a video in pixels.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=8192
	Width int32 `json:"width,omitempty"`

	// height of a video in pixels.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=8192
	Height int32 `json:"height,omitempty"`
}

// TrainingSpec says how the adapter is trained: zeroth-order-regularized DPO on a LoRA.
//
// +kubebuilder:validation:XValidation:rule="!has(self.scheduleSteps) || !has(self.steps) || self.scheduleSteps >= self.steps",message="scheduleSteps must be at least steps"
// +kubebuilder:validation:XValidation:rule="!has(self.warmupSteps) || !has(self.steps) && !has(self.scheduleSteps) || self.warmupSteps <= (has(self.scheduleSteps) ? self.scheduleSteps : self.steps)",message="warmupSteps must be at most scheduleSteps, or steps where that is absent"
// +kubebuilder:validation:MinProperties=1
type TrainingSpec struct {
	// steps of the optimizer.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	Steps int32 `json:"steps,omitempty"`

	TrainingSchedule `json:",inline"`

	// pairsPerStep is the number of preference pairs per optimizer step.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65536
	PairsPerStep int32 `json:"pairsPerStep,omitempty"`

	// learningRate at its height.
	// +optional
	// +kubebuilder:validation:XValidation:rule="double(self) > 0.0 && double(self) <= 1.0",message="must be greater than 0 and at most 1"
	LearningRate Decimal `json:"learningRate,omitempty"`

	// beta scales the preference margin.
	// +optional
	// +default="1"
	// +kubebuilder:validation:XValidation:rule="double(self) > 0.0",message="must be greater than 0"
	Beta Decimal `json:"beta,omitempty"`

	// lambda weighs the zeroth-order regularizer, which holds the policy's output to the reference's.
	// +optional
	// +default="0.5"
	Lambda Decimal `json:"lambda,omitempty"`

	// marginClip bounds the margin to [-marginClip, marginClip].
	// +optional
	// +default="5"
	// +kubebuilder:validation:XValidation:rule="double(self) > 0.0",message="must be greater than 0"
	MarginClip Decimal `json:"marginClip,omitempty"`

	// lora is the adapter's shape.
	// +optional
	LoRA *LoRASpec `json:"lora,omitempty"`

	// referencePolicy says what the regularizer and the preference margin are measured against: the base model, or the
	// adapter that the iteration starts from, with which the drift from the base model is unbounded.
	// +optional
	// +default="Base"
	ReferencePolicy ReferencePolicy `json:"referencePolicy,omitempty"`

	// start says where training starts: at the best adapter so far, or at a fresh one.
	// +optional
	// +default="Best"
	Start TrainingStart `json:"start,omitempty"`

	// nodes to train on: so many pods that work together, one a node where each takes all of a node's GPUs.
	// +optional
	// +default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=64
	Nodes int32 `json:"nodes,omitempty"`

	// gpusPerNode of each of the training's pods. Absent, what the runtime requests.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=64
	GPUsPerNode int32 `json:"gpusPerNode,omitempty"`
}

// TrainingSchedule says how the learning rate moves, and how often a training saves its progress.
type TrainingSchedule struct {
	// scheduleSteps is where the cosine of the learning rate ends, at least steps. Absent, it is steps.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	ScheduleSteps int32 `json:"scheduleSteps,omitempty"`

	// warmupSteps raise the learning rate from 0; more than scheduleSteps count as those. Absent, a tenth of the steps, at most 300.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	WarmupSteps *int32 `json:"warmupSteps,omitempty"`

	// checkpointEverySteps is how often the training saves its progress. Absent, the image decides.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	CheckpointEverySteps int32 `json:"checkpointEverySteps,omitempty"`
}

// ReferencePolicy is what training is held to.
//
// +kubebuilder:validation:Enum=Base;Previous
type ReferencePolicy string

// The reference policies.
const (
	ReferenceBase     ReferencePolicy = "Base"
	ReferencePrevious ReferencePolicy = "Previous"
)

// TrainingStart is where training starts.
//
// +kubebuilder:validation:Enum=Best;Fresh
type TrainingStart string

// The starts.
const (
	StartBest  TrainingStart = "Best"
	StartFresh TrainingStart = "Fresh"
)

// LoRASpec is the adapter's shape.
type LoRASpec struct {
	// rank of the low-rank update.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1024
	Rank int32 `json:"rank,omitempty"`

	// alpha scales the update by alpha/rank.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=4096
	Alpha int32 `json:"alpha,omitempty"`
}

// EvaluationSpec says how an adapter is measured.
//
// +kubebuilder:validation:MinProperties=1
type EvaluationSpec struct {
	// samplesPerPrompt of the evaluation prompts.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	SamplesPerPrompt int32 `json:"samplesPerPrompt,omitempty"`

	// seed of the evaluation samples; the same for every iteration.
	// +optional
	// +default=0
	// +kubebuilder:validation:Minimum=0
	Seed *int64 `json:"seed,omitempty"`

	// headlineThreshold is the DSR-Score whose accuracy decides: Acc@headlineThreshold.
	// +optional
	// +default="0.7"
	// +kubebuilder:validation:Enum="0.0";"0.1";"0.2";"0.3";"0.4";"0.5";"0.6";"0.7";"0.8";"0.9"
	HeadlineThreshold Fraction `json:"headlineThreshold,omitempty"`
}
