package chart

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	yamlstream "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const (
	root  = "../.."
	chart = root + "/charts/spatialalign"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// object is one manifest.
type object = *unstructured.Unstructured

// render returns what `helm install spatialalign -n spatialalign-system` with the values (YAML) creates, and its notes.
func render(t *testing.T, values string) ([]object, string) {
	t.Helper()
	files, err := renderFiles(values)
	if err != nil {
		t.Fatal(err)
	}
	var objects []object
	var notes string
	for name, text := range files {
		if strings.HasSuffix(name, "NOTES.txt") {
			notes = text
			continue
		}
		objects = append(objects, decode(t, name, text)...)
	}
	return sorted(objects), notes
}

// renderFiles returns the rendered templates by name; values that the schema refuses are an error.
func renderFiles(values string) (map[string]string, error) {
	loaded, err := loader.LoadDir(chart)
	if err != nil {
		return nil, err
	}
	overrides := map[string]any{}
	if err := yaml.Unmarshal([]byte(values), &overrides); err != nil {
		return nil, err
	}
	release := common.ReleaseOptions{Name: "spatialalign", Namespace: "spatialalign-system", IsInstall: true}
	all, err := util.ToRenderValues(loaded, overrides, release, common.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	return engine.Render(loaded, all)
}

// kustomize returns what `kubectl kustomize` prints for a folder of the repository.
func kustomize(t *testing.T, dir string) []object {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(root, dir))
	if err != nil {
		t.Fatal(err)
	}
	text, err := built.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	return sorted(decode(t, dir, string(text)))
}

// manifests returns the documents of a file of the repository.
func manifests(t *testing.T, file string) []object {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return sorted(decode(t, file, string(text)))
}

func decode(t *testing.T, name, text string) []object {
	t.Helper()
	var objects []object
	documents := yamlstream.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	for {
		content := map[string]any{}
		err := documents.Decode(&content)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(content) > 0 {
			objects = append(objects, &unstructured.Unstructured{Object: content})
		}
	}
}

// sorted by kind, namespace and name, so that neither file names nor a tool's order show.
func sorted(objects []object) []object {
	slices.SortFunc(objects, func(a, b object) int { return cmp.Compare(id(a), id(b)) })
	return objects
}

func id(o object) string {
	return fmt.Sprintf("%s %s/%s", o.GetKind(), o.GetNamespace(), o.GetName())
}

func ofKind(objects []object, kinds ...string) []object {
	var found []object
	for _, o := range objects {
		if slices.Contains(kinds, o.GetKind()) {
			found = append(found, o)
		}
	}
	return found
}

// one returns the only object of a kind, as its Go type.
func one[T any](t *testing.T, objects []object, kind string) T {
	t.Helper()
	var typed T
	found := ofKind(objects, kind)
	if len(found) != 1 {
		t.Fatalf("%d objects of kind %s, want 1", len(found), kind)
	}
	convert(t, found[0], &typed)
	return typed
}

func convert(t *testing.T, from object, to any) {
	t.Helper()
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(from.Object, to, true); err != nil {
		t.Fatalf("%s: %v", id(from), err)
	}
}

func asYAML(t *testing.T, objects []object) string {
	t.Helper()
	var text bytes.Buffer
	for _, o := range objects {
		one, err := yaml.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "---\n%s", one)
	}
	return text.String()
}

// golden compares with testdata/<name>, or rewrites it under -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); `go test -update` rewrites it:\n%s", path, diff)
	}
}
