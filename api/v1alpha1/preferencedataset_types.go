package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PreferenceDatasetSpec says where the pairs come from.
//
// +kubebuilder:validation:XValidation:rule="has(self.sources) != has(self.import)",message="exactly one of sources and import must be set"
// +kubebuilder:validation:XValidation:rule="!has(self.import) || !has(self.pairing)",message="pairing is for sources; imported pairs are taken as they are"
// +kubebuilder:validation:XValidation:rule="!has(self.extends) || has(self.sources)",message="extends adds to sources; an import is taken as it is"
type PreferenceDatasetSpec struct {
	// runtimeRef names the AlignmentRuntime whose store holds scores and pairs.
	// +required
	RuntimeRef RuntimeReference `json:"runtimeRef,omitzero"`

	// extends is a pairs.jsonl of the store, usually an earlier dataset's, whose pairs come before those of the sources.
	// +optional
	Extends *ArtifactReference `json:"extends,omitempty"`

	// sources are the scores to form pairs of. Pairs are formed within an iteration, never across: sources of the same
	// iteration are taken together.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	Sources []PairSource `json:"sources,omitempty"`

	// import takes a pairs.jsonl of the store after checking every line.
	// +optional
	Import *ArtifactReference `json:"import,omitempty"`

	// pairing rules for sources: 0.7 and 0.7 when absent. Imported pairs have theirs behind them.
	// +optional
	Pairing *PairingSpec `json:"pairing,omitempty"`

	// retries is how many failed attempts are followed by another.
	// +optional
	// +default=2
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10
	Retries *int32 `json:"retries,omitempty"`
}

// PairSource is scores of one iteration.
//
// +kubebuilder:validation:XValidation:rule="has(self.scoringBatch) != has(self.scores)",message="exactly one of scoringBatch and scores must be set"
type PairSource struct {
	// scoringBatch is the name of a ScoringBatch in the same namespace. The dataset waits until it is complete.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	ScoringBatch string `json:"scoringBatch,omitempty"`

	// scores is a scores.jsonl in the store.
	// +optional
	Scores *ArtifactReference `json:"scores,omitempty"`

	// iteration that the samples belong to; 0 outside of runs.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1048576
	Iteration *int32 `json:"iteration,omitempty"`
}

// PreferenceDatasetStatus tells what the pairs are.
type PreferenceDatasetStatus struct {
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

	// stages has one: Pair.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +listMapKey=round
	// +kubebuilder:validation:MaxItems=1
	Stages []StageStatus `json:"stages,omitempty"`

	// summary of the pairs.
	// +optional
	Summary *PairSummary `json:"summary,omitempty"`

	// runtime is what the AlignmentRuntime said when the dataset was accepted.
	// +optional
	Runtime *RuntimeSnapshot `json:"runtime,omitempty"`
}

// PreferenceDataset is an immutable, digest-addressed set of winner/loser pairs.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=prefs,categories=alignment
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Pairs",type=integer,JSONPath=`.status.summary.pairs`
// +kubebuilder:printcolumn:name="Prompts",type=integer,JSONPath=`.status.summary.usablePrompts`
// +kubebuilder:printcolumn:name="Digest",type=string,JSONPath=`.status.summary.artifact.digest`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must be a DNS label of at most 63 characters: it becomes a label of the dataset's Job"
// +kubebuilder:validation:XValidation:rule="self.spec == oldSelf.spec",message="spec is immutable; create a new PreferenceDataset"
type PreferenceDataset struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what is wanted.
	// +required
	Spec PreferenceDatasetSpec `json:"spec,omitzero"`

	// status is what is. Its default makes kstatus wait until the operator has seen the object.
	// +optional
	// +default={"observedGeneration": 0}
	// +structType=atomic
	Status PreferenceDatasetStatus `json:"status,omitzero"`
}

// PreferenceDatasetList is a list of PreferenceDatasets.
//
// +kubebuilder:object:root=true
type PreferenceDatasetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []PreferenceDataset `json:"items"`
}
