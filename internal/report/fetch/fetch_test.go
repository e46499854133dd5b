package fetch

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/yaml"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/report"
)

var update = flag.Bool("update", false, "write the golden files")

func newRun(store v1alpha1.StoreSpec) *v1alpha1.AlignmentRun {
	return &v1alpha1.AlignmentRun{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "first-run", UID: "run-uid"},
		Spec:       v1alpha1.AlignmentRunSpec{Evaluation: &v1alpha1.EvaluationSpec{HeadlineThreshold: "0.7"}},
		Status: v1alpha1.AlignmentRunStatus{
			Runtime: &v1alpha1.RuntimeSnapshot{Spec: v1alpha1.AlignmentRuntimeSpec{Store: store}},
			Iterations: []v1alpha1.IterationStatus{{
				Iteration:  new(int32(0)),
				Evaluation: &v1alpha1.ScoreSummary{Scores: &v1alpha1.ArtifactReference{Key: "runs/0/scores.jsonl", Digest: v1alpha1.Digest(contract.Digest(nil))}},
			}},
		},
	}
}

var pvc = v1alpha1.StoreSpec{PVC: &v1alpha1.PVCStore{ClaimName: "store"}}

func TestPod(t *testing.T) {
	for name, store := range map[string]v1alpha1.StoreSpec{
		"pvc": pvc,
		"s3":  {S3: &v1alpha1.S3Store{Bucket: "align", Prefix: "runs", Endpoint: "https://s3.example:9000", Region: "eu-1", SecretName: "store-keys"}},
	} {
		t.Run(name, func(t *testing.T) {
			run := newRun(store)
			pod, err := newPod(run, Image{Name: "operator:dev", PullPolicy: corev1.PullIfNotPresent}, report.PlanOf(run))
			if err != nil {
				t.Fatal(err)
			}
			got, err := yaml.Marshal(pod)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", "pod-"+name+".yaml")
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("%s (-want +got; go test -update accepts it):\n%s", path, diff)
			}
		})
	}
}

func TestRunThatWasNotAccepted(t *testing.T) {
	if _, err := (&Fetcher{}).Fetch(t.Context(), &v1alpha1.AlignmentRun{}); err == nil || !strings.Contains(err.Error(), "not accepted yet") {
		t.Errorf("a run without a store: %v", err)
	}
}

// cluster is a fake API server with a kubelet of its own, which puts pods through the states listed.
// The fake server replays nothing to a watch, so the kubelet begins anew whenever one has started.
type cluster struct {
	client.WithWatch
	states   []corev1.PodStatus
	kubelet  sync.Mutex
	kubelets sync.WaitGroup
}

// IsWatchListSemanticsUnSupported makes reflectors list first: the fake client sends no initial events.
func (c *cluster) IsWatchListSemanticsUnSupported() bool { return true }

func newCluster(t *testing.T, states ...corev1.PodStatus) *cluster {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	inner := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&corev1.Pod{}).
		WithIndex(&corev1.Pod{}, "metadata.name", func(o client.Object) []string { return []string{o.GetName()} }).
		WithObjects(job("old", "operator:old", 1), job("new", "operator:new", 2)).Build()
	return &cluster{WithWatch: inner, states: states}
}

func (c *cluster) Watch(ctx context.Context, list client.ObjectList, opts ...client.ListOption) (apiwatch.Interface, error) {
	w, err := c.WithWatch.Watch(ctx, list, opts...)
	if err == nil {
		c.kubelets.Go(func() { c.runPods(context.WithoutCancel(ctx)) })
	}
	return w, err
}

func (c *cluster) runPods(ctx context.Context) {
	c.kubelet.Lock()
	defer c.kubelet.Unlock()
	for _, state := range c.states {
		var list corev1.PodList
		if err := c.List(ctx, &list); err != nil || len(list.Items) != 1 {
			return // the pod was removed
		}
		pod := &list.Items[0]
		pod.Status = state
		if err := c.Status().Update(ctx, pod); err != nil {
			return
		}
	}
}

func (c *cluster) pods(t *testing.T) []corev1.Pod {
	t.Helper()
	var list corev1.PodList
	if err := c.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	return list.Items
}

func job(name, image string, age int64) *batchv1.Job {
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "team-a", Name: name, CreationTimestamp: metav1.Unix(age, 0),
			Labels: map[string]string{v1alpha1.LabelRun: "first-run", v1alpha1.LabelStage: string(v1alpha1.StagePrepare)},
		},
		Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "stage", Image: image}},
		}}},
	}
}

func container(state corev1.ContainerState) []corev1.ContainerStatus {
	return []corev1.ContainerStatus{{Name: "stage", State: state}}
}

var (
	pulling = corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: container(corev1.ContainerState{
		Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no such image"},
	})}
	unready = corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: container(corev1.ContainerState{Running: &corev1.ContainerStateRunning{}})}
	readyTo = corev1.PodStatus{
		Phase: corev1.PodRunning, ContainerStatuses: unready.ContainerStatuses,
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
	}
	refused = corev1.PodStatus{Phase: corev1.PodFailed, ContainerStatuses: container(corev1.ContainerState{
		Terminated: &corev1.ContainerStateTerminated{ExitCode: 69, Message: "open store: access denied\n"},
	})}
)

