//go:build faults

// Package faults holds the operator to the reliability bar of docs/reliability.md: the real operator process against a
// real etcd, API server and controller manager, through a proxy that injects faults. There is no kubelet and no
// scheduler: stages end at once, as kubelet.go says. oracle.go says what must hold whatever happens.
package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/spatialalign/operator/controllers"
)

// cluster is a control plane with a kubelet that plays the stages, and a history of all that happened in it.
type cluster struct {
	// Client reads from a cache of this process, so that waiting costs the API server nothing, and writes to the server.
	client.Client
	// live reads from the API server.
	live  client.Reader
	admin *rest.Config
	// informers behind the Client.
	informers cache.Cache
	// etcd is the address of the API server's store.
	etcd    string
	kubelet *kubelet
	history *history
	// logs is the folder of all processes' logs.
	logs string
}

// startCluster starts everything but operators. stop ends it all, also after an error.
func startCluster(ctx context.Context, logs string) (c *cluster, stop func() error, err error) {
	environment := &envtest.Environment{CRDDirectoryPaths: []string{"../../config/crd/bases"}, ErrorIfCRDPathMissing: true, ControlPlaneStartTimeout: startTimeout}
	stop = environment.Stop
	admin, err := environment.Start()
	if err != nil {
		return nil, stop, fmt.Errorf("the API server did not start (make test-faults builds it and sets KUBEBUILDER_ASSETS): %w", err)
	}
	admin.QPS = -1
	controllerManager, err := startControllerManager(environment.KubeConfig, logs)
	if err != nil {
		return nil, stop, err
	}
	ctx, cancel := context.WithCancel(ctx)
	stop = func() error {
		cancel()
		return errors.Join(controllerManager.Process.Kill(), ignoreExit(controllerManager.Wait()), environment.Stop())
	}
	mgr, err := ctrl.NewManager(admin, ctrl.Options{Scheme: controllers.Scheme(), Metrics: metricsserver.Options{BindAddress: "0"}})
	if err != nil {
		return nil, stop, err
	}
	c = &cluster{Client: mgr.GetClient(), live: mgr.GetAPIReader(), admin: admin, logs: logs, informers: mgr.GetCache(), etcd: environment.ControlPlane.Etcd.URL.String()}
	if c.kubelet, err = newKubelet(mgr); err != nil {
		return nil, stop, err
	}
	if c.history, err = newHistory(ctx, mgr.GetCache()); err != nil {
		return nil, stop, err
	}
	go func() {
		if err := mgr.Start(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "the test's own controllers:", err)
			os.Exit(1)
		}
	}()
	if !mgr.GetCache().WaitForCacheSync(ctx) {
		return nil, stop, errors.New("the test's own caches did not fill")
	}
	return c, stop, nil
}

// startControllerManager starts the controllers of Kubernetes that an operator relies on.
func startControllerManager(kubeconfig []byte, logs string) (*exec.Cmd, error) {
	file := filepath.Join(logs, "admin.kubeconfig")
	if err := os.WriteFile(file, kubeconfig, 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(logs, "kube-controller-manager.log"))
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kube-controller-manager"),
		"--kubeconfig="+file,
		"--bind-address=127.0.0.1", "--secure-port=0", "--leader-elect=false",
		"--controllers=garbage-collector-controller,namespace-controller,job-controller,persistentvolumeclaim-protection-controller",
		// The default of 20 requests per second makes Jobs wait for the client.
		"--kube-api-qps=2000", "--kube-api-burst=4000",
		"--concurrent-job-syncs=50", "--concurrent-gc-syncs=50", "--concurrent-namespace-syncs=20",
	)
	cmd.Stdout, cmd.Stderr = log, log
	err = cmd.Start()
	return cmd, err
}

// ignoreExit drops the error of a process that was killed.
func ignoreExit(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

// namespace makes a namespace that admits restricted pods only, with a store and an AlignmentRuntime of its name.
func (c *cluster) namespace(t *testing.T, name string) string {
	t.Helper()
	if err := c.make(t.Context(), namespaceOf(name)...); err != nil {
		t.Fatal(err)
	}
	return name
}

func namespaceOf(name string) []client.Object {
	return []client.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: name, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}, store(name), alignmentRuntime(name)}
}

func store(namespace string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: storeClaim, Namespace: namespace},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}
}

// create creates objects, in order.
func (c *cluster) create(t *testing.T, objects ...client.Object) {
	t.Helper()
	if err := c.make(t.Context(), objects...); err != nil {
		t.Fatal(err)
	}
}

func (c *cluster) make(ctx context.Context, objects ...client.Object) error {
	for _, o := range objects {
		if err := untilAnswered(func() error { return c.Create(ctx, o) }, apierrors.IsAlreadyExists); err != nil {
			return fmt.Errorf("create %T %s: %w", o, o.GetName(), err)
		}
	}
	return nil
}

// untilAnswered asks again when the API server of a busy machine timed out, which tells nothing of what it did; done says
// that an error means that an earlier call was carried out.
func untilAnswered(call func() error, done func(error) bool) error {
	unanswered := func(err error) bool { return apierrors.IsTimeout(err) || apierrors.IsServerTimeout(err) }
	asked := false
	return retry.OnError(wait.Backoff{Steps: 8, Duration: time.Second, Factor: 1.5}, unanswered, func() error {
		err := call()
		if asked && done(err) {
			return nil
		}
		asked = true
		return err
	})
}

// gone reports whether an object no longer exists.
func (c *cluster) gone(ctx context.Context, o client.Object) bool {
	return apierrors.IsNotFound(c.live.Get(ctx, client.ObjectKeyFromObject(o), o.DeepCopyObject().(client.Object)))
}

// objectsOf are the elements of a list.
func objectsOf(list client.ObjectList) []client.Object {
	var objects []client.Object
	_ = meta.EachListItem(list, func(o runtime.Object) error {
		objects = append(objects, o.(client.Object))
		return nil
	})
	return objects
}

// pollInterval is how often something waited for is looked at.
const pollInterval = 200 * time.Millisecond

// eventually waits until something is so, within a time that a machine needs which has nothing else to do: see slowness.
func eventually(ctx context.Context, within time.Duration, what string, so func() bool) error {
	start, left := time.Now(), within
	last := start
	err := wait.PollUntilContextCancel(ctx, pollInterval, true, func(context.Context) (bool, error) {
		if so() {
			return true, nil
		}
		now := time.Now()
		left -= time.Duration(float64(now.Sub(last)) / slowness.now())
		last = now
		if left <= 0 {
			return false, context.DeadlineExceeded
		}
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("%s: not within %s, on a machine that was up to %.1f times slower than idle", what, time.Since(start).Round(time.Second), slowness.worst())
	}
	return nil
}

// startTimeout of etcd and the API server, on a busy machine too.
const startTimeout = 5 * time.Minute
