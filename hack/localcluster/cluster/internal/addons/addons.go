// Package addons holds what the cluster runs in pods of its own: an image of a program built with the cluster's others, and
// the objects around it. The driver installs them; from then on the API and containerd keep them, as they would anything.
package addons

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"text/template"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/image"
	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/node"
)

//go:embed manifests
var manifests embed.FS

// Addon is one Deployment with all that belongs to it.
type Addon struct {
	// Name is that of its manifests, its program, its image and its Deployment.
	Name      string
	Namespace string
	// Probe is where its pod answers when it is ready.
	Probe Probe
}

// Probe is an HTTP readiness check.
type Probe struct {
	Port int
	Path string
}

// DNS resolves the names of Services and of the pods behind headless ones.
var DNS = Addon{Name: "coredns", Namespace: "kube-system", Probe: Probe{Port: 8181, Path: "/ready"}}

// Image is the addon's image. The programs' digest is its tag: other programs are another image, and so a new pod.
func (a Addon) Image(bin string) image.Spec {
	return image.Spec{
		Name:       fmt.Sprintf("spatialalign.local/%s:%s", a.Name, filepath.Base(bin)),
		Binary:     filepath.Join(bin, a.Name),
		Entrypoint: "/" + a.Name,
	}
}

// Manifests are the addon's objects, as YAML.
func (a Addon) Manifests(bin string) ([]byte, error) {
	parsed, err := template.ParseFS(manifests, "manifests/"+a.Name+".yaml")
	if err != nil {
		return nil, fmt.Errorf("manifests of %s: %w", a.Name, err)
	}
	var text bytes.Buffer
	err = parsed.Option("missingkey=error").Execute(&text, map[string]string{
		"Image":      a.Image(bin).Name,
		"Domain":     node.ClusterDomain,
		"DNSService": node.DNSService,
	})
	if err != nil {
		return nil, fmt.Errorf("manifests of %s: %w", a.Name, err)
	}
	return text.Bytes(), nil
}

// Ready reports whether the addon does its work: its Deployment is rolled out, and its pods answer now. What the API says
// alone would not do: after a restart of the cluster it still tells of pods that were.
func (a Addon) Ready(ctx context.Context, client kubernetes.Interface) error {
	deployment, err := client.AppsV1().Deployments(a.Namespace).Get(ctx, a.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if !rolledOut(deployment) {
		return fmt.Errorf("deployment %s is not rolled out", a.Name)
	}
	selector, err := metav1.LabelSelectorAsSelector(deployment.Spec.Selector)
	if err != nil {
		return err
	}
	pods, err := client.CoreV1().Pods(a.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return err
	}
	if len(pods.Items) == 0 {
		return fmt.Errorf("deployment %s has no pod", a.Name)
	}
	var silent []error
	for _, pod := range pods.Items {
		port := strconv.Itoa(a.Probe.Port)
		_, err := client.CoreV1().Pods(a.Namespace).ProxyGet("http", pod.Name, port, a.Probe.Path, nil).DoRaw(ctx)
		silent = append(silent, err)
	}
	return errors.Join(silent...)
}

func rolledOut(d *appsv1.Deployment) bool {
	want := *d.Spec.Replicas
	return d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedReplicas == want &&
		d.Status.AvailableReplicas == want && d.Status.Replicas == want
}
