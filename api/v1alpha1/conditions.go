package v1alpha1

// Condition types. Each carries the observedGeneration it was computed for.
const (
	// ConditionComplete is True when the object reached its end well; the reason says how.
	ConditionComplete = "Complete"
	// ConditionFailed is True when the object reached its end badly; the reason says why.
	ConditionFailed = "Failed"
	// ConditionSuspended is True while spec.suspend holds the run.
	ConditionSuspended = "Suspended"
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
	// ReasonScored surfaces when a ScoringBatch has its scores.
	ReasonScored = "Scored"
	// ReasonPaired surfaces when a PreferenceDataset has its pairs, also when there are none.
	ReasonPaired = "Paired"
)

// Reasons of bad endings (Failed).
const (
	// ReasonCollapsed surfaces when every sample of an iteration loses or is INVALID.
	ReasonCollapsed = "Collapsed"
	// ReasonInsufficientPairs surfaces when there are winners and losers but no prompt has both.
	ReasonInsufficientPairs = "InsufficientPairs"
	// ReasonStageFailed surfaces when a stage used up its attempts or failed in a way that a retry cannot mend.
	ReasonStageFailed = "StageFailed"
	// ReasonInvalidSpec surfaces when the spec cannot be run for a reason that admission cannot see.
	ReasonInvalidSpec = "InvalidSpec"
)

// Reasons of waiting and running (Reconciling, Stalled, Suspended).
const (
	// ReasonRuntimeNotFound surfaces while the named AlignmentRuntime does not exist.
	ReasonRuntimeNotFound = "RuntimeNotFound"
	// ReasonNamespaceNotAllowed surfaces while the runtime does not list the object's namespace.
	ReasonNamespaceNotAllowed = "NamespaceNotAllowed"
	// ReasonPromptsNotFound surfaces while a ConfigMap that the run's prompts come from, or its key, does not exist.
	ReasonPromptsNotFound = "PromptsNotFound"
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

// Reasons of events that are no condition.
const (
	// EventIterationCompleted is emitted once per evaluated iteration.
	EventIterationCompleted = "IterationCompleted"
	// EventStageRetried is emitted when a stage's attempt failed and another follows.
	EventStageRetried = "StageRetried"
)
