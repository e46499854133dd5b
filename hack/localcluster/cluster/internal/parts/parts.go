// Package parts builds the programs of the local cluster from the pinned Go modules beside the driver, once per
// version and machine: binaries are cached outside of the checkout, under the digest of what they were built from.
package parts

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sort"
)

// program is one binary: its file name and the package it is built from.
type program struct {
	name, pkg string
}

// module is one nested Go module with the programs built from it.
type module struct {
	dir      string
	programs []program
	// versioned is the module whose version is stamped into the binaries by Kubernetes' own variables; empty: none.
	versioned string
}

var modules = []module{
	{dir: "pause", programs: []program{{"pause", "."}}},
	{dir: "etcd", programs: []program{{"etcd", "go.etcd.io/etcd/server/v3"}}},
	{dir: "kubernetes", versioned: "k8s.io/kubernetes", programs: []program{
		{"kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"},
		{"kubectl", "k8s.io/kubernetes/cmd/kubectl"},
		{"kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"},
		{"kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"},
		{"kubelet", "k8s.io/kubernetes/cmd/kubelet"},
		{"kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"},
	}},
	{dir: "containerd", programs: []program{
		{"containerd", "github.com/containerd/containerd/v2/cmd/containerd"},
		{"containerd-shim-runc-v2", "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"},
		{"ctr", "github.com/containerd/containerd/v2/cmd/ctr"},
	}},
	{dir: "helm", programs: []program{{"helm", "helm.sh/helm/v4/cmd/helm"}}},
}

// EnvtestAssets are the programs that controller-runtime's envtest looks for in KUBEBUILDER_ASSETS.
var EnvtestAssets = []string{"etcd", "kube-apiserver", "kubectl"}

// All returns the names of every program.
func All() []string {
	var names []string
	for _, m := range modules {
		for _, p := range m.programs {
			names = append(names, p.name)
		}
	}
	return names
}

// Dir returns the folder in which the binaries of the sources in the checkout are cached.
func Dir(checkout string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no place to keep binaries: %w", err)
	}
	digest, err := sourceDigest(filepath.Join(checkout, "hack/localcluster"))
	if err != nil {
		return "", err
	}
	return filepath.Join(cache, "spatialalign", "bin", digest), nil
}

// sourceDigest identifies the binaries' inputs: pinned versions, our own sources, Go's version and the platform.
func sourceDigest(sources string) (string, error) {
	hash := sha256.New()
	fmt.Fprintln(hash, runtime.Version(), runtime.GOOS, runtime.GOARCH, modules, buildFlags)
	for _, m := range modules {
		files, err := filepath.Glob(filepath.Join(sources, m.dir, "*"))
		if err != nil {
			return "", fmt.Errorf("sources of %s: %w", m.dir, err)
		}
		sort.Strings(files)
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				return "", fmt.Errorf("sources of %s: %w", m.dir, err)
			}
			fmt.Fprintln(hash, filepath.Base(file), len(content))
			hash.Write(content)
		}
	}
	return hex.EncodeToString(hash.Sum(nil))[:16], nil
}
