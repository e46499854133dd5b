//go:build e2e

// Package e2e runs real AlignmentRuns on a real cluster into which the operator is installed (make deploy).
package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/config"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/controllers"
)

// cluster is the cluster that KUBECONFIG names.
type cluster struct {
	*testing.T
	client.Client
}

func connect(t *testing.T) cluster {
	t.Helper()
	kube, err := config.GetConfig()
	if err != nil {
		t.Fatalf("KUBECONFIG must name a cluster with the operator (make cluster-up deploy): %v", err)
	}
	c, err := client.New(kube, client.Options{Scheme: controllers.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return cluster{t, c}
}

// namespace makes a namespace ready by the documented manifest, under a name of its own.
func (c cluster) namespace(name string) string {
	c.Helper()
	data, err := os.ReadFile("../../config/samples/namespace-ready.yaml")
	if err != nil {
		c.Fatal(err)
	}
	c.apply(strings.NewReplacer("namespace: alignment", "namespace: "+name, "name: alignment\n", "name: "+name+"\n").Replace(string(data)), "")
	c.Cleanup(func() {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if err := client.IgnoreNotFound(c.Delete(context.Background(), ns)); err != nil {
			c.Errorf("delete namespace %s: %v", name, err)
		}
	})
	return name
}

// create makes an object for the time of the test.
func (c cluster) create(o client.Object) {
	c.Helper()
	if err := c.Create(c.Context(), o); err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() {
		if err := client.IgnoreNotFound(c.Delete(context.Background(), o)); err != nil {
			c.Errorf("delete %s: %v", o.GetName(), err)
		}
	})
}

// apply creates the objects of a YAML stream.
func (c cluster) apply(manifest, namespace string) {
	c.Helper()
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(manifest), 4096)
	for {
		var u unstructured.Unstructured
		if err := decoder.Decode(&u); err != nil {
			return
		}
		if namespace != "" {
			u.SetNamespace(namespace)
		}
		if err := c.Create(c.Context(), &u); err != nil && !apierrors.IsAlreadyExists(err) {
			c.Fatalf("create %s %s: %v", u.GetKind(), u.GetName(), err)
		}
	}
}

// file reads a sample manifest.
func (c cluster) file(path string) string {
	c.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		c.Fatal(err)
	}
	return string(data)
}

// run reads an AlignmentRun.
func (c cluster) run(namespace, name string) *v1alpha1.AlignmentRun {
	c.Helper()
	var run v1alpha1.AlignmentRun
	if err := c.Get(c.Context(), client.ObjectKey{Namespace: namespace, Name: name}, &run); err != nil {
		c.Fatal(err)
	}
	return &run
}

// ended waits until an AlignmentRun has ended and returns it.
func (c cluster) ended(namespace, name string, timeout time.Duration) *v1alpha1.AlignmentRun {
	c.Helper()
	var run *v1alpha1.AlignmentRun
	c.eventually(timeout, "run "+name+" ends", func() bool {
		run = c.run(namespace, name)
		return run.Status.Phase == v1alpha1.PhaseSucceeded || run.Status.Phase == v1alpha1.PhaseFailed
	})
	return run
}

// succeeded waits until an AlignmentRun has ended, which must be well, and returns it.
func (c cluster) succeeded(namespace, name string, timeout time.Duration) *v1alpha1.AlignmentRun {
	c.Helper()
	run := c.ended(namespace, name, timeout)
	if run.Status.Phase != v1alpha1.PhaseSucceeded {
		failed := condition(run, v1alpha1.ConditionFailed)
		c.Fatalf("run %s of namespace %s ends %s, %s: %s", name, namespace, run.Status.Phase, failed.Reason, failed.Message)
	}
	return run
}

// suspend suspends an AlignmentRun, or resumes it.
func (c cluster) suspend(namespace, name string, value bool) {
	c.Helper()
	patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"suspend":`+strconv.FormatBool(value)+`}}`))
	if err := c.Patch(c.Context(), c.run(namespace, name), patch); err != nil {
		c.Fatal(err)
	}
}

func (c cluster) eventually(timeout time.Duration, what string, ok func() bool) {
	c.Helper()
	err := wait.PollUntilContextTimeout(c.Context(), 300*time.Millisecond, timeout, true, func(context.Context) (bool, error) { return ok(), nil })
	if err != nil {
		c.Fatalf("%s: not within %s\n%s", what, timeout, c.describe())
	}
}

// describe shows what the cluster holds, for a failure's message.
func (c cluster) describe() string {
	out, err := exec.Command("kubectl", "get", "alignmentruns,scoringbatches,preferencedatasets,jobs,pods", "-A", "-o", "wide").CombinedOutput()
	return fmt.Sprintf("%s%v", out, err)
}

// plugin runs kubectl-align, which must go well, and returns what it prints.
func (c cluster) plugin(args ...string) string {
	c.Helper()
	out, err := c.tryPlugin(args...)
	if err != nil {
		c.Fatal(err)
	}
	return out
}

// tryPlugin runs kubectl-align, and returns what it prints and how it fails.
func (c cluster) tryPlugin(args ...string) (string, error) {
	c.Helper()
	var out, said bytes.Buffer
	cmd := exec.CommandContext(c.Context(), "../../bin/kubectl-align", args...)
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl align %s: %w\n%s%s", strings.Join(args, " "), err, out.String(), said.String())
	}
	return out.String(), nil
}

func condition(run *v1alpha1.AlignmentRun, kind string) metav1.Condition {
	if c := meta.FindStatusCondition(run.Status.Conditions, kind); c != nil {
		return *c
	}
	return metav1.Condition{}
}
