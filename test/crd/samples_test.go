package crd

import (
	"context"
	"path/filepath"
	"testing"
)

func TestEverySampleIsAccepted(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "config/samples/*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no samples: %v", err)
	}
	for _, file := range append(files, filepath.Join(root, "config/runtimes/synthetic.yaml")) {
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
