package crd

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// pages of the kinds.
var pages = map[string]string{
	"alignmentruns": "alignmentrun.md", "alignmentruntimes": "alignmentruntime.md",
	"preferencedatasets": "preferencedataset.md", "scoringbatches": "scoringbatch.md",
}

func TestExamplesOfThePagesAreAccepted(t *testing.T) {
	for _, page := range pages {
		t.Run(page, func(t *testing.T) {
			found := examples(t, page)
			if len(found) == 0 {
				t.Fatal("the page has no example")
			}
			for _, o := range found {
				check(t, answer(o), "")
			}
		})
	}
}

// examples are the indented blocks of a page that are manifests of ours.
func examples(t *testing.T, page string) []*unstructured.Unstructured {
	t.Helper()
	var found []*unstructured.Unstructured
	for _, block := range regexp.MustCompile(`(?m)(^    .*\n)+`).FindAllString(read(t, page), -1) {
		if !strings.HasPrefix(block, "    apiVersion: alignment.spatialalign.dev/") {
			continue
		}
		content := map[string]any{}
		if err := yaml.Unmarshal([]byte(block), &content); err != nil {
			t.Fatalf("%s: %v", page, err)
		}
		o := &unstructured.Unstructured{Object: content}
		if o.GetKind() != "AlignmentRuntime" {
			o.SetNamespace(namespace)
		}
		found = append(found, o)
	}
	return found
}

// A field that is added to a spec or a status is added to its page.
func TestPagesNameEveryField(t *testing.T) {
	for plural, page := range pages {
		t.Run(page, func(t *testing.T) {
			text := read(t, page)
			schema := definition(t, filepath.Join(root, "config", "crd", "bases", "alignment.spatialalign.dev_"+plural+".yaml")).Spec.Versions[0].Schema.OpenAPIV3Schema
			names := map[string]bool{}
			spec := schema.Properties["spec"]
			fields(&spec, names)
			for name := range schema.Properties["status"].Properties {
				names[name] = true
			}
			for _, name := range slices.Sorted(maps.Keys(names)) {
				if !regexp.MustCompile(`\b` + regexp.QuoteMeta(name) + `\b`).MatchString(text) {
					t.Errorf("docs/%s does not name the field %s", page, name)
				}
			}
		})
	}
}

// fields collects the names of all properties; of resources, which are Kubernetes' own, no more than that.
func fields(s *apiextensions.JSONSchemaProps, names map[string]bool) {
	for name, property := range s.Properties {
		names[name] = true
		if name != "resources" {
			fields(&property, names)
		}
	}
	if s.Items != nil {
		fields(s.Items.Schema, names)
	}
}

func read(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
