package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/spatialalign/operator/controllers"
	"github.com/spatialalign/operator/internal/jobs"
	"github.com/spatialalign/operator/internal/plan"
)

// managerOptions are the flags of `spatialalign manager`.
type managerOptions struct {
	metricsAddress   string
	probeAddress     string
	leaderElect      bool
	namespaces       []string
	stageImage       string
	pullPolicy       string
	progressInterval time.Duration
	workers          int
}

func managerCommand() *cobra.Command {
	var o managerOptions
	c := &cobra.Command{
		Use:   "manager",
		Short: "Run the controllers",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return o.run() },
	}
	f := c.Flags()
	f.StringVar(&o.metricsAddress, "metrics-bind-address", ":8443", "address of /metrics: TLS, for callers that the API server authenticates and authorizes; 0 turns it off")
	f.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081", "address of /healthz and /readyz")
	f.BoolVar(&o.leaderElect, "leader-elect", false, "let only one of several replicas work")
	f.StringSliceVar(&o.namespaces, "namespaces", nil, "namespaces to work in; all when empty")
	f.StringVar(&o.stageImage, "stage-image", "", "this operator's own image, which runs the stages prepare, score, pair, compare and lineage (required)")
	f.StringVar(&o.pullPolicy, "image-pull-policy", string(corev1.PullIfNotPresent), "pull policy of stage pods: Always, IfNotPresent or Never")
	f.DurationVar(&o.progressInterval, "progress-interval", 10*time.Second, "how often running stages are looked at, and their progress is written; at least 10s (from 1s for tests)")
	f.IntVar(&o.workers, "workers", 50, "objects of a kind that are reconciled at the same time; they mostly wait for the API server")
	return c
}

func (o managerOptions) validate() error {
	switch {
	case o.stageImage == "":
		return errors.New("--stage-image is required: the image that this operator runs from")
	case o.progressInterval < time.Second:
		return fmt.Errorf("--progress-interval %s is less than 1s", o.progressInterval)
	case o.workers < 1:
		return fmt.Errorf("--workers %d is less than 1", o.workers)
	}
	switch corev1.PullPolicy(o.pullPolicy) {
	case corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever:
		return nil
	default:
		return fmt.Errorf("--image-pull-policy %q is not Always, IfNotPresent or Never", o.pullPolicy)
	}
}

func (o managerOptions) run() error {
	if err := o.validate(); err != nil {
		return err
	}
	ctrl.SetLogger(logr.FromSlogHandler(slog.NewJSONHandler(os.Stderr, nil)))
	kube, err := config.GetConfig()
	if err != nil {
		return fmt.Errorf("find the cluster: %w", err)
	}
	// The API server's priority and fairness guards it; a client-side limit would only add waiting.
	kube.QPS, kube.Burst = 500, 1000
	mgr, err := ctrl.NewManager(kube, ctrl.Options{
		Scheme:                        controllers.Scheme(),
		Cache:                         controllers.CacheOptions(o.namespaces),
		HealthProbeBindAddress:        o.probeAddress,
		LeaderElection:                o.leaderElect,
		LeaderElectionID:              "spatialalign-operator",
		LeaderElectionNamespace:       os.Getenv("POD_NAMESPACE"),
		LeaderElectionReleaseOnCancel: true,
		Metrics: metricsserver.Options{
			BindAddress: o.metricsAddress, SecureServing: true, FilterProvider: filters.WithAuthenticationAndAuthorization,
		},
	})
	if err != nil {
		return fmt.Errorf("set up the manager: %w", err)
	}
	ctx := ctrl.SetupSignalHandler()
	err = controllers.Setup(ctx, mgr, plan.Config{
		Images:           jobs.Images{Stage: o.stageImage, PullPolicy: corev1.PullPolicy(o.pullPolicy)},
		ProgressInterval: o.progressInterval, Version: version,
	}, o.namespaces, o.workers, metrics.Registry)
	if err != nil {
		return err
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	if err := mgr.AddReadyzCheck("caches", cachesSynced(mgr)); err != nil {
		return err
	}
	return mgr.Start(ctx)
}
