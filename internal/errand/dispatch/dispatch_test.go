package dispatch

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

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
	"github.com/spatialalign/operator/internal/errand"
	"github.com/spatialalign/operator/internal/golden"
)

func newRun() *v1alpha1.AlignmentRun {
	return &v1alpha1.AlignmentRun{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "first-run", UID: "run-uid"}}
}

// errandOf the run, to its store.
func errandOf(store v1alpha1.StoreSpec) Errand {
	return Errand{
		Name: "report", Namespace: "team-a", Run: newRun(), Runtime: &v1alpha1.AlignmentRuntimeSpec{Store: store},
		Question: []byte("what is there?"),
	}
}

var pvc = v1alpha1.StoreSpec{PVC: &v1alpha1.PVCStore{ClaimName: "store"}}

func TestPod(t *testing.T) {
	s3 := v1alpha1.StoreSpec{S3: &v1alpha1.S3Store{Bucket: "align", Prefix: "runs", Endpoint: "https://s3.example:9000", Region: "eu-1", SecretName: "store-keys"}}
	ofNamespace := errandOf(pvc)
	ofNamespace.Name, ofNamespace.Run, ofNamespace.Writes = "gc", nil, true
	for name, e := range map[string]Errand{"pvc": errandOf(pvc), "s3": errandOf(s3), "namespace": ofNamespace} {
		t.Run(name, func(t *testing.T) {
			got, err := yaml.Marshal(newPod(&e, Image{Name: "operator:dev", PullPolicy: corev1.PullIfNotPresent}, 10*time.Minute))
			if err != nil {
				t.Fatal(err)
			}
			golden.Check(t, "pod-"+name+".yaml", string(got))
		})
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

// server answers "all is well", or refuses.
func server(t *testing.T, refusal string) http.Handler {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("PUT "+errand.QuestionPath, func(w http.ResponseWriter, r *http.Request) {
		if question, err := io.ReadAll(r.Body); err != nil || string(question) != "what is there?" {
			t.Errorf("question %q, %v", question, err)
		}
		w.WriteHeader(http.StatusAccepted)
	})
	mux.HandleFunc("GET "+errand.AnswerPath, func(w http.ResponseWriter, _ *http.Request) {
		if refusal != "" {
			http.Error(w, refusal, http.StatusUnprocessableEntity)
			return
		}
		var answer bytes.Buffer
		zip := gzip.NewWriter(&answer)
		_, err := zip.Write([]byte("all is well"))
		if err := errors.Join(err, zip.Close()); err != nil {
			t.Error(err)
		}
		w.Header().Set("Trailer", errand.DigestTrailer)
		_, _ = w.Write(answer.Bytes())
		w.Header().Set(errand.DigestTrailer, contract.Digest(answer.Bytes()))
	})
	return mux
}

// dispatcher forwards to a server.
func dispatcher(t *testing.T, c *cluster, handler http.Handler) *Dispatcher {
	t.Helper()
	web := httptest.NewServer(handler)
	t.Cleanup(web.Close)
	return &Dispatcher{
		Client: c, StartTimeout: time.Minute, Timeout: 10 * time.Minute, PollInterval: time.Millisecond, Say: t.Logf,
		Forward: func(_ context.Context, _, _ string, port int) (string, func(), error) {
			if port != contract.ProgressPort {
				t.Errorf("port %d", port)
			}
			return strings.TrimPrefix(web.URL, "http://"), func() {}, nil
		},
	}
}

func TestSend(t *testing.T) {
	for _, tc := range []struct {
		name    string
		states  []corev1.PodStatus
		refusal string
		want    string // of the error; empty for none
	}{
		{"an answer", []corev1.PodStatus{pulling, unready, readyTo}, "", ""},
		{"a pod that fails", []corev1.PodStatus{unready, refused}, "", "the store could not be read: exit code 69: open store: access denied"},
		{"work that fails", []corev1.PodStatus{readyTo}, "read runs/x: access denied", "read runs/x: access denied"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newCluster(t, tc.states...)
			answer, err := dispatcher(t, c, server(t, tc.refusal)).Send(t.Context(), errandOf(pvc))
			switch {
			case tc.want == "" && (err != nil || string(answer) != "all is well"):
				t.Errorf("got %q, %v", answer, err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
			c.kubelets.Wait()
			wantNoPod(t, c)
		})
	}
}

func wantNoPod(t *testing.T, c *cluster) {
	t.Helper()
	if left := c.pods(t); len(left) != 0 {
		t.Errorf("pod %s was left behind", left[0].Name)
	}
}

func TestPodThatDoesNotStart(t *testing.T) {
	c := newCluster(t, pulling)
	d := dispatcher(t, c, server(t, ""))
	d.StartTimeout = 300 * time.Millisecond
	_, err := d.Send(t.Context(), errandOf(pvc))
	if err == nil || !strings.Contains(err.Error(), "did not start in 300ms: ImagePullBackOff: no such image") {
		t.Errorf("got %v", err)
	}
	wantNoPod(t, c)
}

func TestInterruptRemovesThePod(t *testing.T) {
	c := newCluster(t, unready)
	ctx, interrupt := context.WithCancel(t.Context())
	d := dispatcher(t, c, server(t, ""))
	d.Say = func(string, ...any) { interrupt() }
	if _, err := d.Send(ctx, errandOf(pvc)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	wantNoPod(t, c)
}

func TestCutConnectionIsTriedAgain(t *testing.T) {
	good, calls := server(t, ""), 0
	d := dispatcher(t, newCluster(t, readyTo), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls++; calls == 2 {
			panic(http.ErrAbortHandler) // cuts the connection on the way to the answer
		}
		good.ServeHTTP(w, r)
	}))
	if answer, err := d.Send(t.Context(), errandOf(pvc)); err != nil || string(answer) != "all is well" || calls != 4 {
		t.Errorf("after %d calls: %q, %v", calls, answer, err)
	}
}

func TestForwardThatIsForbiddenIsNotTriedAgain(t *testing.T) {
	tries := 0
	c := newCluster(t, readyTo)
	d := dispatcher(t, c, server(t, ""))
	d.Forward = func(context.Context, string, string, int) (string, func(), error) {
		tries++
		return "", nil, errors.New("forbidden")
	}
	if _, err := d.Send(t.Context(), errandOf(pvc)); err == nil || !strings.Contains(err.Error(), "forbidden") || tries != 1 {
		t.Errorf("after %d tries: %v", tries, err)
	}
	c.kubelets.Wait()
	wantNoPod(t, c)
}

func TestImage(t *testing.T) {
	d := &Dispatcher{Client: newCluster(t)}
	e := errandOf(pvc)
	if image, err := d.image(t.Context(), &e); err != nil || image.Name != "operator:new" {
		t.Errorf("the newest Job's image is operator:new, got %q, %v", image.Name, err)
	}
	e.Run.Name = "other-run"
	if _, err := d.image(t.Context(), &e); err == nil || !strings.Contains(err.Error(), "the run has no Job left") {
		t.Errorf("a run without Jobs: %v", err)
	}
	e.Run = nil
	if image, err := d.image(t.Context(), &e); err != nil || image.Name != "operator:new" {
		t.Errorf("the newest Job of the namespace has operator:new, got %q, %v", image.Name, err)
	}
	e.Namespace = "team-b"
	if _, err := d.image(t.Context(), &e); err == nil || !strings.Contains(err.Error(), "--image") {
		t.Errorf("a namespace without Jobs: %v", err)
	}
	d.Image = "mine:1"
	if image, err := d.image(t.Context(), &e); err != nil || image.Name != "mine:1" {
		t.Errorf("got %q, %v", image.Name, err)
	}
}
