package monitoring

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/controllers"
	"github.com/spatialalign/operator/internal/contract"
)

const namespace = "team-a"

// cluster is an API server without controllers: the test plays the Job controller and the kubelet.
type cluster struct {
	client.Client
	environment *envtest.Environment
	folder      string
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	e := &envtest.Environment{CRDDirectoryPaths: []string{"../../config/crd/bases"}, ErrorIfCRDPathMissing: true}
	config, err := e.Start()
	if err != nil {
		t.Fatalf("the API server did not start (make test-monitoring builds it and sets KUBEBUILDER_ASSETS): %v", err)
	}
	t.Cleanup(func() { _ = e.Stop() })
	admin, err := client.New(config, client.Options{Scheme: controllers.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return &cluster{admin, e, t.TempDir()}
}

// operate starts the operator, built from this checkout, and returns the address of its metrics.
func (c *cluster) operate(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(c.folder, "spatialalign")
	if out, err := exec.Command("go", "build", "-o", binary, "../..").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	user, err := c.environment.AddUser(envtest.User{Name: "operator", Groups: []string{"system:masters"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := user.KubeConfig()
	if err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	c.start(t, []string{"KUBECONFIG=" + c.write(t, "kubeconfig", kubeconfig)}, binary, "manager", "--stage-image=operator:1",
		"--metrics-bind-address="+address, "--health-probe-bind-address=0", "--progress-interval=1s")
	eventually(t, "the operator serves its metrics", func() bool { return status(t, address) != 0 })
	return address
}

// scrape starts a Prometheus with the rights and the settings that the page of the metrics gives it.
func (c *cluster) scrape(t *testing.T, program, operator string) prometheus {
	t.Helper()
	var role rbacv1.ClusterRole
	text, err := os.ReadFile("../../config/rbac/metrics-reader.yaml")
	must(t, err)
	must(t, yaml.UnmarshalStrict(text, &role))
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "prometheus", Namespace: namespace}}
	c.create(t, &role, account, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "prometheus"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: account.Name}},
	})
	token := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To(int64(3600))}}
	must(t, c.SubResource("token").Create(t.Context(), account, token))

	config := fmt.Sprintf(`
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%s]
scrape_configs:
- job_name: spatialalign-metrics
  scheme: https
  honor_labels: true
  authorization: {credentials_file: %s}
  tls_config: {insecure_skip_verify: true}
  static_configs: [{targets: [%q], labels: {namespace: spatialalign-system}}]
`, c.write(t, "rules.yaml", alerts(t)), c.write(t, "token", []byte(token.Status.Token)), operator)
	address := freeAddress(t)
	c.start(t, nil, program, "--config.file="+c.write(t, "prometheus.yaml", []byte(config)),
		"--storage.tsdb.path="+filepath.Join(c.folder, "tsdb"), "--web.listen-address="+address)
	eventually(t, "Prometheus is ready", func() bool {
		res, err := http.Get("http://" + address + "/-/ready")
		if err == nil {
			_ = res.Body.Close()
		}
		return err == nil && res.StatusCode == http.StatusOK
	})
	return prometheus(address)
}

// populate makes a batch with a pod that holds two GPUs, one that ended well and one that was evicted, a batch that waits, one whose tracking fails
// by a fault of its GPU, a run that ends with a bad spec, and one of a runtime that does not exist.
func (c *cluster) populate(t *testing.T) {
	t.Helper()
	digest := v1alpha1.Digest(contract.Digest([]byte("weights")))
	stage := v1alpha1.StageTemplate{
		Image: "runtime:1", Command: []string{"/runtime"}, Shards: 1,
		Resources: &corev1.ResourceRequirements{Limits: corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("2")}},
	}
	c.create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, &v1alpha1.AlignmentRuntime{
		ObjectMeta: metav1.ObjectMeta{Name: "tracker"},
		Spec: v1alpha1.AlignmentRuntimeSpec{
			AllowedNamespaces: []string{namespace},
			Model:             v1alpha1.ModelSpec{Name: "m", Digest: digest, NumericsRevision: "1"},
			Detector:          v1alpha1.DetectorSpec{Name: "d", Digest: digest, Revision: "1"},
			Store:             v1alpha1.StoreSpec{PVC: &v1alpha1.PVCStore{ClaimName: "store"}},
			Sample:            stage, Track: stage, Train: stage,
			Defaults: v1alpha1.RuntimeDefaults{
				Sampling:   v1alpha1.SamplingDefaults{SamplesPerPrompt: 5, SamplingParameters: v1alpha1.SamplingParameters{Steps: 12}},
				Training:   v1alpha1.TrainingDefaults{Steps: 120, PairsPerStep: 64, LearningRate: "0.001", LoRA: v1alpha1.LoRASpec{Rank: 8, Alpha: 8}},
				Evaluation: v1alpha1.EvaluationDefaults{SamplesPerPrompt: 20},
			},
		},
	}, batch("holds"), batch("waits"), batch("fails"), run("bad", "tracker"), run("typo", "no-such-runtime"))

	now := metav1.Now()
	scheduled := corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(now.Add(-time.Hour))}
	evicted := corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, LastTransitionTime: now}
	c.startPod(t, c.job(t, "holds"), corev1.PodStatus{
		Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{scheduled},
		ContainerStatuses: []corev1.ContainerStatus{{Name: "stage", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}}},
	})
	c.startPod(t, c.job(t, "holds"), corev1.PodStatus{Phase: corev1.PodFailed, Conditions: []corev1.PodCondition{scheduled, evicted}})
	c.startPod(t, c.job(t, "holds"), corev1.PodStatus{
		Phase: corev1.PodSucceeded, Conditions: []corev1.PodCondition{scheduled},
		ContainerStatuses: []corev1.ContainerStatus{{Name: "stage", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{FinishedAt: now}}}},
	})
	c.job(t, "waits")
	for name, code := range map[string]contract.ExitCode{"fails": contract.ExitGPU, "bad": contract.ExitBadSpec} {
		job := c.job(t, name)
		c.startPod(t, job, corev1.PodStatus{Phase: corev1.PodFailed, ContainerStatuses: []corev1.ContainerStatus{{
			Name: "stage", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: int32(code), StartedAt: now, FinishedAt: now}},
		}}})
		c.fail(t, job)
	}
}

