package chart

import (
	"encoding/json"
	"os"
	"os/exec"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// The runtime says of model and detector what the image says of itself: a digest that is another's would
// take stored samples and tracks for those of this image.
func TestSyntheticRuntimeDescribesItsImage(t *testing.T) {
	command := exec.Command("go", "run", "./worker/synthetic", "info")
	command.Dir = root
	command.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		t.Fatalf("synthetic info: %v", err)
	}
	var info struct {
		Model            map[string]any `json:"model"`
		NumericsRevision string         `json:"numericsRevision"`
		Detector         map[string]any `json:"detector"`
	}
	if err := json.Unmarshal(output, &info); err != nil {
		t.Fatalf("synthetic info: %v", err)
	}
	info.Model["numericsRevision"] = info.NumericsRevision

	objects, _ := render(t, "")
	runtime := ofKind(objects, "AlignmentRuntime")[0]
	for block, want := range map[string]map[string]any{"model": info.Model, "detector": info.Detector} {
		got, _, err := unstructured.NestedMap(runtime.Object, "spec", block)
		if err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("%s in the chart's values.yaml and config/runtimes/synthetic.yaml differs from `synthetic info` (-info +chart):\n%s", block, diff)
		}
	}
}
