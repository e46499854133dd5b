package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RunPhase sums a run up in one word. It is derived from the rest of the status, never read by a controller.
//
// +kubebuilder:validation:Enum=Pending;Running;AwaitingApproval;Suspended;Succeeded;Failed
type RunPhase string

// Phases of every kind that runs stages.
const (
	PhasePending          RunPhase = "Pending"
	PhaseRunning          RunPhase = "Running"
	PhaseAwaitingApproval RunPhase = "AwaitingApproval"
	PhaseSuspended        RunPhase = "Suspended"
	PhaseSucceeded        RunPhase = "Succeeded"
	PhaseFailed           RunPhase = "Failed"
)

// AlignmentRunStatus tells everything that is known of a run.
type AlignmentRunStatus struct {
	// conditions are Complete, Failed, Suspended, QuotaReserved, AwaitingApproval, Reconciling, Stalled.
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

	// lastImprovedIteration is the last iteration whose accepted adapter was better than all before it: stopping.patience counts from it.
	// +optional
	// +kubebuilder:validation:Minimum=1
	LastImprovedIteration int32 `json:"lastImprovedIteration,omitempty"`

	// test is what the best adapter reached on the test prompts.
	// +optional
	Test *TestStatus `json:"test,omitempty"`

	// gpuSeconds of the whole run.
	// +optional
	// +kubebuilder:validation:Minimum=1
	GPUSeconds int64 `json:"gpuSeconds,omitempty"`

	// wastedGPUSeconds is the part of gpuSeconds of pods that did not end well.
	// +optional
	WastedGPUSeconds *WastedGPUSeconds `json:"wastedGPUSeconds,omitempty"`

	// forecastGPUSeconds is what the iteration after the last decided one is expected to take.
	// +optional
	// +kubebuilder:validation:Minimum=1
	ForecastGPUSeconds int64 `json:"forecastGPUSeconds,omitempty"`

	// activeSeconds in which pods of the run ran, up to activeSince: see spec.activeDeadlineSeconds.
	// +optional
	// +kubebuilder:validation:Minimum=1
	ActiveSeconds int64 `json:"activeSeconds,omitempty"`

	// activeSince is since when pods of the run have been running without a break; absent while none does.
	// +optional
	ActiveSince *metav1.Time `json:"activeSince,omitempty"`

	// pendingApproval is what a person is asked, while one is.
	// +optional
	PendingApproval *PendingApproval `json:"pendingApproval,omitempty"`

	// initialDataset is what spec.initialDataset named, when the run was accepted.
	// +optional
	InitialDataset *PairSummary `json:"initialDataset,omitempty"`

	// prompts are the resolved prompt sets.
	// +optional
	Prompts *ResolvedPrompts `json:"prompts,omitempty"`

	// iterations from 0, the baseline: that one, the best one, and the newest 32. The lineage in the store has them all.
	// +optional
	// +listType=map
	// +listMapKey=iteration
	// +kubebuilder:validation:MaxItems=40
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

	// accuracy on the held-out prompts, at the headline threshold, as last evaluated.
	// +required
	Accuracy Fraction `json:"accuracy,omitempty"`

	// adapter in the store; absent while the base model is best.
	// +optional
	Adapter *ArtifactReference `json:"adapter,omitempty"`

	// lineage is what it was made of.
	// +optional
	Lineage *ArtifactReference `json:"lineage,omitempty"`

	// modelCard describes it to people.
	// +optional
	ModelCard *ArtifactReference `json:"modelCard,omitempty"`
}

// TestStatus is the evaluation on the test prompts.
type TestStatus struct {
	// iteration whose adapter was tested; 0 is the baseline's.
	// +required
	// +kubebuilder:validation:Minimum=0
	Iteration *int32 `json:"iteration,omitempty"`

	// evaluation on the test prompts.
	// +required
	Evaluation ScoreSummary `json:"evaluation,omitzero"`
}

