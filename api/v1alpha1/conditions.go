package v1alpha1

// Condition types. Each carries the observedGeneration it was computed for.
const (
	// ConditionComplete is True when the object reached its end well; the reason says how.
	ConditionComplete = "Complete"
	// ConditionFailed is True when the object reached its end badly; the reason says why.
	ConditionFailed = "Failed"
	// ConditionSuspended is True while spec.suspend, a spent budget or the runtime's policy holds the run.
	ConditionSuspended = "Suspended"
	// ConditionQuotaReserved is False while a queue has not admitted a stage's Job, with the reason of Kueue's Workload where it
	// gives one (Pending, Inadmissible, Preempted, ...), and while a ResourceQuota leaves no room for it. It is absent in runs
	// without a queue that never waited.
	ConditionQuotaReserved = "QuotaReserved"
	// ConditionAwaitingApproval is True while the run waits for an AlignmentApproval.
	ConditionAwaitingApproval = "AwaitingApproval"
	// ConditionReconciling is True until the spec is accepted and the first stage's Job is created (kstatus).
	ConditionReconciling = "Reconciling"
	// ConditionStalled is True when the object cannot go on without somebody's help (kstatus).
	ConditionStalled = "Stalled"
)

// Reasons of good endings (Complete).
const (
	// ReasonTargetReached surfaces when an accepted adapter reaches stopping.targetAccuracy.
	ReasonTargetReached = "TargetReached"
	// ReasonIterationsCompleted surfaces when all iterations have been evaluated.
	ReasonIterationsCompleted = "IterationsCompleted"
	// ReasonConverged surfaces when every sample of an iteration wins, so that nothing is left to prefer.
	ReasonConverged = "Converged"
	// ReasonNoImprovement surfaces when stopping.patience iterations in a row did not raise the best accuracy.
	ReasonNoImprovement = "NoImprovement"
	// ReasonRejected surfaces when an adapter is rejected and acceptance.onReject is Stop.
	ReasonRejected = "Rejected"
	// ReasonScored surfaces when a ScoringBatch has its scores.
	ReasonScored = "Scored"
	// ReasonPaired surfaces when a PreferenceDataset has its pairs, also when there are none.
	ReasonPaired = "Paired"
)

// Reasons of bad endings (Failed).
const (
	// ReasonCollapsed surfaces when every sample of an iteration loses or is INVALID.
	ReasonCollapsed = "Collapsed"
	// ReasonInsufficientPairs surfaces when there are fewer pairs, or prompts with one, than pairing asks for. With
	// onShortfall Stop it is a good ending.
	ReasonInsufficientPairs = "InsufficientPairs"
	// ReasonGuardrailTripped surfaces when an adapter would be accepted whose guard metrics got too much worse.
	ReasonGuardrailTripped = "GuardrailTripped"
	// ReasonBudgetExceeded surfaces when the budget is spent, or does not suffice for the next iteration: on Failed with
	// onExceeded Stop, on Suspended otherwise.
	ReasonBudgetExceeded = "BudgetExceeded"
	// ReasonDeadlineExceeded surfaces when activeDeadlineSeconds have passed.
	ReasonDeadlineExceeded = "DeadlineExceeded"
	// ReasonApprovalDenied surfaces when the pairs of an iteration are denied.
	ReasonApprovalDenied = "ApprovalDenied"
	// ReasonApprovalTimedOut surfaces when nobody answered within approval.timeoutSeconds.
	ReasonApprovalTimedOut = "ApprovalTimedOut"
	// ReasonStageFailed surfaces when a stage used up its attempts or failed in a way that a retry cannot mend.
	ReasonStageFailed = "StageFailed"
	// ReasonTooManyInvalid surfaces when more samples of a batch are INVALID than scoring.maxInvalidFraction accepts.
	ReasonTooManyInvalid = "TooManyInvalid"
	// ReasonInvalidSpec surfaces when the spec cannot be run for a reason that admission cannot see.
	ReasonInvalidSpec = "InvalidSpec"
)

