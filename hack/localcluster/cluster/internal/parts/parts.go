// Package parts builds the programs of the local cluster from the versions that the driver's own module pins, once per
// version and machine: binaries are cached outside of the checkout, under the digest of what they were built from.
package parts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Set is a Go module and the programs that are built from it. Each set is cached by itself.
type Set struct {
	// folder is the module's, below a checkout's root.
	folder string
	// stamped is the module whose version programs report as that of Kubernetes; empty: they report none.
	stamped string
	// tags leave out what programs do not need here; empty: all is needed.
	tags     string
	programs []program
}

// program is one binary: its file name in the cache and the package it is built from.
type program struct {
	name, pkg string
}

// Cluster is what a cluster is made of. Its programs are listed with the slowest to link first: its linker then runs beside
// the compilers of the others.
var Cluster = Set{"hack/localcluster", "k8s.io/kubernetes", "", []program{
	{"kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"},
	{"kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"},
	{"kubelet", "k8s.io/kubernetes/cmd/kubelet"},
	{"kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"},
	{"kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"},
	{"helm", "helm.sh/helm/v4/cmd/helm"},
	{"kubectl", "k8s.io/kubernetes/cmd/kubectl"},
	{"containerd", "github.com/containerd/containerd/v2/cmd/containerd"},
	{"ctr", "github.com/containerd/containerd/v2/cmd/ctr"},
	{"etcd", "go.etcd.io/etcd/server/v3"},
	{"containerd-shim-runc-v2", "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"},
	{"coredns", "./coredns"},
	{"pause", "./pause"},
}}

// Extras are what only some tests need: built when they are asked for.
var Extras = Set{"hack/localcluster/extras", "", "", []program{
	{"kueue", "sigs.k8s.io/kueue/cmd/kueue"},
	{"kwok", "sigs.k8s.io/kwok/cmd/kwok"},
}}

// Prometheus scrapes what its configuration lists: finding it at a dozen clouds is left out.
var Prometheus = Set{"hack/localcluster/prometheus", "", "remove_all_sd", []program{
	{"prometheus", "github.com/prometheus/prometheus/cmd/prometheus"},
}}

// EnvtestAssets are the programs that controller-runtime's envtest looks for in KUBEBUILDER_ASSETS.
var EnvtestAssets = []string{"etcd", "kube-apiserver", "kubectl"}

// Names are those of every program of the set.
func (s Set) Names() []string {
	var names []string
	for _, p := range s.programs {
		names = append(names, p.name)
	}
	return names
}

// Dir returns the folder in which the binaries of the sources in the checkout are cached.
func (s Set) Dir(checkout string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no place to keep binaries: %w", err)
	}
	digest, err := s.sourceDigest(filepath.Join(checkout, s.folder))
	if err != nil {
		return "", err
	}
	return filepath.Join(cache, "spatialalign", "bin", digest), nil
}

// Source returns where the module cache has a file or folder of a module that the set pins.
func (s Set) Source(ctx context.Context, checkout, module, path string) (string, error) {
	list := goCommand(ctx, filepath.Join(checkout, s.folder), "mod", "download", "-json", module)
	list.Stderr = os.Stderr
	output, err := list.Output()
	if err != nil {
		return "", fmt.Errorf("module %s: %w", module, err)
	}
	var found struct{ Dir string }
	if err := json.Unmarshal(output, &found); err != nil {
		return "", fmt.Errorf("module %s: %w", module, err)
	}
	return filepath.Join(found.Dir, path), nil
}

// sourceDigest identifies the binaries' inputs: pinned versions, our own sources, Go's version and the platform.
func (s Set) sourceDigest(module string) (string, error) {
	hash := sha256.New()
	fmt.Fprintln(hash, runtime.Version(), runtime.GOOS, runtime.GOARCH, s.programs, s.buildFlags())
	var ours []string
	for _, p := range s.programs {
		if !strings.HasPrefix(p.pkg, "./") {
			continue
		}
		files, err := filepath.Glob(filepath.Join(module, p.pkg, "*"))
		if err != nil {
			return "", fmt.Errorf("sources of the cluster's programs: %w", err)
		}
		ours = append(ours, files...)
	}
	for _, file := range append(ours, filepath.Join(module, "go.mod"), filepath.Join(module, "go.sum")) {
		content, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("sources of the cluster's programs: %w", err)
		}
		fmt.Fprintln(hash, filepath.Base(file), len(content))
		hash.Write(content)
	}
	return hex.EncodeToString(hash.Sum(nil))[:16], nil
}
