package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
)

// RunPairingSpec says which samples win and which lose, what becomes of earlier pairs, and when there are too few to train on.
//
// +kubebuilder:validation:XValidation:rule="double(self.winnerThreshold) >= double(self.loserThreshold)",message="winnerThreshold must be at least loserThreshold"
// +kubebuilder:validation:MinProperties=1
type RunPairingSpec struct {
	PairingRules `json:",inline"`

	// history says which pairs an iteration trains on: all that were formed so far, each within its iteration, or its own.
	// +optional
	// +default="Cumulative"
	History HistoryPolicy `json:"history,omitempty"`

	// minPairs is the number of pairs below which training does not start.
	// +optional
	// +default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000000
	MinPairs int64 `json:"minPairs,omitempty"`

	// minPromptCoverage is the fraction of training prompts with a pair below which training does not start.
	// +optional
	// +default="0"
	MinPromptCoverage Fraction `json:"minPromptCoverage,omitempty"`

	// onShortfall says what follows when there are too few pairs: another round of samples with new seeds, a good end, or a
	// failure. That all samples of an iteration win is always a good end (Converged).
	// +optional
	// +default="Fail"
	OnShortfall ShortfallPolicy `json:"onShortfall,omitempty"`

	// maxResampleRounds bounds the rounds of onShortfall Resample in an iteration; after them a shortfall fails the run.
	// +optional
	// +default=2
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=5
	MaxResampleRounds int32 `json:"maxResampleRounds,omitempty"`
}

// HistoryPolicy says which pairs an iteration trains on.
//
// +kubebuilder:validation:Enum=Cumulative;Latest
type HistoryPolicy string

// The history policies.
const (
	HistoryCumulative HistoryPolicy = "Cumulative"
	HistoryLatest     HistoryPolicy = "Latest"
)

// ShortfallPolicy says what follows when there are too few pairs.
//
// +kubebuilder:validation:Enum=Resample;Stop;Fail
type ShortfallPolicy string

// The shortfall policies.
const (
	ShortfallResample ShortfallPolicy = "Resample"
	ShortfallStop     ShortfallPolicy = "Stop"
	ShortfallFail     ShortfallPolicy = "Fail"
)

// AcceptanceSpec says when a new adapter replaces the best one.
//
// +kubebuilder:validation:MinProperties=1
type AcceptanceSpec struct {
	// minDelta is what the headline accuracy must gain over the best one's.
	// +optional
	// +default="0"
	MinDelta Fraction `json:"minDelta,omitempty"`

	// confidence makes the gain's lower bound, instead of its point estimate, reach minDelta: one-sided, by a bootstrap over
	// prompts with paired samples. With 30 prompts of 5 samples, 0.95 asks for 0.07 to 0.14 more.
	// +optional
	// +kubebuilder:validation:XValidation:rule="double(self) >= 0.5 && double(self) <= 0.999",message="must be from 0.5 to 0.999"
	Confidence Fraction `json:"confidence,omitempty"`

	// guardMetrics fail the run when an adapter would be accepted whose videos got worse in another way.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	GuardMetrics []GuardMetric `json:"guardMetrics,omitempty"`

	// onReject says what follows a rejected adapter: the next iteration goes on from the best one with new seeds, or the run ends.
	// +optional
	// +default="Rollback"
	OnReject RejectPolicy `json:"onReject,omitempty"`
}

// GuardMetric bounds how much worse an accepted adapter's evaluation may be than the best one's.
type GuardMetric struct {
	// name of the metric, as evaluation.guards has it: subjectJump and objectDrift are better when lower, the others when higher.
	// clipIQAQuality, clipIQANatural and identityConsistency need a runtime whose tracker measures them.
	// +required
	Name GuardName `json:"name,omitempty"`

	// maxDrop is how much worse it may get, in the metric's own unit.
	// +required
	MaxDrop Decimal `json:"maxDrop,omitempty"`
}

// GuardName names a guard metric.
//
// +kubebuilder:validation:Enum=validFraction;subjectJump;objectDrift;areaRatio;clipIQAQuality;clipIQANatural;identityConsistency
type GuardName string

// RejectPolicy says what follows a rejected adapter.
//
// +kubebuilder:validation:Enum=Rollback;Stop
type RejectPolicy string

// The reject policies.
const (
	RejectRollback RejectPolicy = "Rollback"
	RejectStop     RejectPolicy = "Stop"
)

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
	// +kubebuilder:validation:Maximum=10000
	Patience int32 `json:"patience,omitempty"`
}