func batch(name string) *v1alpha1.ScoringBatch {
	return &v1alpha1.ScoringBatch{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec: v1alpha1.ScoringBatchSpec{
			RuntimeRef: v1alpha1.RuntimeReference{Name: "tracker"},
			Prompts:    v1alpha1.ArtifactReference{Key: "prompts.jsonl"}, Index: v1alpha1.ArtifactReference{Key: "index.jsonl"},
		},
	}
}

func run(name, runtime string) *v1alpha1.AlignmentRun {
	generated := func(seed int64) v1alpha1.PromptSource {
		return v1alpha1.PromptSource{Generate: &v1alpha1.GeneratedPrompts{Count: 30, Seed: &seed}}
	}
	return &v1alpha1.AlignmentRun{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec: v1alpha1.AlignmentRunSpec{
			RuntimeRef: v1alpha1.RuntimeReference{Name: runtime}, Iterations: 1,
			Prompts: v1alpha1.PromptsSpec{Train: generated(1), Evaluation: generated(2)},
		},
	}
}

// job waits for the first Job of an object of this name.
func (c *cluster) job(t *testing.T, owner string) *batchv1.Job {
	t.Helper()
	var found *batchv1.Job
	eventually(t, "a Job of "+owner, func() bool {
		var list batchv1.JobList
		must(t, c.List(t.Context(), &list, client.InNamespace(namespace)))
		for i := range list.Items {
			if by := metav1.GetControllerOf(&list.Items[i]); by != nil && by.Name == owner && list.Items[i].Labels[v1alpha1.LabelAttempt] == "0" {
				found = &list.Items[i]
			}
		}
		return found != nil
	})
	return found
}

func (c *cluster) startPod(t *testing.T, job *batchv1.Job, status corev1.PodStatus) {
	t.Helper()
	template := job.Spec.Template.DeepCopy()
	template.Annotations[batchv1.JobCompletionIndexAnnotation] = strconv.Itoa(0)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, GenerateName: job.Name + "-0-", Labels: template.Labels, Annotations: template.Annotations,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(job, batchv1.SchemeGroupVersion.WithKind("Job"))},
		},
		Spec: template.Spec,
	}
	c.create(t, pod)
	pod.Status = status
	must(t, c.Status().Update(t.Context(), pod))
}

// fail ends a Job as failed.
func (c *cluster) fail(t *testing.T, job *batchv1.Job) {
	t.Helper()
	now := metav1.Now()
	job.Status.StartTime, job.Status.Failed = &now, 1
	for _, kind := range []batchv1.JobConditionType{batchv1.JobFailureTarget, batchv1.JobFailed} {
		job.Status.Conditions = append(job.Status.Conditions, batchv1.JobCondition{
			Type: kind, Status: corev1.ConditionTrue, Reason: "FailedIndexes", Message: "Job has failed indexes", LastProbeTime: now, LastTransitionTime: now,
		})
	}
	must(t, c.Status().Update(t.Context(), job))
}

func (c *cluster) create(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		must(t, c.Create(t.Context(), o))
	}
}

func (c *cluster) write(t *testing.T, name string, content []byte) string {
	t.Helper()
	file := filepath.Join(c.folder, name)
	must(t, os.WriteFile(file, content, 0o600))
	return file
}

// start starts a program that ends with the test; its log is shown where the test fails.
func (c *cluster) start(t *testing.T, env []string, program string, args ...string) {
	t.Helper()
	log, err := os.Create(filepath.Join(c.folder, filepath.Base(program)+".log"))
	must(t, err)
	cmd := exec.Command(program, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), env...), log, log
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("%s:\n%s", log.Name(), text[max(len(text)-4000, 0):])
		}
	})
}

// status of an answer to somebody unknown; 0 while nobody answers.
func status(t *testing.T, address string) int {
	t.Helper()
	anyone := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	res, err := anyone.Get("https://" + address + "/metrics")
	if err != nil {
		return 0
	}
	_ = res.Body.Close()
	return res.StatusCode
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, patience, true, func(context.Context) (bool, error) { return so(), nil })
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
