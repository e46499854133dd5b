package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AlignmentRuntimeSpec is the cluster admin's side: the model, the images that sample, track and
// train it, the store, and who may use them.
type AlignmentRuntimeSpec struct {
	// allowedNamespaces may use this runtime; "*" allows all, no entry allows none.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:Pattern=`^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$`
	AllowedNamespaces []string `json:"allowedNamespaces,omitempty"`

	// limits of each run that uses this runtime; none when absent.
	// +optional
	Limits *RuntimeLimits `json:"limits,omitempty"`

	// model is the base model. Its digest enters the key of every sample.
	// +required
	Model ModelSpec `json:"model,omitzero"`

	// detector is what finds subject and object in a video.
	// +required
	Detector DetectorSpec `json:"detector,omitzero"`

	// store is where the artifacts lie, resolved in the namespace of the object that uses the runtime.
	// +required
	Store StoreSpec `json:"store,omitzero"`

	// weights is a volume that holds the models' weights, mounted read-only at /weights in the pods of sample, track and train.
	// Where it is absent, the images bring their weights, or read them from the store.
	// +optional
	Weights *WeightsSpec `json:"weights,omitempty"`

	// sample generates videos.
	// +required
	Sample StageTemplate `json:"sample,omitzero"`

	// track finds boxes in videos.
	// +required
	Track StageTemplate `json:"track,omitzero"`

	// train fine-tunes the adapter.
	// +required
	// +kubebuilder:validation:XValidation:rule="!has(self.shards) || self.shards == 1",message="training has one shard"
	Train StageTemplate `json:"train,omitzero"`

	// gpuResourceName is the extended resource that GPU time is counted by, such as amd.com/gpu or nvidia.com/mig-1g.10gb.
	// +optional
	// +default="nvidia.com/gpu"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$`
	GPUResourceName string `json:"gpuResourceName,omitempty"`

	// defaults of the fields that depend on the model.
	// +required
	Defaults RuntimeDefaults `json:"defaults,omitzero"`
}

// ModelSpec names the base model.
type ModelSpec struct {
	// name for people.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Name string `json:"name,omitempty"`

	// digest of the weights.
	// +required
	Digest Digest `json:"digest,omitempty"`

	// numericsRevision is raised by the runtime's author when the numbers change; it voids stored samples.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	NumericsRevision string `json:"numericsRevision,omitempty"`
}

// DetectorSpec names the detector.
type DetectorSpec struct {
	// name for people.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Name string `json:"name,omitempty"`

	// digest of the detector's weights.
	// +required
	Digest Digest `json:"digest,omitempty"`

	// revision of the tracking rules; raising it voids stored tracks.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Revision string `json:"revision,omitempty"`
}

// StoreSpec is one of pvc and s3.
//
// +kubebuilder:validation:XValidation:rule="has(self.pvc) != has(self.s3)",message="exactly one of pvc and s3 must be set"
// +kubebuilder:validation:MinProperties=1
type StoreSpec struct {
	// pvc is a PersistentVolumeClaim: ReadWriteMany, unless all pods fit one node.
	// +optional
	PVC *PVCStore `json:"pvc,omitempty"`

	// s3 is a bucket of any S3-compatible service.
	// +optional
	S3 *S3Store `json:"s3,omitempty"`
}

// PVCStore is a PersistentVolumeClaim.
type PVCStore struct {
	// claimName of the PersistentVolumeClaim in the namespace of the object that uses the runtime.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	ClaimName string `json:"claimName,omitempty"`
}

// S3Store is a bucket. The namespace is appended to the prefix.
type S3Store struct {
	// bucket name.
	// +required
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9][a-z0-9.-]*[a-z0-9]$`
	Bucket string `json:"bucket,omitempty"`

	// prefix within the bucket.
	// +optional
	Prefix ArtifactKey `json:"prefix,omitempty"`

	// endpoint of the service, such as https://minio.storage:9000. AWS when absent.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^https?://[A-Za-z0-9.:_-]+$`
	Endpoint string `json:"endpoint,omitempty"`

	// region of the bucket.
	// +optional
	// +default="us-east-1"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[a-z0-9-]+$`
	Region string `json:"region,omitempty"`

	// secretName holds AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, in the namespace of the object that uses the runtime.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	SecretName string `json:"secretName,omitempty"`
}