// BudgetSpec bounds what a run may spend.
type BudgetSpec struct {
	// gpuHours of all stages together, also of failed and evicted attempts. An iteration whose forecast does not fit is not
	// started; a running stage is stopped when they are spent, after a checkpoint.
	// +required
	GPUHours Decimal `json:"gpuHours,omitempty"`

	// firstIterationGPUHours is the forecast of the baseline and iteration 1, for which there is no experience yet.
	// +optional
	FirstIterationGPUHours Decimal `json:"firstIterationGPUHours,omitempty"`

	// onExceeded says what follows: the run is suspended until the budget is raised, or fails.
	// +optional
	// +default="Suspend"
	OnExceeded BudgetPolicy `json:"onExceeded,omitempty"`
}

// BudgetPolicy says what follows when the budget is spent.
//
// +kubebuilder:validation:Enum=Suspend;Stop
type BudgetPolicy string

// The budget policies.
const (
	BudgetSuspend BudgetPolicy = "Suspend"
	BudgetStop    BudgetPolicy = "Stop"
)

// ApprovalSpec asks a person, who answers by creating an AlignmentApproval.
type ApprovalSpec struct {
	// after which stages to ask: Pair, before an iteration's training; Evaluate, before an adapter is accepted.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=2
	After []ApprovalGate `json:"after,omitempty"`

	// timeoutSeconds fails the run when nobody answered for that long, time suspended apart. Absent, it waits.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=315360000
	TimeoutSeconds int64 `json:"timeoutSeconds,omitempty"`
}

// SchedulingSpec says how the stages' pods are scheduled.
//
// +kubebuilder:validation:XValidation:rule="!has(self.workloadPriorityClassName) || has(self.queueName) || has(self.sample) && has(self.sample.queueName) || has(self.track) && has(self.track.queueName) || has(self.train) && has(self.train.queueName)",message="workloadPriorityClassName is Kueue's: set queueName, too"
// +kubebuilder:validation:XValidation:rule="!has(self.sample) || !has(self.sample.topology) || has(self.queueName) || has(self.sample.queueName)",message="sample.topology is Kueue's: set queueName, too"
// +kubebuilder:validation:XValidation:rule="!has(self.track) || !has(self.track.topology) || has(self.queueName) || has(self.track.queueName)",message="track.topology is Kueue's: set queueName, too"
// +kubebuilder:validation:XValidation:rule="!has(self.train) || !has(self.train.topology) || has(self.queueName) || has(self.train.queueName)",message="train.topology is Kueue's: set queueName, too"
// +kubebuilder:validation:XValidation:rule="!has(self.reservation) || self.reservation != 'Run' || has(self.queueName)",message="reservation Run is one of a queue: set queueName, too"
// +kubebuilder:validation:XValidation:rule="!has(self.reservation) || self.reservation != 'Run' || !(has(self.sample) && has(self.sample.queueName) || has(self.track) && has(self.track.queueName) || has(self.train) && has(self.train.queueName))",message="reservation Run is one for all stages: leave their queueName out"
// +kubebuilder:validation:XValidation:rule="!has(self.reservation) || self.reservation != 'Run' || !(has(self.sample) && has(self.sample.topology) || has(self.track) && has(self.track.topology) || has(self.train) && has(self.train.topology))",message="reservation Run reserves no places: leave topology out"
// +kubebuilder:validation:MinProperties=1
type SchedulingSpec struct {
	// queueName is the Kueue LocalQueue that admits the Jobs of sample, track and train, or the run as a whole.
	// +optional
	QueueName QueueName `json:"queueName,omitempty"`

	// reservation says what the queue admits: Stage, each Job by itself, so that others may use the GPUs between them; or Run, one
	// reservation of the size of the largest stage, that the run holds until it ends or is held. Absent, it is Stage.
	// +optional
	Reservation ReservationScope `json:"reservation,omitempty"`

	// workloadPriorityClassName is the Kueue WorkloadPriorityClass of all queued Jobs: who is admitted first, and who is
	// preempted, without a word to the pods' scheduler. Without it Kueue goes by priorityClassName.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	WorkloadPriorityClassName string `json:"workloadPriorityClassName,omitempty"`

	// priorityClassName of all stage pods.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	PriorityClassName string `json:"priorityClassName,omitempty"`

	// sample stages.
	// +optional
	Sample *StageScheduling `json:"sample,omitempty"`

	// track stages.
	// +optional
	Track *StageScheduling `json:"track,omitempty"`

	// train stages.
	// +optional
	// +kubebuilder:validation:XValidation:rule="(!has(self.shards) || self.shards == 1) && !has(self.maxParallel) && !has(self.minParallel)",message="training has one shard"
	Train *StageScheduling `json:"train,omitempty"`
}

