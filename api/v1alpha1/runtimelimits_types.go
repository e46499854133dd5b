package v1alpha1

// RuntimeLimits bound what an AlignmentRun may ask of a runtime, and gpusPerStage what the tracking of a ScoringBatch of a user's own
// holds. Admission refuses what exceeds them, and the operator starts no stage of what exceeds them as they are now.
//
// +kubebuilder:validation:MinProperties=1
type RuntimeLimits struct {
	// iterations that a run may have at most.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	Iterations int32 `json:"iterations,omitempty"`

	// gpuHours that a run may spend at most: it must have a budget, of no more than that.
	// +optional
	// +kubebuilder:validation:XValidation:rule="double(self) > 0.0",message="must be greater than 0"
	GPUHours Decimal `json:"gpuHours,omitempty"`

	// nodes that a training may run on at most.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=64
	Nodes int32 `json:"nodes,omitempty"`

	// gpusPerStage is how many GPUs the pods of a stage may hold at a time: shards at a time, or nodes, x GPUs of a pod. The baseline runs
	// beside the first iteration, so that a run may hold twice as many then.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65536
	GPUsPerStage int32 `json:"gpusPerStage,omitempty"`
}
