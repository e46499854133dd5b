package crd

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/spatialalign/operator/internal/prompts"
)

func TestEverySampleIsAccepted(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "config", "samples", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no samples: %v", err)
	}
	runtimes, err := filepath.Glob(filepath.Join(root, "config", "runtimes", "*.yaml"))
	if err != nil || len(runtimes) < 3 {
		t.Fatalf("runtimes %q: %v", runtimes, err)
	}
	for _, file := range append(files, runtimes...) {
		name, err := filepath.Rel(root, file)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(name) == "kustomization.yaml" {
			continue
		}
		for _, o := range documents(t, name) {
			t.Run(filepath.Base(name)+" "+o.GetKind(), func(t *testing.T) {
				check(t, server.Create(context.Background(), o, strict...), "")
			})
		}
	}
}

// Whatever values the chart is installed with, its runtimes are such as the API server takes.
func TestRuntimesOfTheChartAreAccepted(t *testing.T) {
	runtimes := 0
	for _, name := range []string{"default", "s3-gpu"} {
		for _, o := range documents(t, "test/chart/testdata/"+name+".yaml") {
			if o.GetKind() == "AlignmentRuntime" {
				runtimes++
				t.Run(name, func(t *testing.T) { check(t, answer(o), "") })
			}
		}
	}
	if runtimes != 2 {
		t.Errorf("%d runtimes are found, want 2", runtimes)
	}
}

func TestSamplePromptsAreReadAndDoNotOverlap(t *testing.T) {
	var config corev1.ConfigMap
	o := document(t, "config/samples/run-with-configmap.yaml", "ConfigMap")
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &config); err != nil {
		t.Fatal(err)
	}
	var sets []prompts.Named
	for name, text := range config.Data {
		lines, err := prompts.Read(strings.NewReader(text), name)
		if err != nil {
			t.Fatal(err)
		}
		sets = append(sets, prompts.Named{Name: name, Prompts: lines})
	}
	if err := prompts.CheckOverlap(sets...); err != nil {
		t.Error(err)
	}
}
