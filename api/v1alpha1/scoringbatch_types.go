package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Tracking is where a batch's tracks come from.
//
// +kubebuilder:validation:Enum=Run;Stored
type Tracking string

// Where tracks come from.
const (
	// TrackingRun tracks the videos, but for those whose tracks are kept in the store.
	TrackingRun Tracking = "Run"
	// TrackingStored takes the tracks that are kept in the store.
	TrackingStored Tracking = "Stored"
)

// TrackGuardName names a guard metric that the tracker measures, with weights of its own.
//
// +kubebuilder:validation:Enum=clipIQAQuality;clipIQANatural;identityConsistency
type TrackGuardName string

// ScoringBatchSpec names videos to track and score.
type ScoringBatchSpec struct {
	// runtimeRef names the AlignmentRuntime whose detector tracks and whose store holds the videos.
	// +required
	RuntimeRef RuntimeReference `json:"runtimeRef,omitzero"`

	// prompts is a prompts.jsonl in the store.
	// +required
	Prompts ArtifactReference `json:"prompts,omitzero"`

	// index is an index.jsonl in the store: a line per video with sampleID, promptID, seed and, for
	// videos of your own, the video's key and digest.
	// +required
	Index ArtifactReference `json:"index,omitzero"`

	// scoring rules.
	// +optional
	// +default={"minUsableFrames":20,"maxInvalidFraction":"0.9"}
	Scoring *ScoringSpec `json:"scoring,omitempty"`

	// tracking is Run, or Stored: take the tracks that are kept in the store and start no tracking pod. Scoring fails where
	// they are missing.
	// +optional
	// +default="Run"
	Tracking Tracking `json:"tracking,omitempty"`

	// requiredGuards are guard metrics that the track of every scored sample must have. Scoring fails where one is missing.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=3
	RequiredGuards []TrackGuardName `json:"requiredGuards,omitempty"`

	// retries is how many failed attempts of a stage are followed by another.
	// +optional
	// +default=2
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10
	Retries *int32 `json:"retries,omitempty"`
}

// ScoringBatchStatus tells what the videos scored.
type ScoringBatchStatus struct {
	// conditions are Complete, Failed, Reconciling, Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the generation of the spec that this status answers; 0 before the operator has seen any.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// phase in one word.
	// +optional
	Phase RunPhase `json:"phase,omitempty"`

	// progress of the stage that runs.
	// +optional
	Progress *ProgressStatus `json:"progress,omitempty"`

	// stages are Track, unless tracking is Stored, then Score.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +listMapKey=round
	// +kubebuilder:validation:MaxItems=2
	Stages []StageStatus `json:"stages,omitempty"`

	// gpuSeconds of all stages.
	// +optional
	// +kubebuilder:validation:Minimum=1
	GPUSeconds int64 `json:"gpuSeconds,omitempty"`

	// wastedGPUSeconds is the part of gpuSeconds of pods that did not end well.
	// +optional
	WastedGPUSeconds *WastedGPUSeconds `json:"wastedGPUSeconds,omitempty"`

	// summary of the scores.
	// +optional
	Summary *ScoreSummary `json:"summary,omitempty"`

	// runtime is what the AlignmentRuntime said when the batch was accepted.
	// +optional
	Runtime *RuntimeSnapshot `json:"runtime,omitempty"`
}

// ScoringBatch tracks (sharded, on GPUs) and scores (one CPU pod) a set of videos.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=sbatch,categories=alignment
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Stage",type=string,JSONPath=`.status.progress.stage`
// +kubebuilder:printcolumn:name="Progress",type=integer,JSONPath=`.status.progress.percentage`
// +kubebuilder:printcolumn:name="Total",type=integer,JSONPath=`.status.summary.total`
// +kubebuilder:printcolumn:name="Invalid",type=integer,JSONPath=`.status.summary.invalid`
// +kubebuilder:printcolumn:name="Mean",type=string,JSONPath=`.status.summary.meanScore`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must be a DNS label of at most 63 characters: it becomes a label of the batch's Jobs"
// +kubebuilder:validation:XValidation:rule="self.spec == oldSelf.spec",message="spec is immutable; create a new ScoringBatch"
type ScoringBatch struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what is wanted.
	// +required
	Spec ScoringBatchSpec `json:"spec,omitzero"`

	// status is what is. Its default makes kstatus wait until the operator has seen the object.
	// +optional
	// +default={"observedGeneration": 0}
	// +structType=atomic
	Status ScoringBatchStatus `json:"status,omitzero"`
}

// ScoringBatchList is a list of ScoringBatches.
//
// +kubebuilder:object:root=true
type ScoringBatchList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []ScoringBatch `json:"items"`
}
