package crd

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/spatialalign/operator/internal/golden"
)

// What the API server makes of a short manifest: the golden files show every default.
func TestDefaults(t *testing.T) {
	for _, test := range []struct{ file, kind, golden string }{
		{"config/samples/first-run.yaml", "AlignmentRun", "first-run-defaulted.yaml"},
		{"config/samples/scoringbatch.yaml", "ScoringBatch", "scoringbatch-defaulted.yaml"},
		{"config/samples/preferencedataset.yaml", "PreferenceDataset", "preferencedataset-defaulted.yaml"},
		{"config/runtimes/synthetic.yaml", "AlignmentRuntime", "alignmentruntime-defaulted.yaml"},
	} {
		t.Run(test.kind, func(t *testing.T) {
			o := document(t, test.file, test.kind)
			if err := server.Create(context.Background(), o, strict...); err != nil {
				t.Fatal(err)
			}
			got := specOf(t, o)
			golden.Check(t, test.golden, string(got))
		})
	}
}

// A manifest with everything set is stored as it is.
func TestNothingIsAddedToAFullManifest(t *testing.T) {
	written := document(t, "test/crd/testdata/full-run.yaml", "AlignmentRun")
	o := written.DeepCopy()
	if err := server.Create(context.Background(), o, strict...); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(specOf(t, written)), string(specOf(t, o))); diff != "" {
		t.Errorf("the stored spec differs (-written +stored):\n%s", diff)
	}
}

func specOf(t *testing.T, o *unstructured.Unstructured) []byte {
	t.Helper()
	text, err := yaml.Marshal(map[string]any{"kind": o.GetKind(), "spec": o.Object["spec"]})
	if err != nil {
		t.Fatal(err)
	}
	return text
}
