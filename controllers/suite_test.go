// Package controllers_test runs the controllers against a real API server. There are no other controllers: the tests
// play the Job controller, the kubelet and the garbage collector, step by step.
package controllers_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/controllers"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jobs"
	"github.com/spatialalign/operator/internal/plan"
)

// server is the API server that all tests share; each has a namespace and an operator of its own.
var server *rest.Config

func TestMain(m *testing.M) {
	code, err := withServer(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func withServer(run func() int) (code int, err error) {
	ctrl.SetLogger(logr.Discard())
	environment := envtest.Environment{CRDDirectoryPaths: []string{"../config/crd/bases"}, ErrorIfCRDPathMissing: true, ControlPlaneStartTimeout: 5 * time.Minute}
	server, err = environment.Start()
	if err != nil {
		return 0, fmt.Errorf("the API server did not start (make test-envtest builds it and sets KUBEBUILDER_ASSETS): %w", err)
	}
	defer func() { err = errors.Join(err, environment.Stop()) }()
	server.QPS = -1
	return run(), nil
}

// cluster is a namespace, an operator that works in it, and the script of what its Jobs come to.
type cluster struct {
	t *testing.T
	client.Client
	namespace string
	// requests of all operators that this cluster has had.
	requests *counter
	// metrics of the operator that runs now.
	metrics *prometheus.Registry
	stop    func()

	// hold keeps Jobs from running.
	hold map[v1alpha1.StageName]bool
	// fate of a shard: its exit code and last word. A success by default.
	fate func(stage v1alpha1.StageName, attempt string, spec contract.Spec, shard int) (code int32, said string)
	// conflicts says which status writes of the operator meet a conflict.
	conflicts atomic.Pointer[func(body []byte) bool]
	// negligent lets what has lost its owner live.
	negligent bool
}

// newCluster makes a namespace that admits restricted pods only, without an operator.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	admin, err := client.New(server, client.Options{Scheme: controllers.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{
		t: t, Client: admin, requests: newCounter(), stop: func() {}, hold: map[v1alpha1.StageName]bool{},
		fate: func(_ v1alpha1.StageName, _ string, spec contract.Spec, shard int) (int32, string) {
			return 0, goodWord(spec, shard)
		},
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "team-", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}
	c.must(c.Create(t.Context(), namespace))
	c.namespace = namespace.Name
	t.Cleanup(func() { c.stop() })
	return c
}

// operate starts an operator, as manager.go does; the one before must be stopped.
func (c *cluster) operate(progressInterval time.Duration) {
	c.t.Helper()
	kube := rest.CopyConfig(server)
	kube.Wrap(c.requests.wrap)
	kube.Wrap(c.refuse)
	c.metrics = prometheus.NewRegistry()
	mgr, err := ctrl.NewManager(kube, ctrl.Options{
		Scheme: controllers.Scheme(), Cache: controllers.CacheOptions([]string{c.namespace}),
		Metrics: metricsserver.Options{BindAddress: "0"},
		// Several operators live in this process; a panic must fail the test.
		Controller: config.Controller{SkipNameValidation: ptr.To(true), RecoverPanic: ptr.To(false)},
	})
	c.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	c.must(controllers.Setup(ctx, mgr, plan.Config{
		Images: jobs.Images{Stage: "operator:1", PullPolicy: corev1.PullIfNotPresent}, ProgressInterval: progressInterval,
	}, []string{c.namespace}, 4, c.metrics))
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	if !mgr.GetCache().WaitForCacheSync(ctx) {
		c.t.Fatal("the caches do not fill")
	}
	c.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			c.t.Errorf("the operator stops with an error: %v", err)
		}
		c.stop = func() {}
	}
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// runtime is an AlignmentRuntime for this cluster's namespace, named like it; not created yet.
func (c *cluster) runtime() *v1alpha1.AlignmentRuntime {
	digest := v1alpha1.Digest(contract.Digest([]byte("weights")))
	stage := func(shards int32) v1alpha1.StageTemplate {
		return v1alpha1.StageTemplate{Image: "runtime:1", Command: []string{"/runtime"}, Shards: shards}
	}
	return &v1alpha1.AlignmentRuntime{
		ObjectMeta: metav1.ObjectMeta{Name: c.namespace},
		Spec: v1alpha1.AlignmentRuntimeSpec{
			AllowedNamespaces: []string{c.namespace},
			Model:             v1alpha1.ModelSpec{Name: "m", Digest: digest, NumericsRevision: "1"},
			Detector:          v1alpha1.DetectorSpec{Name: "d", Digest: digest, Revision: "1"},
			Store:             v1alpha1.StoreSpec{PVC: &v1alpha1.PVCStore{ClaimName: "store"}},
			Sample:            stage(2), Track: stage(2), Train: stage(1),
			Defaults: v1alpha1.RuntimeDefaults{
				Sampling:   v1alpha1.SamplingDefaults{SamplesPerPrompt: 5, SamplingParameters: v1alpha1.SamplingParameters{Steps: 12}},
				Training:   v1alpha1.TrainingDefaults{Steps: 120, PairsPerStep: 64, LearningRate: "0.001", LoRA: v1alpha1.LoRASpec{Rank: 8, Alpha: 8}},
				Evaluation: v1alpha1.EvaluationDefaults{SamplesPerPrompt: 20},
			},
		},
	}
}

// run is the shortest useful AlignmentRun; not created yet.
func (c *cluster) run(iterations int32) *v1alpha1.AlignmentRun {
	return &v1alpha1.AlignmentRun{
		ObjectMeta: metav1.ObjectMeta{Name: "first-run", Namespace: c.namespace},
		Spec: v1alpha1.AlignmentRunSpec{
			RuntimeRef: v1alpha1.RuntimeReference{Name: c.namespace},
			Prompts: v1alpha1.PromptsSpec{
				Train:      v1alpha1.PromptSource{Generate: &v1alpha1.GeneratedPrompts{Count: 30, Seed: ptr.To(int64(1))}},
				Evaluation: v1alpha1.PromptSource{Generate: &v1alpha1.GeneratedPrompts{Count: 30, Seed: ptr.To(int64(2))}},
			},
			Iterations: iterations,
		},
	}
}

// create creates objects, in order.
func (c *cluster) create(objects ...client.Object) {
	c.t.Helper()
	for _, o := range objects {
		c.must(c.Create(c.t.Context(), o))
	}
}

// read reads an object anew; what is gone keeps its last state.
func (c *cluster) read(o client.Object) {
	c.t.Helper()
	c.must(client.IgnoreNotFound(c.Get(c.t.Context(), client.ObjectKeyFromObject(o), o)))
}
