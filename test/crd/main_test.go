// Package crd says what the API server accepts of our kinds, what it refuses, and with which words.
package crd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

const (
	root      = "../.."
	namespace = "default"
)

// server is the API server with our CRDs; that they are installed proves that their rules fit the CEL cost budget.
var server client.Client

func TestMain(m *testing.M) {
	code, err := withServer(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func withServer(run func() int) (code int, err error) {
	environment := envtest.Environment{
		CRDDirectoryPaths:        []string{filepath.Join(root, "config", "crd", "bases")},
		ErrorIfCRDPathMissing:    true,
		ControlPlaneStartTimeout: 5 * time.Minute, // on a busy machine
	}
	config, err := environment.Start()
	if err != nil {
		return 0, fmt.Errorf("the API server did not start (make test-envtest builds it and sets KUBEBUILDER_ASSETS): %w", err)
	}
	defer func() { err = errors.Join(err, environment.Stop()) }()
	if server, err = client.New(config, client.Options{}); err != nil {
		return 0, err
	}
	return run(), nil
}

// document returns the first object of a kind in a file of the repository.
func document(t *testing.T, file, kind string) *unstructured.Unstructured {
	t.Helper()
	for _, o := range documents(t, file) {
		if o.GetKind() == kind {
			return o
		}
	}
	t.Fatalf("%s has no %s", file, kind)
	return nil
}

// documents returns the objects of a file of the repository; those that have a namespace get ours.
func documents(t *testing.T, file string) []*unstructured.Unstructured {
	t.Helper()
	text, err := os.Open(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(text, 4096)
	for {
		content := map[string]any{}
		err := decoder.Decode(&content)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		o := &unstructured.Unstructured{Object: content}
		if kind := o.GetKind(); kind != "AlignmentRuntime" && kind != "Namespace" {
			o.SetNamespace(namespace)
		}
		objects = append(objects, o)
	}
}

// changed returns a copy with a change merged in: YAML, in which null removes a field.
func changed(t *testing.T, o *unstructured.Unstructured, change string) *unstructured.Unstructured {
	t.Helper()
	patch := map[string]any{}
	if err := yaml.Unmarshal([]byte(change), &patch); err != nil {
		t.Fatalf("%s: %v", change, err)
	}
	result := o.DeepCopy()
	merge(result.Object, patch)
	return result
}

// merge is JSON merge patch (RFC 7396) on decoded objects.
func merge(into, patch map[string]any) {
	for key, value := range patch {
		inner, isMap := value.(map[string]any)
		target, hasMap := into[key].(map[string]any)
		switch {
		case value == nil:
			delete(into, key)
		case isMap && hasMap:
			merge(target, inner)
		default:
			into[key] = value
		}
	}
}

// check compares an API server's answer with what is wanted: "" for acceptance, else a part of its message.
func check(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("refused: %v", err)
	case want != "" && err == nil:
		t.Errorf("accepted, want a message with %q", want)
	case want != "" && !strings.Contains(err.Error(), want):
		t.Errorf("the message does not contain %q: %v", want, err)
	}
}

// creation is one manifest, as a change to one that is accepted, and the API server's answer.
type creation struct {
	name, change string
	// refused is a part of the message; empty means that the manifest is accepted.
	refused string
}

// create tries every creation against the API server, which stores none of them.
func create(t *testing.T, base *unstructured.Unstructured, cases []creation) {
	t.Helper()
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			check(t, server.Create(context.Background(), changed(t, base, test.change), strict...), test.refused)
		})
	}
}

// strict refuses unknown fields, as kubectl does, and stores nothing.
var strict = []client.CreateOption{client.DryRunAll, client.FieldValidation("Strict")}
