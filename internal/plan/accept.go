package plan

import (
	"fmt"
	"slices"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// accept takes the snapshot of the runtime that an object goes by from then on, or says what it waits for.
func accept(b Base, name, namespace string) (*v1alpha1.RuntimeSnapshot, *failure) {
	r := b.Runtime
	if r == nil {
		return nil, &failure{v1alpha1.ReasonRuntimeNotFound, fmt.Sprintf("AlignmentRuntime %q does not exist; waiting for it", name)}
	}
	if !slices.Contains(r.Spec.AllowedNamespaces, "*") && !slices.Contains(r.Spec.AllowedNamespaces, namespace) {
		return nil, &failure{v1alpha1.ReasonNamespaceNotAllowed,
			fmt.Sprintf("AlignmentRuntime %q does not list namespace %q in allowedNamespaces; waiting until a cluster admin adds it", name, namespace)}
	}
	if b.Missing != "" {
		return nil, &failure{v1alpha1.ReasonPromptsNotFound, b.Missing + "; waiting for it"}
	}
	spec := *r.Spec.DeepCopy()
	spec.AllowedNamespaces = nil
	generation := r.Generation
	return &v1alpha1.RuntimeSnapshot{Generation: &generation, Spec: spec}, nil
}
