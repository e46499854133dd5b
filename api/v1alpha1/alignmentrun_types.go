package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AlignmentRunSpec is the loop: what to align, on which prompts, how long. Only suspend, iterations, stopping, budget and
// ttlSecondsAfterFinished can be changed, and scheduling while the run is suspended.
//
// +kubebuilder:validation:XValidation:rule="self.runtimeRef == oldSelf.runtimeRef",message="runtimeRef is immutable; create a new run"
// +kubebuilder:validation:XValidation:rule="self.prompts == oldSelf.prompts",message="prompts is immutable; create a new run"
// +kubebuilder:validation:XValidation:rule="has(self.store) == has(oldSelf.store) && (!has(self.store) || self.store == oldSelf.store)",message="store is immutable; create a new run"
// +kubebuilder:validation:XValidation:rule="has(self.initialAdapter) == has(oldSelf.initialAdapter) && (!has(self.initialAdapter) || self.initialAdapter == oldSelf.initialAdapter)",message="initialAdapter is immutable; create a new run"
// +kubebuilder:validation:XValidation:rule="has(self.initialDataset) == has(oldSelf.initialDataset) && (!has(self.initialDataset) || self.initialDataset == oldSelf.initialDataset)",message="initialDataset is immutable; create a new run"
// +kubebuilder:validation:XValidation:rule="has(self.rerun) == has(oldSelf.rerun) && (!has(self.rerun) || self.rerun == oldSelf.rerun)",message="rerun is immutable; create a new run"
// +kubebuilder:validation:XValidation:rule="has(self.sampling) == has(oldSelf.sampling) && (!has(self.sampling) || self.sampling == oldSelf.sampling)",message="sampling is immutable; create a new run"
// +kubebuilder:validation:XValidation:rule="has(self.scoring) == has(oldSelf.scoring) && (!has(self.scoring) || self.scoring == oldSelf.scoring)",message="scoring is immutable; create a new run"
// +kubebuilder:validation:XValidation:rule="has(self.pairing) == has(oldSelf.pairing) && (!has(self.pairing) || self.pairing == oldSelf.pairing)",message="pairing is immutable; create a new run"
// +kubebuilder:validation:XValidation:rule="has(self.training) == has(oldSelf.training) && (!has(self.training) || self.training == oldSelf.training)",message="training is immutable; create a new run"
// +kubebuilder:validation:XValidation:rule="has(self.evaluation) == has(oldSelf.evaluation) && (!has(self.evaluation) || self.evaluation == oldSelf.evaluation)",message="evaluation is immutable; create a new run"
// +kubebuilder:validation:XValidation:rule="has(self.acceptance) == has(oldSelf.acceptance) && (!has(self.acceptance) || self.acceptance == oldSelf.acceptance)",message="acceptance is immutable; create a new run"
// +kubebuilder:validation:XValidation:rule="has(self.approval) == has(oldSelf.approval) && (!has(self.approval) || self.approval == oldSelf.approval)",message="approval is immutable; create a new run"
// +kubebuilder:validation:XValidation:rule="has(self.retries) == has(oldSelf.retries) && (!has(self.retries) || self.retries == oldSelf.retries)",message="retries is immutable; create a new run"
// +kubebuilder:validation:XValidation:rule="has(self.startupDeadlineSeconds) == has(oldSelf.startupDeadlineSeconds) && (!has(self.startupDeadlineSeconds) || self.startupDeadlineSeconds == oldSelf.startupDeadlineSeconds)",message="startupDeadlineSeconds is immutable; create a new run"
// +kubebuilder:validation:XValidation:rule="has(self.activeDeadlineSeconds) == has(oldSelf.activeDeadlineSeconds) && (!has(self.activeDeadlineSeconds) || self.activeDeadlineSeconds == oldSelf.activeDeadlineSeconds)",message="activeDeadlineSeconds is immutable; create a new run"
// +kubebuilder:validation:XValidation:rule="has(self.cleanup) == has(oldSelf.cleanup) && (!has(self.cleanup) || self.cleanup == oldSelf.cleanup)",message="cleanup is immutable; create a new run"
// +kubebuilder:validation:XValidation:rule="has(self.ttlTarget) == has(oldSelf.ttlTarget) && (!has(self.ttlTarget) || self.ttlTarget == oldSelf.ttlTarget)",message="ttlTarget is immutable; create a new run"
// +kubebuilder:validation:XValidation:rule="has(oldSelf.suspend) && oldSelf.suspend || has(self.scheduling) == has(oldSelf.scheduling) && (!has(self.scheduling) || self.scheduling == oldSelf.scheduling)",message="scheduling can be changed only while the run is suspended: set suspend to true first"
// +kubebuilder:validation:XValidation:rule="!has(self.rerun) || !has(self.initialAdapter) && !has(self.initialDataset)",message="a rerun takes adapter and dataset from the run it refers to; leave initialAdapter and initialDataset out"
// +kubebuilder:validation:XValidation:rule="!has(self.rerun) || self.rerun.iteration <= self.iterations",message="rerun.iteration must be at most iterations"
type AlignmentRunSpec struct {
	// runtimeRef names the AlignmentRuntime: the model, the images, the store. While it does not
	// exist, or does not allow the run's namespace, the run waits and its conditions say so.
	// +required
	RuntimeRef RuntimeReference `json:"runtimeRef,omitzero"`

	// store to use instead of the runtime's, resolved in the run's namespace.
	// +optional
	Store *StoreSpec `json:"store,omitempty"`

	// prompts are the training prompts, the held-out evaluation prompts and, where wanted, test prompts. They may not
	// overlap: no (type, subject, object) may stand in two of them.
	// +required
	Prompts PromptsSpec `json:"prompts,omitzero"`

	// initialAdapter is an adapter in the store to start from instead of the base model: the baseline evaluates it,
	// and iteration 1 samples from it and goes on training it. Its digest must be given: samples are addressed by it.
	// +optional
	// +kubebuilder:validation:XValidation:rule="has(self.digest)",message="digest must be set: samples are addressed by it"
	InitialAdapter *ArtifactReference `json:"initialAdapter,omitempty"`

	// initialDataset names a PreferenceDataset of the same namespace. Iteration 1 trains on it at once, without
	// sampling; later iterations add theirs to it (history: Cumulative) or replace it (Latest).
	// +optional
	InitialDataset *PreferenceDatasetReference `json:"initialDataset,omitempty"`

	// rerun goes on from what another run of the namespace has recorded.
	// +optional
	Rerun *RerunSpec `json:"rerun,omitempty"`

	// sampling of videos. What is absent comes from the runtime's defaults.
	// +optional
	// +default={"seed":0}
	Sampling *SamplingSpec `json:"sampling,omitempty"`

	// scoring rules.
	// +optional
	// +default={"minUsableFrames":20,"maxInvalidFraction":"0.9"}
	Scoring *ScoringSpec `json:"scoring,omitempty"`

	// pairing rules, and the gate before training.
	// +optional
	// +default={"winnerThreshold":"0.7","loserThreshold":"0.7","minMargin":"0","minPairs":1,"minPromptCoverage":"0","history":"Cumulative","onShortfall":"Fail","maxResampleRounds":2}
	Pairing *RunPairingSpec `json:"pairing,omitempty"`

	// training of the adapter. What is absent comes from the runtime's defaults.
	// +optional
	// +default={"beta":"1","lambda":"0.5","marginClip":"5","referencePolicy":"Base","start":"Best"}
	Training *TrainingSpec `json:"training,omitempty"`

	// evaluation on the held-out prompts.
	// +optional
	// +default={"seed":0,"headlineThreshold":"0.7"}
	Evaluation *EvaluationSpec `json:"evaluation,omitempty"`

	// acceptance says when a new adapter replaces the best one.
	// +optional
	// +default={"minDelta":"0","onReject":"Rollback"}
	Acceptance *AcceptanceSpec `json:"acceptance,omitempty"`

	// stopping ends the run before its iterations are used up. It may be changed while the run goes on.
	// +optional
	Stopping *StoppingSpec `json:"stopping,omitempty"`

	// iterations to run at most. It may be changed while the run goes on.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	Iterations int32 `json:"iterations,omitempty"`

	// budget of GPU time. It may be changed while the run goes on; raising it resumes a run that it suspended.
	// +optional
	Budget *BudgetSpec `json:"budget,omitempty"`

	// approval asks a person before the run goes on. Nothing runs meanwhile.
	// +optional
	Approval *ApprovalSpec `json:"approval,omitempty"`

	// scheduling of the stages' pods. It may be changed while the run is suspended.
	// +optional
	Scheduling *SchedulingSpec `json:"scheduling,omitempty"`

	// retries is how many failed attempts of a stage are followed by another. Disruptions and suspensions are no failures.
	// +optional
	// +default=2
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10
	Retries *int32 `json:"retries,omitempty"`

	// startupDeadlineSeconds is how long a pod may be unable to start for a reason that waiting for capacity does not
	// cure: an image that cannot be pulled, a Secret that is missing, a request that no node could ever fit. Then the
	// stage fails for good. Time in a queue or waiting for a busy node does not count.
	// +optional
	// +default=1800
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=604800
	StartupDeadlineSeconds int64 `json:"startupDeadlineSeconds,omitempty"`

	// activeDeadlineSeconds fails the run after that many seconds in which its pods ran: time suspended, waiting for
	// approval or in a queue does not count.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=315360000
	ActiveDeadlineSeconds int64 `json:"activeDeadlineSeconds,omitempty"`

	// suspend stops the run: its active Jobs are deleted, what they finished stays in the store, and
	// setting it to false goes on with the next attempt.
	// +optional
	// +default=false
	Suspend *bool `json:"suspend,omitempty"`

	// ttlSecondsAfterFinished is how long after its end the run's child objects are deleted, as cleanup says. They stay
	// when it is absent. What is in the store stays in any case.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=315360000
	TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished,omitempty"`

	// ttlTarget says what ttlSecondsAfterFinished deletes: the run's children, or the run itself with them. GitOps tools
	// create a deleted run again: use Run only for runs that no such tool manages.
	// +optional
	// +default="Children"
	TTLTarget TTLTarget `json:"ttlTarget,omitempty"`

	// cleanup says after which endings ttlSecondsAfterFinished applies.
	// +optional
	// +default="OnSuccess"
	Cleanup CleanupPolicy `json:"cleanup,omitempty"`
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

	// status is what is. Its default makes kstatus wait until the operator has seen the object.
	// +optional
	// +default={"observedGeneration": 0}
	// +structType=atomic
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
