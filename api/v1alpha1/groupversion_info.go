// Package v1alpha1 is the API of the SpatialAlign operator.
//
// +kubebuilder:object:generate=true
// +groupName=alignment.spatialalign.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	// GroupVersion of every kind here.
	GroupVersion = schema.GroupVersion{Group: "alignment.spatialalign.dev", Version: "v1alpha1"}

	schemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)

	// AddToScheme registers the kinds with a scheme.
	AddToScheme = schemeBuilder.AddToScheme
)

func addKnownTypes(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&AlignmentRun{}, &AlignmentRunList{},
		&ScoringBatch{}, &ScoringBatchList{},
		&PreferenceDataset{}, &PreferenceDatasetList{},
		&AlignmentRuntime{}, &AlignmentRuntimeList{},
		&AlignmentApproval{}, &AlignmentApprovalList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
