package crd

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// unbounded is what needs no bound of ours: Kubernetes' own metadata, and resources, of which a rule counts the entries.
var unbounded = []string{".apiVersion", ".kind", ".metadata", "resources.claims", "resources.limits", "resources.requests"}

// Every string, list, map and number of the schema is bounded, so that no object outgrows what etcd takes.
func TestEverythingIsBounded(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "config", "crd", "bases", "*.yaml"))
	if err != nil || len(files) != 5 {
		t.Fatalf("%d CRDs, want 5: %v", len(files), err)
	}
	for _, file := range files {
		crd := definition(t, file)
		t.Run(crd.Spec.Names.Kind, func(t *testing.T) {
			for _, version := range crd.Spec.Versions {
				testBounded(t, "", version.Schema.OpenAPIV3Schema)
			}
		})
	}
}

func definition(t *testing.T, file string) apiextensions.CustomResourceDefinition {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var crd apiextensions.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(text, &crd); err != nil {
		t.Fatal(err)
	}
	return crd
}

func testBounded(t *testing.T, path string, s *apiextensions.JSONSchemaProps) {
	t.Helper()
	if slices.ContainsFunc(unbounded, func(end string) bool { return strings.HasSuffix(path, end) }) {
		return
	}
	switch s.Type {
	case "string":
		if s.MaxLength == nil && len(s.Enum) == 0 && s.Format != "date-time" {
			t.Errorf("%s: a string without maxLength", path)
		}
	case "integer":
		if s.Minimum == nil {
			t.Errorf("%s: a number without minimum", path)
		}
	case "number":
		t.Errorf("%s: a float; fractions are decimal strings", path)
	case "array":
		if s.MaxItems == nil {
			t.Errorf("%s: a list without maxItems", path)
		}
		testBounded(t, path+"[]", s.Items.Schema)
	case "object":
		switch values := s.AdditionalProperties; {
		case s.XPreserveUnknownFields != nil || values != nil && values.Schema == nil:
			t.Errorf("%s: a map of anything", path)
		case values != nil && s.MaxProperties == nil:
			t.Errorf("%s: a map without maxProperties", path)
		case values != nil:
			testBounded(t, path+"{}", values.Schema)
		}
		for name, property := range s.Properties {
			testBounded(t, path+"."+name, &property)
		}
	case "boolean":
	default:
		t.Errorf("%s: type %q", path, s.Type)
	}
}
