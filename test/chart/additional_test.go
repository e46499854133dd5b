package chart

import (
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// Runtimes of config/runtimes may be installed with the chart: their specs come out as they went in.
func TestAdditionalRuntimes(t *testing.T) {
	additional, want := map[string]any{}, map[string]any{}
	for _, file := range []string{"wan2.1-t2v-1.3b", "wan2.1-t2v-1.3b-24gb"} {
		o := manifests(t, "config/runtimes/"+file+".yaml")[0]
		if o.GetName() != file {
			t.Errorf("config/runtimes/%s.yaml is named %s", file, o.GetName())
		}
		additional[o.GetName()] = o.Object["spec"]
		want[o.GetName()] = o.Object["spec"]
	}
	values, err := yaml.Marshal(map[string]any{"runtimes": map[string]any{"additional": additional}})
	if err != nil {
		t.Fatal(err)
	}
	objects, _ := render(t, string(values))
	got := map[string]any{}
	for _, o := range ofKind(objects, "AlignmentRuntime") {
		if o.GetName() == "synthetic" {
			continue
		}
		if name, _, _ := unstructured.NestedString(o.Object, "metadata", "labels", "app.kubernetes.io/part-of"); name != "spatialalign" {
			t.Errorf("%s lacks the chart's labels", o.GetName())
		}
		got[o.GetName()] = o.Object["spec"]
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("(-config +chart):\n%s", diff)
	}
}