// StageTemplate is the pod of one stage, as far as an admin sets it.
type StageTemplate struct {
	// image to run, best by digest.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Image string `json:"image,omitempty"`

	// command is the entrypoint; the stage's name and flags are appended. The image's own when absent.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	Command []string `json:"command,omitempty"`

	// env of the container: plain values, nothing secret.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	Env []EnvVar `json:"env,omitempty"`

	// resources of the container: GPUs, CPU, memory.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!has(self.claims)",message="claims are made from the stage's resourceClaims"
	// +kubebuilder:validation:XValidation:rule="(!has(self.limits) || self.limits.size() <= 16) && (!has(self.requests) || self.requests.size() <= 16)",message="must not have more than 16 limits or requests"
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`

	// shards split the stage's samples over that many pods. Training has one.
	// +optional
	// +default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=32
	Shards int32 `json:"shards,omitempty"`

	// terminationGracePeriodSeconds is the time to save progress after SIGTERM.
	// +optional
	// +default=30
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=3600
	TerminationGracePeriodSeconds int64 `json:"terminationGracePeriodSeconds,omitempty"`

	PodSettings `json:",inline"`
}

// EnvVar is an environment variable with a plain value.
type EnvVar struct {
	// name of the variable.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z_][A-Za-z0-9_]*$`
	// +kubebuilder:validation:XValidation:rule="self == 'SPATIALALIGN_HEARTBEAT_SECONDS' || !self.startsWith('SPATIALALIGN_') && !self.startsWith('AWS_') && self != 'JOB_COMPLETION_INDEX'",message="must not be one that the operator sets (SPATIALALIGN_*, AWS_*, JOB_COMPLETION_INDEX)"
	Name string `json:"name,omitempty"`

	// value of the variable.
	// +required
	// +kubebuilder:validation:MinLength=0
	// +kubebuilder:validation:MaxLength=1024
	Value *string `json:"value,omitempty"`
}

// RuntimeDefaults are the values of the fields that depend on the model.
type RuntimeDefaults struct {
	// sampling defaults.
	// +required
	Sampling SamplingDefaults `json:"sampling,omitzero"`

	// training defaults.
	// +required
	Training TrainingDefaults `json:"training,omitzero"`

	// evaluation defaults.
	// +required
	Evaluation EvaluationDefaults `json:"evaluation,omitzero"`
}

// SamplingDefaults of a model.
//
// +kubebuilder:validation:XValidation:rule="has(self.steps)",message="steps is required"
type SamplingDefaults struct {
	// samplesPerPrompt of the training prompts.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	SamplesPerPrompt int32 `json:"samplesPerPrompt,omitempty"`

	SamplingParameters `json:",inline"`
}

// TrainingDefaults of a model.
type TrainingDefaults struct {
	// steps of the optimizer.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	Steps int32 `json:"steps,omitempty"`

	TrainingSchedule `json:",inline"`

	// pairsPerStep is the number of preference pairs per optimizer step.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65536
	PairsPerStep int32 `json:"pairsPerStep,omitempty"`

	// learningRate at its height.
	// +required
	// +kubebuilder:validation:XValidation:rule="double(self) > 0.0 && double(self) <= 1.0",message="must be greater than 0 and at most 1"
	LearningRate Decimal `json:"learningRate,omitempty"`

	// lora is the adapter's shape.
	// +required
	LoRA LoRASpec `json:"lora,omitzero"`
}

// EvaluationDefaults of a model.
type EvaluationDefaults struct {
	// samplesPerPrompt of the evaluation prompts.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	SamplesPerPrompt int32 `json:"samplesPerPrompt,omitempty"`
}

// RuntimeSnapshot is what an AlignmentRuntime said when an object was accepted.
type RuntimeSnapshot struct {
	// generation of the AlignmentRuntime.
	// +required
	// +kubebuilder:validation:Minimum=0
	Generation *int64 `json:"generation,omitempty"`

	// spec of the AlignmentRuntime, without the list of namespaces and the limits: those are looked up while the object runs.
	// +required
	Spec AlignmentRuntimeSpec `json:"spec,omitzero"`
}

// AlignmentRuntime is what a cluster admin offers: a model with the images that sample, track and train it.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=art,categories=alignment
// +kubebuilder:printcolumn:name="Model",type=string,JSONPath=`.spec.model.name`
// +kubebuilder:printcolumn:name="Detector",type=string,JSONPath=`.spec.detector.name`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type AlignmentRuntime struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what is offered.
	// +required
	Spec AlignmentRuntimeSpec `json:"spec,omitzero"`
}

// AlignmentRuntimeList is a list of AlignmentRuntimes.
//
// +kubebuilder:object:root=true
type AlignmentRuntimeList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []AlignmentRuntime `json:"items"`
}