// Reasons of waiting and running (Reconciling, Stalled, Suspended).
const (
	// ReasonRuntimeNotFound surfaces while the named AlignmentRuntime does not exist.
	ReasonRuntimeNotFound = "RuntimeNotFound"
	// ReasonNamespaceNotAllowed surfaces while the runtime does not list the object's namespace; on Suspended, of a run that
	// had begun.
	ReasonNamespaceNotAllowed = "NamespaceNotAllowed"
	// ReasonLimitExceeded surfaces while a run or a batch asks for more than the runtime's limits, or for devices that they do not count; on
	// Suspended, if it had begun.
	ReasonLimitExceeded = "LimitExceeded"
	// ReasonPromptsNotFound surfaces while a ConfigMap that the run's prompts come from, or its key, does not exist.
	ReasonPromptsNotFound = "PromptsNotFound"
	// ReasonDatasetNotReady surfaces while the PreferenceDataset that initialDataset names does not exist or is not complete.
	ReasonDatasetNotReady = "DatasetNotReady"
	// ReasonRerunNotFound surfaces while the run that rerun names does not exist or has not recorded what is to be taken over.
	ReasonRerunNotFound = "RerunNotFound"
	// ReasonApprovalRequested surfaces while a person is asked.
	ReasonApprovalRequested = "ApprovalRequested"
	// ReasonAnswered surfaces after a person answered.
	ReasonAnswered = "Answered"
	// ReasonQueued surfaces while a queue has not admitted a stage's Job.
	ReasonQueued = "Queued"
	// ReasonKueueNotInstalled surfaces while a stage's Job is in a queue and the cluster has no Kueue.
	ReasonKueueNotInstalled = "KueueNotInstalled"
	// ReasonQueueForced surfaces while Kueue holds a Job that has no queue, or that runs under its run's reservation.
	ReasonQueueForced = "QueueForced"
	// ReasonReservationRefused surfaces while a run asks for a reservation that cannot be made for it.
	ReasonReservationRefused = "ReservationRefused"
	// ReasonAdmissionChecks surfaces while a Job has its quota and waits for an admission check of its ClusterQueue.
	ReasonAdmissionChecks = "AdmissionChecks"
	// ReasonQuotaExceeded surfaces while a ResourceQuota has too little left for a stage's pods, or for its Job.
	ReasonQuotaExceeded = "QuotaExceeded"
	// ReasonQuotaTooSmall surfaces while a ResourceQuota allows less in all than a stage needs: it can never fit.
	ReasonQuotaTooSmall = "QuotaTooSmall"
	// ReasonPodsNotAdmitted surfaces while a LimitRange, or a ResourceQuota for what a stage's pods do not tell of themselves,
	// would refuse them however much is free.
	ReasonPodsNotAdmitted = "PodsNotAdmitted"
	// ReasonAdmitted surfaces once nothing waits any more.
	ReasonAdmitted = "Admitted"
	// ReasonWaitingForSource surfaces while a ScoringBatch that a PreferenceDataset names is missing or not complete.
	ReasonWaitingForSource = "WaitingForSource"
	// ReasonCreateRefused surfaces while the API server refuses to create a child (quota, admission).
	ReasonCreateRefused = "CreateRefused"
	// ReasonStagesRunning surfaces when stages run as they should.
	ReasonStagesRunning = "StagesRunning"
	// ReasonSuspendRequested surfaces while spec.suspend is true.
	ReasonSuspendRequested = "SuspendRequested"
	// ReasonResumed surfaces after spec.suspend was set to false again.
	ReasonResumed = "Resumed"
	// ReasonEnded surfaces on Reconciling once the object has ended.
	ReasonEnded = "Ended"
)

// Reasons of decisions, beside GuardrailTripped and ApprovalDenied.
const (
	// ReasonAccepted surfaces on a decision that makes an adapter the best one.
	ReasonAccepted = "Accepted"
	// ReasonTooLittleGain surfaces on a decision against an adapter that gains less than acceptance asks for.
	ReasonTooLittleGain = "TooLittleGain"
)

// Reasons of events that are no condition.
const (
	// EventIterationCompleted is emitted once per evaluated iteration.
	EventIterationCompleted = "IterationCompleted"
	// EventResampling is emitted when an iteration samples another round for want of pairs.
	EventResampling = "Resampling"
	// EventStageRetried is emitted when a stage's attempt failed and another follows.
	EventStageRetried = "StageRetried"
)
