//go:build quota

// Package quota plays docs/admin.md on the local cluster, with a real Kueue, real pods and fake GPUs. Each scenario is a script: the
// commands and manifests of the guide, changed only where this cluster has other nodes, runtimes and sizes. TestGuide gives its commands as
// they are written.
package quota

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/yaml"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/controllers"
)

// root of the repository, where the guide's commands are given.
const root = "../.."

// cluster is the cluster that KUBECONFIG names, in the hands of its administrator.
type cluster struct {
	*testing.T
	client.Client
}

func connect(t *testing.T) cluster {
	t.Helper()
	kube, err := config.GetConfig()
	if err != nil {
		t.Fatalf("KUBECONFIG must name a local cluster with Kueue and the operator: run this through make test-quota (%v)", err)
	}
	c, err := client.New(kube, client.Options{Scheme: controllers.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return cluster{t, c}
}

// kubectl gives a command, which must go well, and returns what it prints.
func (c cluster) kubectl(command string, args ...any) string {
	c.Helper()
	out, err := c.try(command, args...)
	if err != nil {
		c.Fatal(err)
	}
	return out
}

// try gives a command, and returns what it prints and how it fails. Words are separated by spaces alone.
func (c cluster) try(command string, args ...any) (string, error) {
	c.Helper()
	command = fmt.Sprintf(command, args...)
	return c.feed("", strings.Fields(command)...)
}

// feed gives kubectl something to read.
func (c cluster) feed(input string, words ...string) (string, error) {
	c.Helper()
	c.Logf("$ kubectl %s", strings.Join(words, " "))
	var out, said bytes.Buffer
	// Not the test's own context: what cleans up comes after its end.
	cmd := exec.CommandContext(context.WithoutCancel(c.Context()), "kubectl", words...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = root, strings.NewReader(input), &out, &said
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w\n%s%s", strings.Join(words, " "), err, out.String(), said.String())
	}
	return out.String(), nil
}

// apply gives manifests to the cluster.
func (c cluster) apply(manifest string) {
	c.Helper()
	if _, err := c.feed(manifest, "apply", "-f", "-"); err != nil {
		c.Fatal(err)
	}
}

// namespace makes a namespace ready by the documented manifest, with so many GPUs in its ResourceQuota; none means no quota,
// as the guide wants it where Kueue counts. All of it goes when the test ends, which waits for that: the GPUs are the next one's.
func (c cluster) namespace(name string, gpus string) {
	c.Helper()
	ready := strings.NewReplacer("namespace: alignment", "namespace: "+name, "name: alignment\n", "name: "+name+"\n",
		`requests.nvidia.com/gpu: "4"`, fmt.Sprintf("requests.nvidia.com/gpu: %q", gpus)).Replace(c.file("config/samples/namespace-ready.yaml"))
	var kept []string
	for object := range strings.SplitSeq(ready, "\n---\n") {
		if gpus != "" || !strings.Contains(object, "kind: ResourceQuota") {
			kept = append(kept, object)
		}
	}
	c.Cleanup(func() { c.kubectl("delete namespace %s --ignore-not-found --timeout=120s", name) })
	c.apply(strings.Join(kept, "\n---\n"))
}

// runtime makes the runtime synthetic anew under another name, with a GPU for each pod and a pause after each step of a training.
func (c cluster) runtime(name string, pause time.Duration) {
	c.Helper()
	var synthetic v1alpha1.AlignmentRuntime
	if err := c.Get(c.Context(), client.ObjectKey{Name: "synthetic"}, &synthetic); err != nil {
		c.Fatal(err)
	}
	c.create(withGPUs(name, synthetic.Spec, pause))
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

// sample reads the AlignmentRun of a sample manifest.
func (c cluster) sample(path string) *v1alpha1.AlignmentRun {
	c.Helper()
	var run v1alpha1.AlignmentRun
	if err := yaml.UnmarshalStrict([]byte(c.file(path)), &run); err != nil {
		c.Fatal(err)
	}
	return &run
}

// start creates a run.
func (c cluster) start(run *v1alpha1.AlignmentRun) {
	c.Helper()
	c.Logf("start run %s in namespace %s", run.Name, run.Namespace)
	if err := c.Create(c.Context(), run); err != nil {
		c.Fatal(err)
	}
}

func (c cluster) file(path string) string {
	c.Helper()
	data, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		c.Fatal(err)
	}
	return string(data)
}

// refresh reads an object again.
func (c cluster) refresh(o client.Object) {
	c.Helper()
	if err := c.Get(c.Context(), client.ObjectKeyFromObject(o), o); err != nil {
		c.Fatal(err)
	}
}

// jobs of a run's stage, every attempt.
func (c cluster) jobs(run *v1alpha1.AlignmentRun, stage v1alpha1.StageName) []batchv1.Job {
	c.Helper()
	var list batchv1.JobList
	err := c.List(c.Context(), &list, client.InNamespace(run.Namespace), client.MatchingLabels{
		v1alpha1.LabelRun: run.Name, v1alpha1.LabelStage: string(stage),
	})
	if err != nil {
		c.Fatal(err)
	}
	return list.Items
}

// within waits until something is so, which must take no longer than a limit, and returns how long it took.
func (c cluster) within(limit time.Duration, what string, so func() bool) time.Duration {
	c.Helper()
	began := time.Now()
	err := wait.PollUntilContextTimeout(c.Context(), 200*time.Millisecond, limit, true, func(context.Context) (bool, error) { return so(), nil })
	took := time.Since(began)
	if err != nil {
		c.Fatalf("%s: not within %s\n%s", what, limit, c.describe())
	}
	c.Logf("%s: after %.1f s", what, took.Seconds())
	return took
}

// says waits until a condition of a run has a status and a reason, and returns how long that took.
func (c cluster) says(limit time.Duration, run *v1alpha1.AlignmentRun, kind string, status metav1.ConditionStatus, reason string) time.Duration {
	c.Helper()
	return c.within(limit, fmt.Sprintf("run %s says %s=%s, %s", run.Name, kind, status, reason), func() bool {
		c.refresh(run)
		got := condition(run, kind)
		return got.Status == status && got.Reason == reason
	})
}

// succeeded waits until a run has ended, which must be well.
func (c cluster) succeeded(run *v1alpha1.AlignmentRun, limit time.Duration) {
	c.Helper()
	c.within(limit, "run "+run.Name+" ends", func() bool {
		c.refresh(run)
		return run.Status.Phase == v1alpha1.PhaseSucceeded || run.Status.Phase == v1alpha1.PhaseFailed
	})
	if run.Status.Phase != v1alpha1.PhaseSucceeded {
		failed := condition(run, v1alpha1.ConditionFailed)
		c.Fatalf("run %s of namespace %s ends %s, %s: %s", run.Name, run.Namespace, run.Status.Phase, failed.Reason, failed.Message)
	}
}

// describe shows what the cluster holds, for a failure's message.
func (c cluster) describe() string {
	out, err := c.try("get alignmentruns,workloads,jobs,pods -A -o wide")
	if err != nil {
		return err.Error()
	}
	runs, err := c.try("get alignmentruns -A -o yaml")
	if err != nil {
		return out + err.Error()
	}
	return out + runs
}

// tell adds a line to the log and to the report that hack/quota.sh prints.
func (c cluster) tell(format string, args ...any) {
	c.Helper()
	c.Logf(format, args...)
	path := os.Getenv("QUOTA_REPORT")
	if path == "" {
		return
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		c.Fatal(err)
	}
	defer file.Close()
	if _, err := fmt.Fprintf(file, c.Name()+": "+format+"\n", args...); err != nil {
		c.Fatal(err)
	}
}

func condition(run *v1alpha1.AlignmentRun, kind string) metav1.Condition {
	if c := meta.FindStatusCondition(run.Status.Conditions, kind); c != nil {
		return *c
	}
	return metav1.Condition{}
}
