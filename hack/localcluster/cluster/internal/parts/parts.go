// Package parts builds the programs of the local cluster from the versions that the driver's own module pins, once per
// version and machine: binaries are cached outside of the checkout, under the digest of what they were built from.
package parts

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// moduleFolder holds, below a checkout's root, the Go module that pins every program and the driver itself.
const moduleFolder = "hack/localcluster"

// program is one binary: its file name in the cache and the package it is built from.
type program struct {
	name, pkg string
}

// programs are listed with the slowest to link first: its linker then runs beside the compilers of the others.
var programs = []program{
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
}

// EnvtestAssets are the programs that controller-runtime's envtest looks for in KUBEBUILDER_ASSETS.
var EnvtestAssets = []string{"etcd", "kube-apiserver", "kubectl"}

// All returns the names of every program.
func All() []string {
	var names []string
	for _, p := range programs {
		names = append(names, p.name)
	}
	return names
}

// Dir returns the folder in which the binaries of the sources in the checkout are cached.
func Dir(checkout string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no place to keep binaries: %w", err)
	}
	digest, err := sourceDigest(filepath.Join(checkout, moduleFolder))
	if err != nil {
		return "", err
	}
	return filepath.Join(cache, "spatialalign", "bin", digest), nil
}

// sourceDigest identifies the binaries' inputs: pinned versions, our own sources, Go's version and the platform.
func sourceDigest(module string) (string, error) {
	hash := sha256.New()
	fmt.Fprintln(hash, runtime.Version(), runtime.GOOS, runtime.GOARCH, programs, buildFlags)
	var ours []string
	for _, p := range programs {
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
