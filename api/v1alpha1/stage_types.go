package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// StageState is how far a stage is.
//
// +kubebuilder:validation:Enum=Running;Succeeded;Failed;Stopped
type StageState string

const (
	// StageRunning means that an attempt's child exists and has not ended.
	StageRunning StageState = "Running"
	// StageSucceeded means that the result is recorded. It is final.
	StageSucceeded StageState = "Succeeded"
	// StageFailed means that the attempts are used up or a retry cannot help. It is final.
	StageFailed StageState = "Failed"
	// StageStopped means that the run ended before the stage did. It is final.
	StageStopped StageState = "Stopped"
)

// StageName names a stage within the plan of its owner.
//
// +kubebuilder:validation:Enum=Prepare;Sample;Score;Pair;Train;EvaluationPrepare;EvaluationSample;EvaluationScore;Compare;ReevaluationPrepare;ReevaluationSample;ReevaluationScore;ReevaluationCompare;Lineage;TestPrepare;TestSample;TestScore;Track
type StageName string

// The stages of an AlignmentRun's iteration, in order, and those of the other kinds.
const (
	StagePrepare             StageName = "Prepare"
	StageSample              StageName = "Sample"
	StageScore               StageName = "Score"
	StagePair                StageName = "Pair"
	StageTrain               StageName = "Train"
	StageEvaluationPrepare   StageName = "EvaluationPrepare"
	StageEvaluationSample    StageName = "EvaluationSample"
	StageEvaluationScore     StageName = "EvaluationScore"
	StageCompare             StageName = "Compare"
	StageReevaluationPrepare StageName = "ReevaluationPrepare"
	StageReevaluationSample  StageName = "ReevaluationSample"
	StageReevaluationScore   StageName = "ReevaluationScore"
	StageReevaluationCompare StageName = "ReevaluationCompare"
	StageLineage             StageName = "Lineage"
	StageTestPrepare         StageName = "TestPrepare"
	StageTestSample          StageName = "TestSample"
	StageTestScore           StageName = "TestScore"
	StageTrack               StageName = "Track"
)

// StoredWork is what was found in the store in place of making it.
//
// +kubebuilder:validation:Enum=Samples;Tracks
type StoredWork string

// What may be found.
const (
	// StoredSamples means all samples of the set, but not all their tracks.
	StoredSamples StoredWork = "Samples"
	// StoredTracks means all samples of the set and their tracks.
	StoredTracks StoredWork = "Tracks"
)

// StageStatus is one stage's record. Once Succeeded it never changes.
type StageStatus struct {
	// name of the stage.
	// +required
	Name StageName `json:"name,omitempty"`

	// round of resampling that the stage belongs to; 0 is the iteration's first.
	// +optional
	// +default=0
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=5
	Round *int32 `json:"round,omitempty"`

	// state of the stage.
	// +required
	State StageState `json:"state,omitempty"`

	// attempt that runs or ran last, from 0. Interruptions make attempts too.
	// +required
	// +kubebuilder:validation:Minimum=0
	Attempt *int32 `json:"attempt,omitempty"`

	// failures counts the attempts that failed; more than spec.retries fail the stage.
	// +optional
	// +kubebuilder:validation:Minimum=1
	Failures int32 `json:"failures,omitempty"`

	// child is the name of the attempt's Job, ScoringBatch or PreferenceDataset.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Child string `json:"child,omitempty"`

	// startTime is when the first attempt's child was created.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`

	// completionTime is when the result was recorded, or the stage was stopped.
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`

	// message holds the last lines of the last failure, or what a waiting pod says; of a stopped stage why it was stopped.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	Message string `json:"message,omitempty"`

	// gpuSeconds of all attempts, from a pod's scheduling to its end, times its GPUs.
	// +optional
	// +kubebuilder:validation:Minimum=1
	GPUSeconds int64 `json:"gpuSeconds,omitempty"`

	// wastedGPUSeconds is the part of gpuSeconds of pods that did not end well.
	// +optional
	WastedGPUSeconds *WastedGPUSeconds `json:"wastedGPUSeconds,omitempty"`

	// succeededGPUSeconds is the part of gpuSeconds of pods that ended well. What is neither wasted nor this has not ended.
	// +optional
	// +kubebuilder:validation:Minimum=1
	SucceededGPUSeconds int64 `json:"succeededGPUSeconds,omitempty"`

	// waitSeconds is how long the attempt waited: from the creation of its Job until a pod of it ran. Absent until one has.
	// +optional
	// +kubebuilder:validation:Minimum=0
	WaitSeconds *int64 `json:"waitSeconds,omitempty"`

	// usage is what gpuSeconds counts of the children and pods that can still be seen.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=300
	Usage []GPUUsage `json:"usage,omitempty"`

	// usageTime is when usage was last counted.
	// +optional
	UsageTime *metav1.Time `json:"usageTime,omitempty"`

	// stuckSince is since when a pod of the stage cannot start: see spec.startupDeadlineSeconds.
	// +optional
	StuckSince *metav1.Time `json:"stuckSince,omitempty"`

	// stored is what a sampling stage that had nothing to do found in the store: the samples, or their tracks too, so that
	// scoring starts no tracking.
	// +optional
	Stored StoredWork `json:"stored,omitempty"`

	// image that ran, with its digest as the nodes resolved it. It is dropped when the lineage is recorded.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Image string `json:"image,omitempty"`

	// trackImage is what the tracking of a scoring stage ran, in the same way.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	TrackImage string `json:"trackImage,omitempty"`

	// outputs are the artifacts that later stages read. They are dropped when the iteration ends.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=128
	Outputs []NamedArtifact `json:"outputs,omitempty"`
}

// WastedGPUSeconds is GPU time of pods that did not end well. What they had finished is in the store, and may yet be used: it is
// the most that was lost.
//
// +kubebuilder:validation:MinProperties=1
type WastedGPUSeconds struct {
	// failed is that of pods that ended by a fault of their own.
	// +optional
	// +kubebuilder:validation:Minimum=1
	Failed int64 `json:"failed,omitempty"`

	// interrupted is that of pods that were evicted, preempted, deleted, lost with their node or told to stop.
	// +optional
	// +kubebuilder:validation:Minimum=1
	Interrupted int64 `json:"interrupted,omitempty"`
}

// GPUUsage is the GPU time of a pod, or of a child object with pods of its own.
type GPUUsage struct {
	// name of the pod or child.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// gpuSeconds counted of it so far.
	// +required
	// +kubebuilder:validation:Minimum=0
	GPUSeconds *int64 `json:"gpuSeconds,omitempty"`

	// gpus that it held when last seen; absent once it has ended.
	// +optional
	// +kubebuilder:validation:Minimum=1
	GPUs int64 `json:"gpus,omitempty"`

	// wastedGPUSeconds is the part of gpuSeconds that ended badly.
	// +optional
	WastedGPUSeconds *WastedGPUSeconds `json:"wastedGPUSeconds,omitempty"`

	// succeededGPUSeconds is the part of gpuSeconds that ended well.
	// +optional
	// +kubebuilder:validation:Minimum=1
	SucceededGPUSeconds int64 `json:"succeededGPUSeconds,omitempty"`
}

// NamedArtifact is an output of a stage.
type NamedArtifact struct {
	// name of the output, as the stage contract names it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Name string `json:"name,omitempty"`

	// key is the file's path under the store's root.
	// +required
	Key ArtifactKey `json:"key,omitempty"`

	// digest of the file's content.
	// +required
	Digest Digest `json:"digest,omitempty"`
}
