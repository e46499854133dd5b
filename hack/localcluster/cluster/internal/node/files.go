package node

import (
	"bytes"
	"embed"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"text/template"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/keys"
	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/layout"
)

//go:embed config
var config embed.FS

// configFiles maps each embedded template to the file that it becomes in the cluster's conf folder.
var configFiles = map[string]string{
	"audit.yaml":      "audit.yaml",
	"containerd.toml": "containerd.toml",
	"kubelet.yaml":    "kubelet.yaml",
	"kube-proxy.yaml": "kube-proxy.yaml",
	"pods.conflist":   "cni/pods.conflist",
}

// render fills in one embedded configuration file.
func render(name string, l layout.Layout, s Settings) ([]byte, error) {
	parsed, err := template.ParseFS(config, "config/"+name)
	if err != nil {
		return nil, fmt.Errorf("configuration %s: %w", name, err)
	}
	var text bytes.Buffer
	err = parsed.Option("missingkey=error").Execute(&text, map[string]string{
		"Dir":           l.Dir,
		"Cgroup":        l.Cgroup(),
		"NodeAddress":   s.Address(),
		"PodCIDR":       podCIDR,
		"DNSService":    DNSService,
		"Domain":        ClusterDomain,
		"PauseImage":    PauseImage,
		"RuntimeSocket": RuntimeSocket,
		"Snapshotter":   s.Found.Snapshotter,
	})
	if err != nil {
		return nil, fmt.Errorf("configuration %s: %w", name, err)
	}
	return text.Bytes(), nil
}

// writeFiles writes the keys, the components' configuration and every kubeconfig.
func writeFiles(l layout.Layout, s Settings) error {
	names := []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + ClusterDomain, "localhost"}
	addresses := []net.IP{net.ParseIP(s.Address()), net.ParseIP(apiService), net.IPv4(127, 0, 0, 1)}
	tokens, err := keys.Ensure(l.Path("keys"), names, addresses, identities)
	if err != nil {
		return err
	}
	for name, file := range configFiles {
		content, err := render(name, l, s)
		if err != nil {
			return err
		}
		if err := writeFile(l.Path("conf", file), content, 0o644); err != nil {
			return err
		}
	}
	authority, err := os.ReadFile(l.Path("keys", keys.AuthorityCert))
	if err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}
	for name, token := range tokens {
		content, err := kubeconfig(s.Server(), authority, token)
		if err != nil {
			return err
		}
		file := l.Path("conf", name+".kubeconfig")
		if name == "admin" {
			file = l.Kubeconfig()
		}
		if err := writeFile(file, content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// kubeconfig is the text of a kubeconfig that authenticates by a token.
func kubeconfig(server string, authority []byte, token string) ([]byte, error) {
	const name = "spatialalign-local"
	content, err := clientcmd.Write(api.Config{
		Clusters:       map[string]*api.Cluster{name: {Server: server, CertificateAuthorityData: authority}},
		AuthInfos:      map[string]*api.AuthInfo{name: {Token: token}},
		Contexts:       map[string]*api.Context{name: {Cluster: name, AuthInfo: name}},
		CurrentContext: name,
	})
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	return content, nil
}

// Client returns a client of the cluster's API for its administrator.
func Client(l layout.Layout) (*kubernetes.Clientset, error) {
	config, err := clientcmd.BuildConfigFromFlags("", l.Kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	// The cluster is on this machine, whatever proxy the machine uses for others.
	config.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	return kubernetes.NewForConfig(config)
}

// writeFile replaces a file whole, with the folders above it.
func writeFile(file string, content []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("cluster folder: %w", err)
	}
	if err := os.WriteFile(file+".new", content, mode); err != nil {
		return fmt.Errorf("cluster folder: %w", err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fmt.Errorf("cluster folder: %w", err)
	}
	return nil
}
