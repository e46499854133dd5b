package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RunPhase sums a run up in one word. It is derived from the rest of the status, never read by a controller.
//
// +kubebuilder:validation:Enum=Pending;Running;Suspended;Succeeded;Failed
type RunPhase string

// Phases of every kind that runs stages.
const (
	PhasePending   RunPhase = "Pending"
	PhaseRunning   RunPhase = "Running"
	PhaseSuspended RunPhase = "Suspended"
	PhaseSucceeded RunPhase = "Succeeded"
	PhaseFailed    RunPhase = "Failed"
)

// AlignmentRunStatus tells everything that is known of a run.
type AlignmentRunStatus struct {
	// conditions are Complete, Failed, Suspended, Reconciling, Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the generation of the spec that this status answers.
	// +optional
	// +kubebuilder:validation:Minimum=1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// phase in one word.
	// +optional
	Phase RunPhase `json:"phase,omitempty"`

	// startTime is when the run was accepted.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`

	// completionTime is when the run ended.
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`

	// progress of the stage that runs.
	// +optional
	Progress *ProgressStatus `json:"progress,omitempty"`

	// accuracy is the headline accuracy of the last iteration that was evaluated.
	// +optional
	Accuracy Fraction `json:"accuracy,omitempty"`

	// best is the best adapter so far. It is never lost.
	// +optional
	Best *BestAdapter `json:"best,omitempty"`

	// prompts are the resolved prompt sets.
	// +optional
	Prompts *ResolvedPrompts `json:"prompts,omitempty"`

	// iterations from 0, the baseline.
	// +optional
	// +listType=map
	// +listMapKey=iteration
	// +kubebuilder:validation:MaxItems=101
	Iterations []IterationStatus `json:"iterations,omitempty"`

	// runtime is what the AlignmentRuntime said when the run was accepted. The run goes by this, whatever changes there.
	// +optional
	Runtime *RuntimeSnapshot `json:"runtime,omitempty"`
}

// BestAdapter is the best accepted adapter.
type BestAdapter struct {
	// iteration that made it; 0 is the base model.
	// +required
	// +kubebuilder:validation:Minimum=0
	Iteration *int32 `json:"iteration,omitempty"`

	// accuracy on the held-out prompts, at the headline threshold.
	// +required
	Accuracy Fraction `json:"accuracy,omitempty"`

	// adapter in the store; absent while the base model is best.
	// +optional
	Adapter *ArtifactReference `json:"adapter,omitempty"`
}

// ResolvedPrompts are the prompt sets as files.
type ResolvedPrompts struct {
	// train prompts.
	// +required
	Train ResolvedPromptSet `json:"train,omitzero"`

	// evaluation prompts.
	// +required
	Evaluation ResolvedPromptSet `json:"evaluation,omitzero"`
}

// ResolvedPromptSet is one prompt set as a file.
type ResolvedPromptSet struct {
	// key is the file's path under the store's root.
	// +required
	Key ArtifactKey `json:"key,omitempty"`

	// digest of the file's content.
	// +required
	Digest Digest `json:"digest,omitempty"`

	// count of prompts.
	// +required
	// +kubebuilder:validation:Minimum=1
	Count int64 `json:"count,omitempty"`
}

// IterationStatus is one round of the loop; iteration 0 evaluates the base model.
type IterationStatus struct {
	// iteration number.
	// +required
	// +kubebuilder:validation:Minimum=0
	Iteration *int32 `json:"iteration,omitempty"`

	// startTime is when the iteration's first stage was created.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`

	// completionTime is when its evaluation was recorded.
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`

	// stages of the iteration, in order.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	Stages []StageStatus `json:"stages,omitempty"`

	// samples is what the training samples scored.
	// +optional
	Samples *ScoreSummary `json:"samples,omitempty"`

	// pairs is what pairing found.
	// +optional
	Pairs *PairSummary `json:"pairs,omitempty"`

	// training is what the training ended with, such as the loss.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Training []NamedMetric `json:"training,omitempty"`

	// adapter that the training made.
	// +optional
	Adapter *ArtifactReference `json:"adapter,omitempty"`

	// evaluation on the held-out prompts.
	// +optional
	Evaluation *ScoreSummary `json:"evaluation,omitempty"`

	// decision says whether the adapter became the best one, and why.
	// +optional
	Decision *Decision `json:"decision,omitempty"`
}

// Decision of the acceptance gate.
type Decision struct {
	// accepted says whether the adapter became the best one.
	// +required
	Accepted *bool `json:"accepted,omitempty"`

	// message says why, with the numbers compared.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Message string `json:"message,omitempty"`
}
