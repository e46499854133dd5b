package v1alpha1

// PodSettings are what an admin may say of a stage's pods beside its container: where they run, which devices they claim, and
// how much memory their processes share. Everything else of the pod is the operator's.
type PodSettings struct {
	// nodeSelector is the labels that a node must have.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(key, key.size() > 0 && key.size() <= 317)",message="a label's key has 1 to 317 characters"
	NodeSelector map[string]LabelValue `json:"nodeSelector,omitempty"`

	// tolerations of the taints that nodes with GPUs have.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Tolerations []Toleration `json:"tolerations,omitempty"`

	// runtimeClassName of the container runtime that knows the devices, such as nvidia.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	RuntimeClassName string `json:"runtimeClassName,omitempty"`

	// resourceClaims are devices of DRA drivers (dynamic resource allocation). Each pod gets claims of its own.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	ResourceClaims []StageResourceClaim `json:"resourceClaims,omitempty"`

	// sharedMemory is the size of /dev/shm, in Mi or Gi. It is memory of the container and counts against its limit. Where
	// it is absent, the container runtime gives 64Mi, too little for several training processes.
	// +optional
	SharedMemory MemorySize `json:"sharedMemory,omitempty"`
}

// LabelValue is the value of a label, which may be empty.
//
// +kubebuilder:validation:MinLength=0
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$`
type LabelValue string

// TaintValue is the value of a taint that has one.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$`
type TaintValue string

// MemorySize is a whole number of Mi or Gi.
//
// +kubebuilder:validation:Pattern=`^[1-9][0-9]{0,4}(Mi|Gi)$`
// +kubebuilder:validation:MinLength=3
// +kubebuilder:validation:MaxLength=7
type MemorySize string

// Toleration lets pods onto nodes with a taint, as Kubernetes' own does.
//
// +kubebuilder:validation:XValidation:rule="has(self.key) || self.operator == 'Exists'",message="without a key, operator must be Exists"
// +kubebuilder:validation:XValidation:rule="self.operator != 'Exists' || !has(self.value)",message="with the operator Exists there is no value"
// +kubebuilder:validation:XValidation:rule="!has(self.tolerationSeconds) || has(self.effect) && self.effect == 'NoExecute'",message="tolerationSeconds is for the effect NoExecute"
type Toleration struct {
	// key of the taint. All taints when absent, with the operator Exists.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=317
	// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$`
	Key string `json:"key,omitempty"`

	// operator compares the taint's value (Equal), or asks for no more than its key (Exists).
	// +required
	Operator TolerationOperator `json:"operator,omitempty"`

	// value of the taint.
	// +optional
	Value TaintValue `json:"value,omitempty"`

	// effect of the taint; all effects when absent.
	// +optional
	Effect TaintEffect `json:"effect,omitempty"`

	// tolerationSeconds is how long a pod stays once the taint appears; for ever when absent.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=604800
	TolerationSeconds *int64 `json:"tolerationSeconds,omitempty"`
}

// TolerationOperator says how a taint is compared.
//
// +kubebuilder:validation:Enum=Exists;Equal
type TolerationOperator string

// TaintEffect is what a taint does to pods that do not tolerate it.
//
// +kubebuilder:validation:Enum=NoSchedule;PreferNoSchedule;NoExecute
type TaintEffect string

// StageResourceClaim is a claim that each pod of a stage gets from a template.
type StageResourceClaim struct {
	// name of the claim within the pod.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`

	// resourceClaimTemplateName is a ResourceClaimTemplate in the namespace of the object that uses the runtime.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	ResourceClaimTemplateName string `json:"resourceClaimTemplateName,omitempty"`

	// gpus is how many GPUs such a claim holds at most: nothing else tells the operator, and GPU time is counted by it.
	// 0 for devices that are no GPUs.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=64
	GPUs *int32 `json:"gpus,omitempty"`
}

// WeightsSpec is a volume with the weights of models.
type WeightsSpec struct {
	// pvc is a PersistentVolumeClaim that several pods may mount at a time (ReadOnlyMany or ReadWriteMany), unless all pods fit one node.
	// +required
	PVC PVCStore `json:"pvc,omitzero"`
}
