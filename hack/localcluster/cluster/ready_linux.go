package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/addons"
	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/devices"
	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/layout"
	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/node"
	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/volumes"
)

const (
	readyTimeout = 5 * time.Minute
	readyPoll    = 100 * time.Millisecond
	tailLines    = 25
)

// obstacle is what a cluster that is not ready waits for, and the components whose logs say why.
type obstacle struct {
	what string
	logs []string
}

// lack looks for something that the cluster still lacks, and returns nil when it is there.
type lack func(context.Context, layout.Layout) *obstacle

// waitFor waits until nothing is lacking any more.
func waitFor(ctx context.Context, l layout.Layout, lacks ...lack) error {
	deadline := time.Now().Add(readyTimeout)
	for shown := ""; ; {
		missing := first(ctx, l, lacks)
		if missing == nil {
			return nil
		}
		if missing.what != shown {
			fmt.Fprintln(os.Stderr, "waiting for", missing.what)
			shown = missing.what
		}
		_, err := node.Supervisor(l)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// The lock is taken a moment after the start.
		died := errors.Is(err, node.ErrNotRunning) && time.Until(deadline) < readyTimeout-5*time.Second
		if died || time.Now().After(deadline) {
			problem := fmt.Sprintf("%s is still missing after %v", missing.what, readyTimeout)
			if died {
				problem = "its supervisor has ended"
			}
			var tails strings.Builder
			for _, component := range append([]string{"supervisor"}, missing.logs...) {
				tails.WriteString(logTail(l, component))
			}
			return fmt.Errorf("the cluster did not get ready: %s\n%s", problem, tails.String())
		}
		time.Sleep(readyPoll)
	}
}

func first(ctx context.Context, l layout.Layout, lacks []lack) *obstacle {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for _, find := range lacks {
		if missing := find(ctx, l); missing != nil {
			return missing
		}
	}
	return nil
}

func lacksAPI(ctx context.Context, l layout.Layout) *obstacle {
	api := &obstacle{"the Kubernetes API", []string{"etcd", "kube-apiserver"}}
	s, err := node.Load(l)
	if err != nil || s.Found.Started.IsZero() {
		return api
	}
	client, err := node.Client(l)
	if err != nil {
		return api
	}
	if _, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx); err != nil {
		return api
	}
	return nil
}

func lacksRuntime(ctx context.Context, l layout.Layout) *obstacle {
	socket, err := runtimeSocket(l)
	if err == nil {
		var conn net.Conn
		if conn, err = (&net.Dialer{}).DialContext(ctx, "unix", socket); err == nil {
			_ = conn.Close()
			return nil
		}
	}
	return &obstacle{"containerd", []string{"containerd"}}
}

// lacksAnything tells whether pods can run as they should: the node is ready with its devices and volumes, takes pods, and
// they find each other by name.
func lacksAnything(ctx context.Context, l layout.Layout) *obstacle {
	if missing := lacksAPI(ctx, l); missing != nil {
		return missing
	}
	s, err := node.Load(l)
	if err != nil {
		return &obstacle{err.Error(), nil}
	}
	client, err := node.Client(l)
	if err != nil {
		return &obstacle{err.Error(), nil}
	}
	found, err := client.CoreV1().Nodes().Get(ctx, layout.NodeName, metav1.GetOptions{})
	if err != nil || !readySince(found, s.Found.Started) || len(found.Spec.Taints) > 0 {
		return &obstacle{"the node", []string{"containerd", "kubelet", "kube-controller-manager"}}
	}
	if gpus := found.Status.Allocatable[devices.Resource]; gpus.Value() != int64(s.GPUs) {
		return &obstacle{fmt.Sprintf("%d of %s on the node", s.GPUs, devices.Resource), []string{"device-plugin", "kubelet"}}
	}
	if available, bound, err := countVolumes(ctx, client); err != nil || available+bound < s.Volumes {
		return &obstacle{"the local volumes", []string{"volumes"}}
	}
	if _, err := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{}); err != nil {
		return &obstacle{"the default service account", []string{"kube-controller-manager"}}
	}
	for _, a := range installed(ctx, client) {
		if err := a.Ready(ctx, client); err != nil {
			return &obstacle{a.Name, []string{"kubelet"}}
		}
	}
	return nil
}

// installed are the addons that the cluster has or, in the case of DNS, has to have.
func installed(ctx context.Context, client kubernetes.Interface) []addons.Addon {
	found := []addons.Addon{addons.DNS}
	for _, a := range []addons.Addon{addons.Kueue, addons.Kwok} {
		if _, err := client.AppsV1().Deployments(a.Namespace).Get(ctx, a.Deployment, metav1.GetOptions{}); err == nil {
			found = append(found, a)
		}
	}
	return found
}

// countVolumes counts the local volumes that claims can have and those that they have.
func countVolumes(ctx context.Context, client kubernetes.Interface) (available, bound int, err error) {
	list, err := client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return 0, 0, err
	}
	for _, volume := range list.Items {
		if volume.Spec.StorageClassName != volumes.Class {
			continue
		}
		switch volume.Status.Phase {
		case corev1.VolumeAvailable:
			available++
		case corev1.VolumeBound:
			bound++
		}
	}
	return available, bound, nil
}

// readySince tells whether the kubelet has said since then that the node is ready: a restarted cluster remembers what an
// earlier kubelet said.
func readySince(n *corev1.Node, start time.Time) bool {
	for _, condition := range n.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue && !condition.LastHeartbeatTime.Time.Before(start)
		}
	}
	return false
}

// logTail is the end of a component's log under a heading; nothing if it has not been started.
func logTail(l layout.Layout, component string) string {
	content, err := os.ReadFile(l.Log(component))
	if errors.Is(err, os.ErrNotExist) {
		return ""
	}
	if err != nil {
		return fmt.Sprintf("--- %v\n", err)
	}
	lines := strings.Split(strings.TrimSuffix(string(content), "\n"), "\n")
	return fmt.Sprintf("--- %s:\n%s\n", l.Log(component), strings.Join(lines[max(0, len(lines)-tailLines):], "\n"))
}

// status prints what runs; a cluster that does not run, or is not ready, is an error.
func status(ctx context.Context, l layout.Layout, out io.Writer) error {
	pid, err := node.Supervisor(l)
	if err != nil {
		return fmt.Errorf("%s: %w", l.Dir, err)
	}
	s, err := node.Load(l)
	if err != nil {
		return err
	}
	missing := first(ctx, l, []lack{lacksAnything})
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "api\t%s\nkubeconfig\t%s\nprograms\t%s\nlogs\t%s\nsupervisor\tprocess %d\n",
		s.Server(), l.Kubeconfig(), s.Bin, l.Path("logs"), pid)
	if missing == nil {
		client, err := node.Client(l)
		if err != nil {
			return err
		}
		available, bound, err := countVolumes(ctx, client)
		if err != nil {
			return fmt.Errorf("local volumes: %w", err)
		}
		fmt.Fprintf(table, "node\t%s ready, %d of %s\nvolumes\t%d available, %d bound\n",
			layout.NodeName, s.GPUs, devices.Resource, available, bound)
		for _, a := range installed(ctx, client) {
			fmt.Fprintf(table, "%s\tready\n", a.Name)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if missing != nil {
		return fmt.Errorf("not ready: it lacks %s", missing.what)
	}
	return nil
}