// ReservationScope is what a queue admits of a run at a time.
//
// +kubebuilder:validation:Enum=Stage;Run
type ReservationScope string

// The scopes of a reservation.
const (
	ReservationStage ReservationScope = "Stage"
	ReservationRun   ReservationScope = "Run"
)

// StageScheduling overrides what the runtime says of a stage.
//
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:XValidation:rule="!has(self.minParallel) || !has(self.maxParallel) || self.minParallel <= self.maxParallel",message="minParallel must not exceed maxParallel"
type StageScheduling struct {
	// queueName for this stage alone.
	// +optional
	QueueName QueueName `json:"queueName,omitempty"`

	// shards split the stage's samples. What is finished stays finished when their number changes.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=32
	Shards int32 `json:"shards,omitempty"`

	// maxParallel is how many shards run at the same time, as far as quotas leave room; all when absent.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=32
	MaxParallel int32 `json:"maxParallel,omitempty"`

	// minParallel is how many shards are worth starting with when not all fit: one where ResourceQuotas decide, all of them in a
	// queue, where it is Kueue's partial admission.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=32
	MinParallel int32 `json:"minParallel,omitempty"`

	// topology asks Kueue to place the stage's pods close to each other.
	// +optional
	Topology *TopologySpec `json:"topology,omitempty"`

	// resources of the container instead of the runtime's.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!has(self.claims)",message="claims are the runtime's; request GPUs as extended resources"
	// +kubebuilder:validation:XValidation:rule="(!has(self.limits) || self.limits.size() <= 16) && (!has(self.requests) || self.requests.size() <= 16)",message="must not have more than 16 limits or requests"
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`
}

// TopologySpec names a level of the Topology of the queue's ResourceFlavor by its node label: a rack, a block, a host.
//
// +kubebuilder:validation:XValidation:rule="has(self.required) != has(self.preferred)",message="set required or preferred"
type TopologySpec struct {
	// required level: the Job is admitted only when all its pods fit one domain of it.
	// +optional
	Required TopologyLevel `json:"required,omitempty"`

	// preferred level: where no domain of it has room for all pods, those of wider levels are tried.
	// +optional
	Preferred TopologyLevel `json:"preferred,omitempty"`
}

// TopologyLevel is the key of a node label.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$`
type TopologyLevel string

// QueueName is the name of a Kueue LocalQueue in the run's namespace.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
type QueueName string

// PreferenceDatasetReference names a PreferenceDataset of the same namespace.
type PreferenceDatasetReference struct {
	// name of the PreferenceDataset.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`
}

// RerunSpec takes over what another run of the namespace has recorded up to a stage, and goes on from there. runtimeRef, store,
// prompts, sampling, scoring and evaluation must be the other run's: what was measured must stay comparable.
type RerunSpec struct {
	// runName of the run to take from. It may have ended, and is only read when this run is accepted.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	RunName string `json:"runName,omitempty"`

	// iteration to run again. All before it are taken over.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	Iteration int32 `json:"iteration,omitempty"`

	// stage of the iteration to run again, with all after it.
	// +optional
	// +default="Sample"
	Stage RerunStage `json:"stage,omitempty"`
}

// RerunStage is where a rerun begins.
//
// +kubebuilder:validation:Enum=Sample;Pair;Train;Evaluate
type RerunStage string

// The stages to rerun from.
const (
	RerunSample   RerunStage = "Sample"
	RerunPair     RerunStage = "Pair"
	RerunTrain    RerunStage = "Train"
	RerunEvaluate RerunStage = "Evaluate"
)

// TTLTarget says what ttlSecondsAfterFinished deletes.
//
// +kubebuilder:validation:Enum=Children;Run
type TTLTarget string

// The targets.
const (
	TTLChildren TTLTarget = "Children"
	TTLRun      TTLTarget = "Run"
)

// CleanupPolicy says after which endings child objects are deleted.
//
// +kubebuilder:validation:Enum=OnSuccess;Always;Never
type CleanupPolicy string

// The cleanup policies.
const (
	CleanupOnSuccess CleanupPolicy = "OnSuccess"
	CleanupAlways    CleanupPolicy = "Always"
	CleanupNever     CleanupPolicy = "Never"
)