// PendingApproval is what an AlignmentApproval has to answer.
type PendingApproval struct {
	// iteration that waits.
	// +required
	// +kubebuilder:validation:Minimum=1
	Iteration int32 `json:"iteration,omitempty"`

	// gate that it waits at.
	// +required
	Gate ApprovalGate `json:"gate,omitempty"`

	// digest of what is to be approved: the pairs after Pair, the adapter after Evaluate.
	// +required
	Digest Digest `json:"digest,omitempty"`

	// since when it waits.
	// +required
	Since *metav1.Time `json:"since,omitempty"`

	// suspendedSeconds of it in which the run was suspended, up to the last time that it was resumed:
	// spec.approval.timeoutSeconds does not count them.
	// +optional
	// +kubebuilder:validation:Minimum=1
	SuspendedSeconds int64 `json:"suspendedSeconds,omitempty"`
}

// ResolvedPrompts are the prompt sets as files.
type ResolvedPrompts struct {
	// train prompts.
	// +required
	Train ResolvedPromptSet `json:"train,omitzero"`

	// evaluation prompts.
	// +required
	Evaluation ResolvedPromptSet `json:"evaluation,omitzero"`

	// test prompts, where the spec has them.
	// +optional
	Test *ResolvedPromptSet `json:"test,omitempty"`
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

	// stages of the iteration, in order. They are dropped when eight newer iterations have ended.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +listMapKey=round
	// +kubebuilder:validation:MaxItems=40
	Stages []StageStatus `json:"stages,omitempty"`

	// gpuSeconds of the iteration's stages.
	// +optional
	// +kubebuilder:validation:Minimum=1
	GPUSeconds int64 `json:"gpuSeconds,omitempty"`

	// wastedGPUSeconds is the part of gpuSeconds of pods that did not end well.
	// +optional
	WastedGPUSeconds *WastedGPUSeconds `json:"wastedGPUSeconds,omitempty"`

	// samples is what the training samples scored, without those of resampling rounds.
	// +optional
	Samples *ScoreSummary `json:"samples,omitempty"`

	// resampled is what the samples of resampling rounds scored.
	// +optional
	// +listType=map
	// +listMapKey=round
	// +kubebuilder:validation:MaxItems=5
	Resampled []ResampledRound `json:"resampled,omitempty"`

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

	// comparison with the best adapter at the time, paired by prompt and seed. It goes by the re-evaluation, where there is one.
	// +optional
	Comparison *Comparison `json:"comparison,omitempty"`

	// reevaluation of the best adapter, which had been evaluated on another GPU model than this iteration's. From then on the
	// run goes by it.
	// +optional
	Reevaluation *Reevaluation `json:"reevaluation,omitempty"`

	// approvals that were given or denied.
	// +optional
	// +listType=map
	// +listMapKey=gate
	// +kubebuilder:validation:MaxItems=2
	Approvals []ApprovalRecord `json:"approvals,omitempty"`

	// decision says whether the adapter became the best one, and why.
	// +optional
	Decision *Decision `json:"decision,omitempty"`

	// lineage in the store suffices to make the iteration again.
	// +optional
	Lineage *ArtifactReference `json:"lineage,omitempty"`
}

// ResampledRound is a round of samples that a shortfall of pairs asked for.
type ResampledRound struct {
	// round number, from 1.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=5
	Round int32 `json:"round,omitempty"`

	// samples is what they scored.
	// +required
	Samples ScoreSummary `json:"samples,omitzero"`
}

// ApprovalRecord is an answer that was taken.
type ApprovalRecord struct {
	// gate that was answered.
	// +required
	Gate ApprovalGate `json:"gate,omitempty"`

	// approved says how.
	// +required
	Approved *bool `json:"approved,omitempty"`

	// approval is the name of the AlignmentApproval.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Approval string `json:"approval,omitempty"`

	// digest that was approved.
	// +required
	Digest Digest `json:"digest,omitempty"`

	// time at which the answer was taken.
	// +required
	Time *metav1.Time `json:"time,omitempty"`
}

// Decision of the acceptance gate.
type Decision struct {
	// accepted says whether the adapter became the best one.
	// +required
	Accepted *bool `json:"accepted,omitempty"`

	// reason in one word: Accepted, TooLittleGain, GuardrailTripped or ApprovalDenied.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason,omitempty"`

	// message says why, with the numbers compared.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}
