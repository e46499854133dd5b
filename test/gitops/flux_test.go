package gitops

import (
	"os"
	"strings"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// evaluators of Flux, by kind.
type evaluators map[string]*cel.StatusEvaluator

// expressions reads the Kustomization that docs/gitops.md shows.
func expressions(t *testing.T) evaluators {
	t.Helper()
	page, err := os.ReadFile("../../docs/gitops.md")
	if err != nil {
		t.Fatal(err)
	}
	var kustomization struct {
		Spec struct {
			HealthCheckExprs []kustomize.CustomHealthCheck `json:"healthCheckExprs"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal([]byte(block(t, string(page), "apiVersion: kustomize.toolkit.fluxcd.io/v1")), &kustomization); err != nil {
		t.Fatal(err)
	}
	byKind := evaluators{}
	for _, check := range kustomization.Spec.HealthCheckExprs {
		if check.APIVersion != "alignment.spatialalign.dev/v1alpha1" {
			t.Errorf("%s is of %s", check.Kind, check.APIVersion)
		}
		if byKind[check.Kind], err = cel.NewStatusEvaluator(&check.HealthCheckExpressions); err != nil {
			t.Fatal(err)
		}
	}
	return byKind
}

// block is the indented block of a page that begins with a line.
func block(t *testing.T, page, first string) string {
	t.Helper()
	const indent = "    "
	_, rest, found := strings.Cut(page, "\n"+indent+first+"\n")
	if !found {
		t.Fatalf("docs/gitops.md has no block that begins with %q", first)
	}
	lines := []string{first}
	for line := range strings.Lines(rest) {
		text, ok := strings.CutPrefix(line, indent)
		if !ok {
			break
		}
		lines = append(lines, strings.TrimSuffix(text, "\n"))
	}
	return strings.Join(lines, "\n")
}

func (e evaluators) status(t *testing.T, object *unstructured.Unstructured) status.Status {
	t.Helper()
	evaluator := e[object.GetKind()]
	if evaluator == nil {
		t.Fatalf("docs/gitops.md has no expressions for %s", object.GetKind())
	}
	result, err := evaluator.Evaluate(t.Context(), object)
	if err != nil {
		t.Fatal(err)
	}
	return result.Status
}
