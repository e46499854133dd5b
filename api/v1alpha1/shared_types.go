package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Fraction is a decimal string in [0, 1], such as "0.7".
//
// +kubebuilder:validation:Pattern=`^(0(\.[0-9]{1,6})?|1(\.0{1,6})?)$`
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=8
type Fraction string

// SignedFraction is a decimal string from -1 to 1.
//
// +kubebuilder:validation:Pattern=`^-?(0(\.[0-9]{1,6})?|1(\.0{1,6})?)$`
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=9
type SignedFraction string

// Decimal is a non-negative decimal string such as "0.001" or "5".
//
// +kubebuilder:validation:Pattern=`^[0-9]{1,6}(\.[0-9]{1,9})?$`
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=16
type Decimal string

// ArtifactKey is a path under the store's root, never a URL: not absolute, and no element of dots alone. The pattern
// says all of it, as a rule in CEL would cost too much in the lists of status.
//
// +kubebuilder:validation:Pattern=`^\.*[A-Za-z0-9_-][A-Za-z0-9._-]*(/\.*[A-Za-z0-9_-][A-Za-z0-9._-]*)*$`
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=512
type ArtifactKey string

// Digest is "sha256:" and 64 hex digits.
//
// +kubebuilder:validation:Pattern=`^sha256:[0-9a-f]{64}$`
// +kubebuilder:validation:MinLength=71
// +kubebuilder:validation:MaxLength=71
type Digest string

// RuntimeReference names a cluster-scoped AlignmentRuntime.
type RuntimeReference struct {
	// name of the AlignmentRuntime.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`
}

// ArtifactReference is a file in the store, pinned by digest.
type ArtifactReference struct {
	// key is the file's path under the store's root.
	// +required
	Key ArtifactKey `json:"key,omitempty"`

	// digest of the file's content. Without it the file is taken as it is when first read.
	// +optional
	Digest Digest `json:"digest,omitempty"`
}

// ScoringSpec says when a sample counts.
//
// +kubebuilder:validation:MinProperties=1
type ScoringSpec struct {
	// minUsableFrames is the number of usable frames below which a sample is INVALID.
	// +optional
	// +default=20
	// +kubebuilder:validation:Minimum=3
	// +kubebuilder:validation:Maximum=10000
	MinUsableFrames int32 `json:"minUsableFrames,omitempty"`

	// maxInvalidFraction ends scoring as a failure, not as data, when more samples than that are INVALID.
	// +optional
	// +default="0.9"
	MaxInvalidFraction Fraction `json:"maxInvalidFraction,omitempty"`
}

// PairingSpec says which samples win and which lose.
//
// +kubebuilder:validation:XValidation:rule="double(self.winnerThreshold) >= double(self.loserThreshold)",message="winnerThreshold must be at least loserThreshold"
// +kubebuilder:validation:MinProperties=1
type PairingSpec struct {
	PairingRules `json:",inline"`
}

// PairingRules form the pairs of one iteration.
type PairingRules struct {
	// winnerThreshold is the DSR-Score from which a sample wins.
	// +optional
	// +default="0.7"
	WinnerThreshold Fraction `json:"winnerThreshold,omitempty"`

	// loserThreshold is the DSR-Score below which a sample loses.
	// +optional
	// +default="0.7"
	LoserThreshold Fraction `json:"loserThreshold,omitempty"`

	// minMargin is the least difference of a pair's scores.
	// +optional
	// +default="0"
	MinMargin Fraction `json:"minMargin,omitempty"`

	// maxPairsPerPrompt keeps that many pairs of a prompt and iteration, chosen by hash. Absent, all.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	MaxPairsPerPrompt int32 `json:"maxPairsPerPrompt,omitempty"`
}

