package crd

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"

	"github.com/google/go-cmp/cmp"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// pages of the kinds.
var pages = map[string]string{
	"alignmentapprovals": "alignmentapproval.md", "alignmentruns": "alignmentrun.md", "alignmentruntimes": "alignmentruntime.md",
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

// The page of a run shows the manifest with all fields that the other tests start from.
func TestPageOfARunShowsEveryField(t *testing.T) {
	if diff := cmp.Diff(string(specOf(t, document(t, fullRun, "AlignmentRun"))), string(specOf(t, examples(t, "alignmentrun.md")[0]))); diff != "" {
		t.Errorf("docs/alignmentrun.md differs from %s (-file +page):\n%s", fullRun, diff)
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

// The command of the page makes of a run that waits an answer to what it asks.
func TestApprovalCommandAnswersWhatIsAsked(t *testing.T) {
	found := regexp.MustCompile(`go-template='([^']+)'`).FindStringSubmatch(read(t, "alignmentapproval.md"))
	if found == nil {
		t.Fatal("the page has no command")
	}
	command, err := template.New("command").Parse(found[1])
	if err != nil {
		t.Fatal(err)
	}
	metadata := map[string]any{"name": long(63), "namespace": namespace, "uid": "3f9a6c1e-52a7-4e0b-9c1d-7b0c0a4f8e21"}
	pending := map[string]any{"iteration": 9999.0, "gate": "Pair", "digest": digests[0], "since": "2026-01-02T03:04:05Z"}
	var printed strings.Builder
	if err := command.Execute(&printed, map[string]any{"metadata": metadata, "status": map[string]any{"pendingApproval": pending}}); err != nil {
		t.Fatal(err)
	}
	content := map[string]any{}
	if err := yaml.Unmarshal([]byte(printed.String()), &content); err != nil {
		t.Fatalf("%v: %s", err, printed.String())
	}
	approval := &unstructured.Unstructured{Object: content}
	check(t, answer(approval), "")
	want := map[string]any{
		"runName": metadata["name"], "runUID": metadata["uid"], "iteration": int64(9999), "gate": "Pair", "digest": pending["digest"], "decision": "Approve",
	}
	if diff := cmp.Diff(want, approval.Object["spec"]); diff != "" {
		t.Errorf("the answer differs (-want +got):\n%s", diff)
	}

	printed.Reset()
	if err := command.Execute(&printed, map[string]any{"metadata": metadata, "status": map[string]any{}}); err != nil || printed.Len() > 0 {
		t.Errorf("a run that asks nothing is answered %q: %v", printed.String(), err)
	}
}

// A field that is added to a spec or a status, or a word that one may hold, is added to its page.
func TestPagesNameEveryField(t *testing.T) {
	for plural, page := range pages {
		t.Run(page, func(t *testing.T) {
			text := read(t, page)
			schema := definition(t, filepath.Join(root, "config", "crd", "bases", "alignment.spatialalign.dev_"+plural+".yaml")).Spec.Versions[0].Schema.OpenAPIV3Schema
			names := map[string]bool{}
			spec, status := schema.Properties["spec"], schema.Properties["status"]
			words(&spec, names)
			if plural == "alignmentruns" {
				words(&status, names)
			}
			for name := range status.Properties {
				names[name] = true
			}
			for _, name := range slices.Sorted(maps.Keys(names)) {
				if !regexp.MustCompile(`\b` + regexp.QuoteMeta(name) + `\b`).MatchString(text) {
					t.Errorf("docs/%s does not name %s", page, name)
				}
			}
		})
	}
}

// elsewhere are fields whose own are explained on another page: resources is Kubernetes', a runtime's snapshot its kind's.
var elsewhere = []string{"resources", "runtime", "conditions"}

// words collects the names of all properties, and what those of a few words may hold.
func words(s *apiextensions.JSONSchemaProps, names map[string]bool) {
	for name, property := range s.Properties {
		names[name] = true
		if !slices.Contains(elsewhere, name) {
			words(&property, names)
		}
	}
	if s.Items != nil {
		words(s.Items.Schema, names)
	}
	for _, value := range s.Enum {
		names[strings.Trim(string(value.Raw), `"`)] = true
	}
}

// Every condition, reason and event that the API has a constant for is on some page of a kind.
func TestPagesNameEveryReason(t *testing.T) {
	var text strings.Builder
	for _, page := range pages {
		text.WriteString(read(t, page))
	}
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "api/v1alpha1/conditions.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		literal, ok := n.(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return true
		}
		found++
		if word := strings.Trim(literal.Value, `"`); !regexp.MustCompile(`\b` + word + `\b`).MatchString(text.String()) {
			t.Errorf("no page names %s", word)
		}
		return true
	})
	if found < 30 {
		t.Errorf("only %d words are found in conditions.go", found)
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
