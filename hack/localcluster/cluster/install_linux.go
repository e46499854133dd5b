package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"

	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/addons"
	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/layout"
	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/node"
)

// install hands an addon to the running cluster: its image, unless it is there, then its objects. It does not wait for its pod.
func install(ctx context.Context, l layout.Layout, a addons.Addon) error {
	s, err := running(l)
	if err != nil {
		return err
	}
	spec := a.Image(s.Bin)
	there, err := hasImage(ctx, l, s, spec.Name)
	if err != nil {
		return err
	}
	if !there {
		if err := loadImage(ctx, l, spec); err != nil {
			return err
		}
	}
	objects, err := a.Manifests(s.Bin)
	if err != nil {
		return err
	}
	return apply(ctx, l, s, objects)
}

func hasImage(ctx context.Context, l layout.Layout, s node.Settings, name string) (bool, error) {
	socket, err := runtimeSocket(l)
	if err != nil {
		return false, err
	}
	ctr := exec.CommandContext(ctx, filepath.Join(s.Bin, "ctr"), "--address", socket, "--namespace", "k8s.io", "images", "list", "--quiet", "name=="+name)
	// It also has warnings to print.
	var complaints bytes.Buffer
	ctr.Stderr = &complaints
	output, err := ctr.Output()
	if err != nil {
		return false, fmt.Errorf("image %s: %w\n%s", name, err, &complaints)
	}
	return string(bytes.TrimSpace(output)) == name, nil
}

// apply creates objects, or makes those that are there what they should be.
func apply(ctx context.Context, l layout.Layout, s node.Settings, objects []byte) error {
	kubectl := exec.CommandContext(ctx, filepath.Join(s.Bin, "kubectl"), "apply", "--server-side", "--force-conflicts", "--filename=-")
	kubectl.Env = clientEnvironment(l, s)
	kubectl.Stdin = bytes.NewReader(objects)
	if output, err := kubectl.CombinedOutput(); err != nil {
		return fmt.Errorf("objects of the cluster: %w\n%s", err, output)
	}
	return nil
}
