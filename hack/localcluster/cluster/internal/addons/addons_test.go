package addons

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestManifests(t *testing.T) {
	for _, a := range []Addon{DNS, Kueue, Kwok} {
		got, err := a.Manifests("/cache/bin/0123456789abcdef", Options{FakeNodes: 2, FakeGPUs: 4})
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", a.Name+".yaml.golden")
		if *update {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("%s differs from %s:\n%s", a.Name, golden, got)
		}
	}
}

func TestOtherProgramsAreAnotherImage(t *testing.T) {
	one, two := DNS.Image("/cache/bin/1111"), DNS.Image("/cache/bin/2222")
	if one.Name == two.Name {
		t.Errorf("both are %s", one.Name)
	}
	if one.Binary != "/cache/bin/1111/coredns" {
		t.Errorf("image of %s", one.Binary)
	}
}

// That pods answer is seen on a cluster only: a fake client has no proxy.
func TestAnAddonIsNotReadyBeforeItsPodsAre(t *testing.T) {
	for what, c := range map[string]struct {
		objects []runtime.Object
		want    string
	}{
		"nothing is there":              {nil, "not found"},
		"the Deployment is new":         {[]runtime.Object{deployment(2, appsv1.DeploymentStatus{ObservedGeneration: 1, Replicas: 1, UpdatedReplicas: 1, AvailableReplicas: 1})}, "not rolled out"},
		"the new pod is not available":  {[]runtime.Object{deployment(2, appsv1.DeploymentStatus{ObservedGeneration: 2, Replicas: 2, UpdatedReplicas: 1, AvailableReplicas: 1})}, "not rolled out"},
		"the API remembers, no pod is":  {[]runtime.Object{deployment(2, rolled)}, "no pod"},
		"pods of another Deployment do": {[]runtime.Object{deployment(2, rolled), pod("other")}, "no pod"},
	} {
		err := DNS.Ready(context.Background(), fake.NewClientset(c.objects...))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", what, err, c.want)
		}
	}
}

var rolled = appsv1.DeploymentStatus{ObservedGeneration: 2, Replicas: 1, UpdatedReplicas: 1, AvailableReplicas: 1}

func deployment(generation int64, status appsv1.DeploymentStatus) *appsv1.Deployment {
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "coredns", Namespace: "kube-system", Generation: generation},
		Spec:       appsv1.DeploymentSpec{Replicas: new(int32(1)), Selector: metav1.SetAsLabelSelector(map[string]string{"k8s-app": "kube-dns"})},
		Status:     status,
	}
}

func pod(app string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: app, Namespace: "kube-system", Labels: map[string]string{"k8s-app": app}}}
}

func TestWhatOthersNeedComesFirst(t *testing.T) {
	first, then := Split([]byte("# a note\nkind: Widget\n---\nkind: CustomResourceDefinition\nspec: {kind: x}\n---\napiVersion: v1\nkind: Namespace\n---\nkind: Deployment\n"))
	if want := "---\nkind: CustomResourceDefinition\nspec: {kind: x}\n---\napiVersion: v1\nkind: Namespace\n"; string(first) != want {
		t.Errorf("first %q, want %q", first, want)
	}
	if want := "---\n# a note\nkind: Widget\n---\nkind: Deployment\n\n"; string(then) != want {
		t.Errorf("then %q, want %q", then, want)
	}
}

func TestAnotherManifestIsAnotherPod(t *testing.T) {
	dns, err := DNS.Manifests("/cache/bin/1111", Options{})
	if err != nil {
		t.Fatal(err)
	}
	source, err := manifests.ReadFile("manifests/coredns.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if digest := fmt.Sprintf("%.8x", sha256.Sum256(source)); !strings.Contains(string(dns), "manifests: \""+digest+"\"") {
		t.Errorf("the pod template does not name %s", digest)
	}
}

func TestNodesThatAreKeptMustBeReady(t *testing.T) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "kwok-0", Labels: map[string]string{"type": "kwok"}}}
	for status, ready := range map[corev1.ConditionStatus]bool{corev1.ConditionTrue: true, corev1.ConditionFalse: false, corev1.ConditionUnknown: false} {
		node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: status}}
		if err := nodesReady(context.Background(), fake.NewClientset(node), Kwok.Nodes); (err == nil) != ready {
			t.Errorf("Ready=%s: %v", status, err)
		}
	}
}