// server answers with a bundle, or with what a test gives instead.
func server(t *testing.T, digest string) func(context.Context, string, string, int) (string, func(), error) {
	t.Helper()
	var wire bytes.Buffer
	if err := (&report.Bundle{Findings: report.Findings{Problems: []string{"found"}}}).Write(&wire); err != nil {
		t.Fatal(err)
	}
	if digest == "" {
		digest = contract.Digest(wire.Bytes())
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(report.DigestHeader, digest)
		_, _ = w.Write(wire.Bytes())
	}))
	t.Cleanup(web.Close)
	return func(_ context.Context, _, _ string, port int) (string, func(), error) {
		if port != contract.ProgressPort {
			t.Errorf("port %d", port)
		}
		return strings.TrimPrefix(web.URL, "http://"), func() {}, nil
	}
}

func TestFetch(t *testing.T) {
	for _, tc := range []struct {
		name   string
		states []corev1.PodStatus
		digest string
		want   string // of the error; empty for none
	}{
		{"a bundle", []corev1.PodStatus{pulling, unready, readyTo}, "", ""},
		{"a store that refuses", []corev1.PodStatus{unready, refused}, "", "the store could not be read: exit code 69: open store: access denied"},
		{"damage on the way", []corev1.PodStatus{readyTo}, "sha256:other", "sha256:other was sent"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newCluster(t, tc.states...)
			f := &Fetcher{Client: c, Forward: server(t, tc.digest), StartTimeout: time.Minute, Say: t.Logf}
			bundle, err := f.Fetch(t.Context(), newRun(pvc))
			switch {
			case tc.want == "" && (err != nil || len(bundle.Findings.Problems) != 1):
				t.Errorf("got %+v, %v", bundle, err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
			c.kubelets.Wait()
			if left := c.pods(t); len(left) != 0 {
				t.Errorf("pod %s was left behind", left[0].Name)
			}
		})
	}
}

func TestPodThatDoesNotStart(t *testing.T) {
	c := newCluster(t, pulling)
	f := &Fetcher{Client: c, Forward: server(t, ""), StartTimeout: 300 * time.Millisecond, Say: t.Logf}
	_, err := f.Fetch(t.Context(), newRun(pvc))
	if err == nil || !strings.Contains(err.Error(), "did not start in 300ms: ImagePullBackOff: no such image") {
		t.Errorf("got %v", err)
	}
	if left := c.pods(t); len(left) != 0 {
		t.Errorf("pod %s was left behind", left[0].Name)
	}
}

func TestInterruptRemovesThePod(t *testing.T) {
	c := newCluster(t, unready)
	ctx, interrupt := context.WithCancel(t.Context())
	f := &Fetcher{Client: c, Forward: server(t, ""), StartTimeout: time.Minute, Say: func(string, ...any) { interrupt() }}
	if _, err := f.Fetch(ctx, newRun(pvc)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if left := c.pods(t); len(left) != 0 {
		t.Errorf("pod %s was left behind", left[0].Name)
	}
}

func TestDownloadIsTriedAgain(t *testing.T) {
	good, _, err := server(t, "")(t.Context(), "", "", contract.ProgressPort)
	if err != nil {
		t.Fatal(err)
	}
	tries := 0
	flaky := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if tries++; tries == 1 {
			panic(http.ErrAbortHandler) // cuts the connection
		}
		http.Redirect(w, r, "http://"+good+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	defer flaky.Close()
	f := &Fetcher{Client: newCluster(t, readyTo), StartTimeout: time.Minute, Say: t.Logf,
		Forward: func(context.Context, string, string, int) (string, func(), error) {
			return strings.TrimPrefix(flaky.URL, "http://"), func() {}, nil
		}}
	if _, err := f.Fetch(t.Context(), newRun(pvc)); err != nil || tries != 2 {
		t.Errorf("after %d tries: %v", tries, err)
	}
}

func TestForwardThatIsForbiddenIsNotTriedAgain(t *testing.T) {
	tries := 0
	c := newCluster(t, readyTo)
	f := &Fetcher{Client: c, StartTimeout: time.Minute, Say: t.Logf,
		Forward: func(context.Context, string, string, int) (string, func(), error) {
			tries++
			return "", nil, errors.New("forbidden")
		}}
	if _, err := f.Fetch(t.Context(), newRun(pvc)); err == nil || !strings.Contains(err.Error(), "forbidden") || tries != 1 {
		t.Errorf("after %d tries: %v", tries, err)
	}
	c.kubelets.Wait()
	if left := c.pods(t); len(left) != 0 {
		t.Errorf("pod %s was left behind", left[0].Name)
	}
}

func TestImage(t *testing.T) {
	f := &Fetcher{Client: newCluster(t)}
	if image, err := f.image(t.Context(), newRun(pvc)); err != nil || image.Name != "operator:new" {
		t.Errorf("the newest Job's image is operator:new, got %q, %v", image.Name, err)
	}
	other := newRun(pvc)
	other.Name = "other-run"
	if _, err := f.image(t.Context(), other); err == nil || !strings.Contains(err.Error(), "--image") {
		t.Errorf("a run without Jobs: %v", err)
	}
	f.Image = "mine:1"
	if image, err := f.image(t.Context(), other); err != nil || image.Name != "mine:1" {
		t.Errorf("got %q, %v", image.Name, err)
	}
}
