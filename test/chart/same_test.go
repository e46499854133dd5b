package chart

import (
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Who installs by kustomize gets what who installs by Helm gets.
func TestKustomizeEqualsChart(t *testing.T) {
	want, _ := render(t, "")
	// Helm makes the namespace by --create-namespace, and installs the CRDs from the chart's folder crds.
	got := slices.DeleteFunc(kustomize(t, "config/default"), func(o object) bool {
		return o.GetKind() == "Namespace" || o.GetKind() == "CustomResourceDefinition"
	})
	got = sorted(append(got, kustomize(t, "config/runtimes")...))
	if diff := gocmp.Diff(asYAML(t, withoutHelmLabels(want)), asYAML(t, withoutHelmLabels(got))); diff != "" {
		t.Errorf("config/default and config/runtimes differ from the chart (-chart +kustomize):\n%s", diff)
	}
}

func withoutHelmLabels(objects []object) []object {
	for _, o := range objects {
		labels := o.GetLabels()
		for _, label := range []string{"helm.sh/chart", "app.kubernetes.io/managed-by", "app.kubernetes.io/version"} {
			delete(labels, label)
		}
		o.SetLabels(labels)
	}
	return objects
}

func TestKustomizeInstallsEveryCRD(t *testing.T) {
	var names []string
	for _, o := range ofKind(kustomize(t, "config/default"), "CustomResourceDefinition") {
		names = append(names, o.GetName())
	}
	want := []string{
		"alignmentapprovals.alignment.spatialalign.dev",
		"alignmentruns.alignment.spatialalign.dev", "alignmentruntimes.alignment.spatialalign.dev",
		"preferencedatasets.alignment.spatialalign.dev", "scoringbatches.alignment.spatialalign.dev",
	}
	if !slices.Equal(names, want) {
		t.Errorf("config/default has the CRDs %v, want %v", names, want)
	}
}

// The manifest that makes a namespace ready, the kustomization and the chart close stage pods in the same way.
func TestStagePodPoliciesAgree(t *testing.T) {
	byChart, _ := render(t, "networkPolicy: {tenantNamespaces: [alignment]}")
	byChart = slices.DeleteFunc(byChart, func(o object) bool { return o.GetNamespace() != "alignment" })
	specs := func(objects []object) (all []networkingv1.NetworkPolicySpec) {
		for _, o := range ofKind(objects, "NetworkPolicy") {
			var np networkingv1.NetworkPolicy
			convert(t, o, &np)
			all = append(all, np.Spec)
		}
		return all
	}
	want := specs(byChart)
	if len(want) != 2 {
		t.Errorf("%d policies in a namespace, want one for all stages and one for trainings on several nodes", len(want))
	}
	for source, objects := range map[string][]object{
		"config/network-policy/volume": kustomize(t, "config/network-policy/volume"),
		"namespace-ready.yaml":         manifests(t, "config/samples/namespace-ready.yaml"),
	} {
		if diff := gocmp.Diff(want, specs(objects)); diff != "" {
			t.Errorf("%s differs from the chart (-chart +%s):\n%s", source, source, diff)
		}
	}
}

// What the admin guide makes for its two teams is what makes a namespace ready, but for the quota on GPUs, which Kueue counts.
func TestTeamsHaveWhatANamespaceNeeds(t *testing.T) {
	var want []object
	for _, team := range []string{"team-a", "team-b"} {
		for _, o := range manifests(t, "config/samples/namespace-ready.yaml") {
			switch o.GetKind() {
			case "ResourceQuota":
				continue
			case "Namespace":
				o.SetName(team)
			default:
				o.SetNamespace(team)
			}
			want = append(want, o)
		}
	}
	if diff := gocmp.Diff(asYAML(t, sorted(want)), asYAML(t, manifests(t, "config/samples/kueue/teams.yaml"))); diff != "" {
		t.Errorf("kueue/teams.yaml differs (-namespace-ready.yaml for each team +teams.yaml):\n%s", diff)
	}
}

func TestNamespaceReadyHasTheStoreThatTheRuntimeNames(t *testing.T) {
	runtimes, _ := render(t, "")
	claim, _, err := unstructured.NestedString(ofKind(runtimes, "AlignmentRuntime")[0].Object, "spec", "store", "pvc", "claimName")
	if err != nil {
		t.Fatal(err)
	}
	ready := manifests(t, "config/samples/namespace-ready.yaml")
	if claims := ofKind(ready, "PersistentVolumeClaim"); len(claims) != 1 || claims[0].GetName() != claim {
		t.Errorf("the runtime's claim is %q, the namespace has %d claims, want that one", claim, len(claims))
	}
}
