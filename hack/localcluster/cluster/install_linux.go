package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/addons"
	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/layout"
	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/node"
	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/parts"
)

// install hands an addon to the running cluster: its image, unless it is there, then its objects. It does not wait for its
// pod. The addon's program has been built.
func install(ctx context.Context, checkout string, l layout.Layout, a addons.Addon, o addons.Options) error {
	s, err := running(l)
	if err != nil {
		return err
	}
	bin, err := a.Programs.Dir(checkout)
	if err != nil {
		return err
	}
	spec := a.Image(bin)
	there, err := hasImage(ctx, l, s, spec.Name)
	if err != nil {
		return err
	}
	if !there {
		if err := loadImage(ctx, l, spec); err != nil {
			return err
		}
	}
	objects, err := a.Manifests(bin, o)
	if err != nil {
		return err
	}
	if a.Definitions != nil {
		file, err := a.Programs.Source(ctx, checkout, a.Definitions.Module, a.Definitions.Path)
		if err != nil {
			return err
		}
		definitions, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("definitions of %s: %w", a.Name, err)
		}
		objects = append(append(definitions, "\n---\n"...), objects...)
	}
	if a.Chart != nil {
		if objects, err = renderChart(ctx, checkout, s, a, objects); err != nil {
			return err
		}
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

// renderChart returns the objects of an addon's chart, and the namespace that it expects.
func renderChart(ctx context.Context, checkout string, s node.Settings, a addons.Addon, values []byte) ([]byte, error) {
	chart, err := a.Programs.Source(ctx, checkout, a.Chart.Module, a.Chart.Path)
	if err != nil {
		return nil, err
	}
	var complaints bytes.Buffer
	helm := exec.CommandContext(ctx, filepath.Join(s.Bin, "helm"), "template", a.Name, chart,
		"--namespace", a.Namespace, "--values", "-")
	helm.Stdin, helm.Stderr = bytes.NewReader(values), &complaints
	objects, err := helm.Output()
	if err != nil {
		return nil, fmt.Errorf("chart of %s: %w\n%s", a.Name, err, &complaints)
	}
	namespace := fmt.Sprintf("apiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n---\n", a.Namespace)
	return append([]byte(namespace), objects...), nil
}

// apply creates objects, or makes those that are there what they should be. Those that others need come first, and are
// waited for.
func apply(ctx context.Context, l layout.Layout, s node.Settings, objects []byte) error {
	first, then := addons.Split(objects)
	if len(first) > 0 {
		if err := kubectl(ctx, l, s, first, "apply", "--server-side", "--force-conflicts", "--filename=-"); err != nil {
			return err
		}
		if err := kubectl(ctx, l, s, nil, "wait", "crd", "--all", "--for=condition=Established", "--timeout=60s"); err != nil {
			return err
		}
	}
	return kubectl(ctx, l, s, then, "apply", "--server-side", "--force-conflicts", "--filename=-")
}

func kubectl(ctx context.Context, l layout.Layout, s node.Settings, input []byte, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(s.Bin, "kubectl"), args...)
	cmd.Env = clientEnvironment(l, s)
	cmd.Stdin = bytes.NewReader(input)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl %s: %w\n%s", args[0], err, output)
	}
	return nil
}

// buildAll builds what the cluster and the addons are made of, and returns the folder of the cluster's programs.
func buildAll(ctx context.Context, checkout string, wanted []addons.Addon) (string, error) {
	bin, err := parts.Cluster.Build(ctx, checkout, parts.Cluster.Names(), os.Stderr)
	if err != nil {
		return "", err
	}
	var failures []error
	for _, a := range wanted {
		_, err := a.Programs.Build(ctx, checkout, []string{a.Name}, os.Stderr)
		failures = append(failures, err)
	}
	return bin, errors.Join(failures...)
}
