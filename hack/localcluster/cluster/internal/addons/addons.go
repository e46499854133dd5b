// Package addons holds what the cluster runs in pods of its own: an image of a program built with the cluster's others, and
// the objects around it. The driver installs them; from then on the API and containerd keep them, as they would anything.
package addons

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"

	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/devices"
	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/image"
	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/node"
	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/parts"
)

//go:embed manifests
var manifests embed.FS

// Addon is one Deployment with all that belongs to it.
type Addon struct {
	// Name is that of its manifests, its program and its image.
	Name string
	// Programs is the set that its program is of.
	Programs parts.Set
	// Entrypoint is where its manifests expect the program.
	Entrypoint string
	// Chart is the Helm chart of its objects, of which manifests/<name>.yaml then has the values; nil: it has the objects.
	Chart *Source
	// Definitions is a file of CustomResourceDefinitions; nil: it has none, or its chart has them.
	Definitions *Source
	// Namespace and Deployment of its pods.
	Namespace, Deployment string
	// Probe is where its pods answer when they are ready.
	Probe Probe
	// Nodes is the label of nodes that it keeps ready; empty: none.
	Nodes string
	// Trial is a request that succeeds once it does its work; empty: its pods' word is enough.
	Trial Trial
}

// Source is a file or folder of a Go module that the addon's programs are pinned by.
type Source struct {
	Module, Path string
}

// Options are what may be asked of addons.
type Options struct {
	// ManageAllJobs makes Kueue queue Jobs that name no queue too: they wait for one to be named.
	ManageAllJobs bool
	// FakeNodes is how many nodes kwok keeps, with FakeGPUs each.
	FakeNodes, FakeGPUs int
}

// DNS resolves the names of Services and of the pods behind headless ones.
var DNS = Addon{
	Name: "coredns", Programs: parts.Cluster, Entrypoint: "/coredns",
	Namespace: "kube-system", Deployment: "coredns",
	Probe: Probe{Port: 8181, Path: "/ready"},
}

// Kueue admits Jobs by quota.
var Kueue = Addon{
	Name: "kueue", Programs: parts.Extras, Entrypoint: "/manager",
	Chart:     &Source{Module: "sigs.k8s.io/kueue", Path: "charts/kueue"},
	Namespace: "kueue-system", Deployment: "kueue-controller-manager",
	Probe: Probe{Port: 8081, Path: "/readyz"},
	// Its webhooks answer through their Service.
	Trial: Trial{
		Path: "/apis/kueue.x-k8s.io/v1beta2/resourceflavors",
		Body: `{"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "ResourceFlavor", "metadata": {"name": "trial"}}`,
	},
}

// Kwok keeps nodes that do not exist, and plays what runs on them.
var Kwok = Addon{
	Name: "kwok", Programs: parts.Extras, Entrypoint: "/kwok",
	Definitions: &Source{Module: "sigs.k8s.io/kwok", Path: "kustomize/crd/bases/kwok.x-k8s.io_stages.yaml"},
	Namespace:   "kwok-system", Deployment: "kwok",
	Probe: Probe{Port: 10247, Path: "/healthz"},
	Nodes: "type=kwok",
}

// Image is the addon's image. The programs' digest is its tag: other programs are another image, and so a new pod.
func (a Addon) Image(bin string) image.Spec {
	return image.Spec{
		Name:       a.repository() + ":" + filepath.Base(bin),
		Binary:     filepath.Join(bin, a.Name),
		Entrypoint: a.Entrypoint,
	}
}

func (a Addon) repository() string { return "spatialalign.local/" + a.Name }

// Manifests are the addon's objects, or its chart's values, as YAML. Their templates are in double square brackets, as some
// hold templates of their own.
func (a Addon) Manifests(bin string, o Options) ([]byte, error) {
	ended, err := manifests.ReadFile("manifests/kwok.ended.yaml")
	if err != nil {
		return nil, fmt.Errorf("manifests of %s: %w", a.Name, err)
	}
	source, err := manifests.ReadFile("manifests/" + a.Name + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("manifests of %s: %w", a.Name, err)
	}
	parsed, err := template.New(a.Name).Delims("[[", "]]").Funcs(template.FuncMap{"indent": indent}).Parse(string(source))
	if err != nil {
		return nil, fmt.Errorf("manifests of %s: %w", a.Name, err)
	}
	var text bytes.Buffer
	err = parsed.Option("missingkey=error").Execute(&text, map[string]any{
		"Image":         a.Image(bin).Name,
		"Repository":    a.repository(),
		"Tag":           filepath.Base(bin),
		"Domain":        node.ClusterDomain,
		"DNSService":    node.DNSService,
		"ManageAllJobs": o.ManageAllJobs,
		"Nodes":         o.FakeNodes,
		"GPU":           devices.Resource,
		"GPUs":          o.FakeGPUs,
		"Ended":         string(ended),
		// Pods start anew with another ConfigMap.
		"Digest": fmt.Sprintf("%.8x", sha256.Sum256(source)),
	})
	if err != nil {
		return nil, fmt.Errorf("manifests of %s: %w", a.Name, err)
	}
	return text.Bytes(), nil
}

func indent(spaces int, text string) string {
	margin := strings.Repeat(" ", spaces)
	return margin + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n"+margin)
}

var definition = regexp.MustCompile(`(?m)^kind: (Namespace|CustomResourceDefinition)$`)

// Split parts YAML documents into those that others are of, or in, and those others.
func Split(objects []byte) (first, then []byte) {
	for _, document := range strings.Split("\n"+string(objects), "\n---") {
		to := &then
		if definition.MatchString(document) {
			to = &first
		}
		*to = append(*to, "---"+document+"\n"...)
	}
	return first, then
}