// ScoreSummary says what a set of samples scored.
type ScoreSummary struct {
	// total is the number of samples asked for.
	// +required
	// +kubebuilder:validation:Minimum=0
	Total *int64 `json:"total,omitempty"`

	// scored is the number of samples with a DSR-Score.
	// +required
	// +kubebuilder:validation:Minimum=0
	Scored *int64 `json:"scored,omitempty"`

	// invalid is the number of samples that the tracking rules reject.
	// +required
	// +kubebuilder:validation:Minimum=0
	Invalid *int64 `json:"invalid,omitempty"`

	// missing is the number of samples without tracks.
	// +required
	// +kubebuilder:validation:Minimum=0
	Missing *int64 `json:"missing,omitempty"`

	// meanScore over the scored samples; absent when there are none.
	// +optional
	MeanScore Fraction `json:"meanScore,omitempty"`

	// accuracy at the thresholds 0.0 to 0.9: the fraction of all samples asked for that score at least that.
	// +optional
	// +listType=map
	// +listMapKey=threshold
	// +kubebuilder:validation:MaxItems=10
	Accuracy []AccuracyAt `json:"accuracy,omitempty"`

	// guards are the guard metrics from the tracks: a better score must not be bought with a worse video.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Guards []NamedMetric `json:"guards,omitempty"`

	// scores is the scores.jsonl behind the numbers.
	// +optional
	Scores *ArtifactReference `json:"scores,omitempty"`
}

// AccuracyAt is the accuracy at one threshold.
type AccuracyAt struct {
	// threshold of the DSR-Score.
	// +required
	Threshold Fraction `json:"threshold,omitempty"`

	// value is the fraction of all samples asked for that reach the threshold.
	// +required
	Value Fraction `json:"value,omitempty"`
}

// NamedMetric is a named decimal.
type NamedMetric struct {
	// name of the metric.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Name string `json:"name,omitempty"`

	// value is a decimal.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	Value string `json:"value,omitempty"`
}

// PairSummary says what pairing found.
type PairSummary struct {
	// pairs is the number of winner/loser pairs over all iterations used.
	// +required
	// +kubebuilder:validation:Minimum=0
	Pairs *int64 `json:"pairs,omitempty"`

	// usablePrompts is the number of prompts with at least one pair.
	// +required
	// +kubebuilder:validation:Minimum=0
	UsablePrompts *int64 `json:"usablePrompts,omitempty"`

	// winners among the samples of the newest iteration.
	// +required
	// +kubebuilder:validation:Minimum=0
	Winners *int64 `json:"winners,omitempty"`

	// losers among the samples of the newest iteration.
	// +required
	// +kubebuilder:validation:Minimum=0
	Losers *int64 `json:"losers,omitempty"`

	// invalid or missing samples of the newest iteration; they neither win nor lose.
	// +required
	// +kubebuilder:validation:Minimum=0
	Invalid *int64 `json:"invalid,omitempty"`

	// artifact is the pairs.jsonl; its digest is the dataset's identity.
	// +optional
	Artifact *ArtifactReference `json:"artifact,omitempty"`
}

// ProgressStatus is how far the running stage is. It is written at most every ten seconds.
type ProgressStatus struct {
	// iteration that runs; 0 is the baseline.
	// +required
	// +kubebuilder:validation:Minimum=0
	Iteration *int32 `json:"iteration,omitempty"`

	// stage that runs.
	// +optional
	Stage StageName `json:"stage,omitempty"`

	// percentage of the stage, as its pods report it.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Percentage *int32 `json:"percentage,omitempty"`

	// estimatedRemainingSeconds of the stage, as its pods report it.
	// +optional
	// +kubebuilder:validation:Minimum=0
	EstimatedRemainingSeconds *int64 `json:"estimatedRemainingSeconds,omitempty"`

	// metrics that the stage reports while it runs, such as the loss.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Metrics []NamedMetric `json:"metrics,omitempty"`

	// lastCheckpointTime is when the stage last saved its progress.
	// +optional
	LastCheckpointTime *metav1.Time `json:"lastCheckpointTime,omitempty"`

	// lastUpdatedTime is when this was read.
	// +optional
	LastUpdatedTime *metav1.Time `json:"lastUpdatedTime,omitempty"`
}
