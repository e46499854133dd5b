package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ApprovalGate is a point at which a run may wait for a person.
//
// +kubebuilder:validation:Enum=Pair;Evaluate
type ApprovalGate string

// The gates.
const (
	// GatePair is before an iteration's training.
	GatePair ApprovalGate = "Pair"
	// GateEvaluate is before an adapter is accepted.
	GateEvaluate ApprovalGate = "Evaluate"
)

// ApprovalDecision is the answer.
//
// +kubebuilder:validation:Enum=Approve;Deny
type ApprovalDecision string

// The decisions.
const (
	DecisionApprove ApprovalDecision = "Approve"
	DecisionDeny    ApprovalDecision = "Deny"
)

// AlignmentApprovalSpec answers what a run's status.pendingApproval asks. An answer that names another UID, iteration, gate or
// digest is no answer to it.
type AlignmentApprovalSpec struct {
	// runName of the AlignmentRun in the same namespace.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	RunName string `json:"runName,omitempty"`

	// runUID of the AlignmentRun: another run of the same name is not approved with it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	RunUID string `json:"runUID,omitempty"`

	// iteration that waits.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	Iteration int32 `json:"iteration,omitempty"`

	// gate that it waits at.
	// +required
	Gate ApprovalGate `json:"gate,omitempty"`

	// digest of what was looked at: the pairs after Pair, the adapter after Evaluate.
	// +required
	Digest Digest `json:"digest,omitempty"`

	// decision says how: Approve lets the run go on. Deny fails it after Pair, and rejects the adapter after Evaluate.
	// +required
	Decision ApprovalDecision `json:"decision,omitempty"`

	// comment for whoever reads it later.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Comment string `json:"comment,omitempty"`
}

// AlignmentApproval is a person's answer to a gate of an AlignmentRun. Who may create one may approve.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=aapproval,categories=alignment
// +kubebuilder:printcolumn:name="Run",type=string,JSONPath=`.spec.runName`
// +kubebuilder:printcolumn:name="Iteration",type=integer,JSONPath=`.spec.iteration`
// +kubebuilder:printcolumn:name="Gate",type=string,JSONPath=`.spec.gate`
// +kubebuilder:printcolumn:name="Decision",type=string,JSONPath=`.spec.decision`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.spec == oldSelf.spec",message="spec is immutable; create a new AlignmentApproval"
type AlignmentApproval struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is the answer.
	// +required
	Spec AlignmentApprovalSpec `json:"spec,omitzero"`
}

// AlignmentApprovalList is a list of AlignmentApprovals.
//
// +kubebuilder:object:root=true
type AlignmentApprovalList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []AlignmentApproval `json:"items"`
}
