package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AlignmentRunSpec is the loop: what to align, on which prompts, how long.
//
// +kubebuilder:validation:XValidation:rule="self.runtimeRef == oldSelf.runtimeRef",message="runtimeRef is immutable; create a new run"
// +kubebuilder:validation:XValidation:rule="self.prompts == oldSelf.prompts",message="prompts is immutable; create a new run"
// +kubebuilder:validation:XValidation:rule="has(self.sampling) == has(oldSelf.sampling) && (!has(self.sampling) || self.sampling == oldSelf.sampling)",message="sampling is immutable; create a new run"
// +kubebuilder:validation:XValidation:rule="has(self.scoring) == has(oldSelf.scoring) && (!has(self.scoring) || self.scoring == oldSelf.scoring)",message="scoring is immutable; create a new run"
// +kubebuilder:validation:XValidation:rule="has(self.pairing) == has(oldSelf.pairing) && (!has(self.pairing) || self.pairing == oldSelf.pairing)",message="pairing is immutable; create a new run"
// +kubebuilder:validation:XValidation:rule="has(self.training) == has(oldSelf.training) && (!has(self.training) || self.training == oldSelf.training)",message="training is immutable; create a new run"
// +kubebuilder:validation:XValidation:rule="has(self.evaluation) == has(oldSelf.evaluation) && (!has(self.evaluation) || self.evaluation == oldSelf.evaluation)",message="evaluation is immutable; create a new run"
// +kubebuilder:validation:XValidation:rule="has(self.acceptance) == has(oldSelf.acceptance) && (!has(self.acceptance) || self.acceptance == oldSelf.acceptance)",message="acceptance is immutable; create a new run"
// +kubebuilder:validation:XValidation:rule="has(self.retries) == has(oldSelf.retries) && (!has(self.retries) || self.retries == oldSelf.retries)",message="retries is immutable; create a new run"
type AlignmentRunSpec struct {
	// runtimeRef names the AlignmentRuntime: the model, the images, the store. While it does not
	// exist, or does not allow the run's namespace, the run waits and its conditions say so.
	// +required
	RuntimeRef RuntimeReference `json:"runtimeRef,omitzero"`

	// prompts are the training prompts and the held-out evaluation prompts. They may not overlap:
	// no (type, subject, object) may stand in both.
	// +required
	Prompts PromptsSpec `json:"prompts,omitzero"`

	// sampling of videos. What is absent comes from the runtime's defaults.
	// +optional
	// +default={"seed":0}
	Sampling *SamplingSpec `json:"sampling,omitempty"`

	// scoring rules.
	// +optional
	// +default={"minUsableFrames":20,"maxInvalidFraction":"0.9"}
	Scoring *ScoringSpec `json:"scoring,omitempty"`

	// pairing rules.
	// +optional
	// +default={"winnerThreshold":"0.7","loserThreshold":"0.7"}
	Pairing *PairingSpec `json:"pairing,omitempty"`

	// training of the adapter. What is absent comes from the runtime's defaults.
	// +optional
	// +default={"beta":"1","lambda":"0.5","marginClip":"5"}
	Training *TrainingSpec `json:"training,omitempty"`

	// evaluation on the held-out prompts.
	// +optional
	// +default={"seed":0,"headlineThreshold":"0.7"}
	Evaluation *EvaluationSpec `json:"evaluation,omitempty"`

	// acceptance says when a new adapter replaces the best one.
	// +optional
	// +default={"minDelta":"0"}
	Acceptance *AcceptanceSpec `json:"acceptance,omitempty"`

	// stopping ends the run before its iterations are used up. It may be changed while the run goes on.
	// +optional
	Stopping *StoppingSpec `json:"stopping,omitempty"`

	// iterations to run at most. It may be changed while the run goes on.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Iterations int32 `json:"iterations,omitempty"`

	// retries is how many failed attempts of a stage are followed by another.
	// +optional
	// +default=2
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10
	Retries *int32 `json:"retries,omitempty"`

	// suspend stops the run: its active Jobs are deleted, what they finished stays in the store, and
	// setting it to false goes on with the next attempt.
	// +optional
	// +default=false
	Suspend *bool `json:"suspend,omitempty"`
}

// PromptsSpec names the prompt sets.
type PromptsSpec struct {
	// train prompts are sampled, scored and paired.
	// +required
	Train PromptSource `json:"train,omitzero"`

	// evaluation prompts are held out of training and measure every adapter with the same seeds.
	// +required
	Evaluation PromptSource `json:"evaluation,omitzero"`
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

	// steps of the sampler.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Steps int32 `json:"steps,omitempty"`
}

// TrainingSpec says how the adapter is trained: zeroth-order-regularized DPO on a LoRA.
//
// +kubebuilder:validation:MinProperties=1
type TrainingSpec struct {
	// steps of the optimizer.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	Steps int32 `json:"steps,omitempty"`

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
}

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

// AcceptanceSpec says when a new adapter replaces the best one.
//
// +kubebuilder:validation:MinProperties=1
type AcceptanceSpec struct {
	// minDelta is what the headline accuracy must gain over the best one's.
	// +optional
	// +default="0"
	MinDelta Fraction `json:"minDelta,omitempty"`
}

// StoppingSpec ends a run early and well.
//
// +kubebuilder:validation:MinProperties=1
type StoppingSpec struct {
	// targetAccuracy ends the run when an accepted adapter's headline accuracy reaches it.
	// +optional
	TargetAccuracy Fraction `json:"targetAccuracy,omitempty"`

	// patience ends the run after that many iterations in a row that did not raise the best accuracy.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Patience int32 `json:"patience,omitempty"`
}

// AlignmentRun aligns a text-to-video model with what its prompts ask for: it samples videos, scores
// them, builds preference pairs, trains a LoRA adapter, evaluates it on held-out prompts, and goes round again.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=arun,categories=alignment
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Iteration",type=integer,JSONPath=`.status.progress.iteration`
// +kubebuilder:printcolumn:name="Stage",type=string,JSONPath=`.status.progress.stage`
// +kubebuilder:printcolumn:name="Progress",type=integer,JSONPath=`.status.progress.percentage`
// +kubebuilder:printcolumn:name="Accuracy",type=string,JSONPath=`.status.accuracy`
// +kubebuilder:printcolumn:name="Best",type=string,JSONPath=`.status.best.accuracy`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must be a DNS label of at most 63 characters: it becomes a label of the run's Jobs"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.status) || !has(oldSelf.status.conditions) || !oldSelf.status.conditions.exists(c, (c.type == 'Complete' || c.type == 'Failed') && c.status == 'True') || self.spec == oldSelf.spec",message="the run has ended; create a new run"
type AlignmentRun struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what is wanted.
	// +required
	Spec AlignmentRunSpec `json:"spec,omitzero"`

	// status is what is.
	// +optional
	Status AlignmentRunStatus `json:"status,omitzero"`
}

// AlignmentRunList is a list of AlignmentRuns.
//
// +kubebuilder:object:root=true
type AlignmentRunList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []AlignmentRun `json:"items"`
}

// HeadlineThreshold is spec.evaluation.headlineThreshold; empty in a run that no API server has defaulted.
func (r *AlignmentRun) HeadlineThreshold() Fraction {
	if r.Spec.Evaluation == nil {
		return ""
	}
	return r.Spec.Evaluation.HeadlineThreshold
}
