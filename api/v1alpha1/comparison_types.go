package v1alpha1

// Comparison of a candidate's evaluation with the best one's: a bootstrap over prompts, with all samples of each.
type Comparison struct {
	// iteration compared with.
	// +required
	// +kubebuilder:validation:Minimum=0
	Iteration *int32 `json:"iteration,omitempty"`

	// delta is the candidate's headline accuracy less the best one's.
	// +required
	Delta SignedFraction `json:"delta,omitempty"`

	// lowerBound of delta, one-sided.
	// +required
	LowerBound SignedFraction `json:"lowerBound,omitempty"`

	// upperBound of delta, one-sided.
	// +required
	UpperBound SignedFraction `json:"upperBound,omitempty"`

	// confidence of each bound.
	// +required
	Confidence Fraction `json:"confidence,omitempty"`

	// verdict is the file with all numbers.
	// +optional
	Verdict *ArtifactReference `json:"verdict,omitempty"`

	// devices are the GPU models of both evaluations, as far as the samples tell.
	// +optional
	Devices *ComparedDevices `json:"devices,omitempty"`
}

// ComparedDevices are the GPU models that two evaluations were made on.
//
// +kubebuilder:validation:MinProperties=1
type ComparedDevices struct {
	// best are those of the best adapter's evaluation, at most the first four.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	Best []DeviceModel `json:"best,omitempty"`

	// candidate are those of the candidate's.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	Candidate []DeviceModel `json:"candidate,omitempty"`
}

// DeviceModel is a GPU model as the runtime names it, such as NVIDIA H100 80GB HBM3.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=64
type DeviceModel string

// Reevaluation is another evaluation of the best adapter, on the GPU model that the candidate was evaluated on.
type Reevaluation struct {
	// iteration whose adapter was evaluated again.
	// +required
	// +kubebuilder:validation:Minimum=0
	Iteration *int32 `json:"iteration,omitempty"`

	// formerDevice is the GPU model of the evaluation before.
	// +required
	FormerDevice DeviceModel `json:"formerDevice,omitempty"`

	// device is the GPU model that was asked for; what the samples were made on stands in comparison.devices.
	// +required
	Device DeviceModel `json:"device,omitempty"`

	// evaluation on the held-out prompts.
	// +required
	Evaluation ScoreSummary `json:"evaluation,omitzero"`
}
