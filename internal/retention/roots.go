package retention

import (
	"fmt"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/references"
)

// RootsOf all the AlignmentRuns, ScoringBatches and PreferenceDatasets of a namespace, ended ones too.
func RootsOf(objects []client.Object) (Roots, error) {
	roots, living := Roots{UIDs: []string{}}, map[string]bool{}
	for _, o := range objects {
		roots.UIDs = append(roots.UIDs, string(o.GetUID()))
		living[string(o.GetUID())] = true
	}
	named, detectors := map[contract.Artifact]bool{}, map[contract.Detector]bool{}
	for _, o := range objects {
		found, err := references.Of(o)
		if err != nil {
			return Roots{}, fmt.Errorf("%T %s: %w", o, o.GetName(), err)
		}
		for _, r := range found {
			// What lies below a living object's own prefix stays in any case.
			if contract.ValidKey(r.Key) == nil && !living[owner(r.Key)] && !named[r.Artifact] {
				named[r.Artifact] = true
				roots.Artifacts = append(roots.Artifacts, r.Artifact)
			}
		}
		runtime := RuntimeOf(o)
		if runtime == nil {
			continue
		}
		d := contract.Detector{Name: runtime.Detector.Name, Digest: string(runtime.Detector.Digest), Revision: runtime.Detector.Revision}
		if !detectors[d] {
			detectors[d] = true
			roots.Detectors = append(roots.Detectors, d)
		}
	}
	slices.Sort(roots.UIDs)
	return roots, nil
}

// RuntimeOf an object, as it took it; nil before it was accepted.
func RuntimeOf(o client.Object) *v1alpha1.AlignmentRuntimeSpec {
	var snapshot *v1alpha1.RuntimeSnapshot
	switch o := o.(type) {
	case *v1alpha1.AlignmentRun:
		snapshot = o.Status.Runtime
	case *v1alpha1.ScoringBatch:
		snapshot = o.Status.Runtime
	case *v1alpha1.PreferenceDataset:
		snapshot = o.Status.Runtime
	}
	if snapshot == nil {
		return nil
	}
	return &snapshot.Spec
}
