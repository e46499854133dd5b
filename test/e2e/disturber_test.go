//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// disturber interrupts the paced run of a namespace.
type disturber struct {
	cluster
	ns     string
	random *rand.Rand
	// counts of interruptions, by kind and by what was hit.
	counts map[string]int
}

// kind is a way to interrupt a run.
type kind struct {
	name      string
	interrupt func(name string)
}

const operatorKilled = "operator killed"

func (d *disturber) kinds() []kind {
	return []kind{
		{"suspended and resumed", d.suspendAndResume},
		{"pods deleted", d.deletePod},
		{"Jobs deleted", d.deleteJob},
		{operatorKilled, d.killOperator},
		{"kubelet restarted", d.restartKubelet},
	}
}

func (d *disturber) pause(length time.Duration) {
	d.Helper()
	select {
	case <-time.After(length):
	case <-d.Context().Done():
		d.Fatal("interrupted")
	}
}

// suspendAndResume waits in between until nothing of the run is left.
func (d *disturber) suspendAndResume(name string) {
	d.Helper()
	d.suspend(d.ns, "paced-run", true)
	d.eventually(2*time.Minute, "the run is suspended, and no pod of it is left", func() bool {
		return d.run(d.ns, "paced-run").Status.Phase == v1alpha1.PhaseSuspended && len(d.pods()) == 0
	})
	d.suspend(d.ns, "paced-run", false)
	d.counts[name]++
}

func (d *disturber) deletePod(name string) {
	d.Helper()
	var pods []corev1.Pod
	d.eventually(2*time.Minute, "a pod of the run is there to be deleted", func() bool {
		pods = slices.DeleteFunc(d.pods(), func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
		return len(pods) > 0
	})
	d.remove(name, &pods[d.random.IntN(len(pods))])
}

func (d *disturber) deleteJob(name string) {
	d.Helper()
	var jobs batchv1.JobList
	d.eventually(2*time.Minute, "a Job of the run is there to be deleted", func() bool {
		if err := d.List(d.Context(), &jobs, client.InNamespace(d.ns)); err != nil {
			return false
		}
		jobs.Items = slices.DeleteFunc(jobs.Items, func(j batchv1.Job) bool {
			return j.DeletionTimestamp != nil || slices.ContainsFunc(j.Status.Conditions, func(c batchv1.JobCondition) bool {
				return (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue
			})
		})
		return len(jobs.Items) > 0
	})
	d.remove(name, &jobs.Items[d.random.IntN(len(jobs.Items))])
}

// remove deletes an object as `kubectl delete` does.
func (d *disturber) remove(name string, o client.Object) {
	d.Helper()
	err := client.IgnoreNotFound(d.Delete(d.Context(), o, client.PropagationPolicy(metav1.DeletePropagationBackground)))
	if err != nil {
		d.Fatal(err)
	}
	d.counts[name]++
	d.counts[name+" of "+o.GetLabels()[v1alpha1.LabelStage]]++
}

func (d *disturber) killOperator(name string) {
	d.Helper()
	if err := d.DeleteAllOf(d.Context(), &corev1.Pod{}, client.InNamespace("spatialalign-system"), client.GracePeriodSeconds(0)); err != nil {
		d.Fatal(err)
	}
	d.counts[name]++
}

// restartKubelet kills the kubelet of the local cluster, which its supervisor starts again.
func (d *disturber) restartKubelet(name string) {
	d.Helper()
	was := d.kubelet()
	if was == 0 {
		d.Fatal("there is no kubelet to restart: this test needs the local cluster (make cluster-up deploy)")
	}
	if err := syscall.Kill(was, syscall.SIGKILL); err != nil {
		d.Fatal(err)
	}
	d.eventually(time.Minute, "another kubelet runs", func() bool {
		is := d.kubelet()
		return is != 0 && is != was
	})
	d.counts[name]++
}

// kubelet is the process of the cluster's own kubelet; 0 for none.
func (d *disturber) kubelet() int {
	conf, err := filepath.Abs(filepath.Join(filepath.Dir(os.Getenv("KUBECONFIG")), "conf", "kubelet.kubeconfig"))
	if err != nil {
		d.Fatal(err)
	}
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		d.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		args := strings.Split(string(data), "\x00")
		if filepath.Base(args[0]) == "kubelet" && slices.Contains(args, "--kubeconfig="+conf) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err != nil {
				d.Fatal(err)
			}
			return pid
		}
	}
	return 0
}

// pods of the run that have not ended.
func (d *disturber) pods() []corev1.Pod {
	d.Helper()
	var pods corev1.PodList
	if err := d.List(d.Context(), &pods, client.InNamespace(d.ns), client.MatchingLabels{v1alpha1.LabelManaged: "true"}); err != nil {
		d.Fatal(err)
	}
	return slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool {
		return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	})
}

// summary says how many of each kind happened.
func (d *disturber) summary() string {
	var parts []string
	for _, k := range d.kinds() {
		var hit []string
		for _, key := range slices.Sorted(maps.Keys(d.counts)) {
			if stage, ok := strings.CutPrefix(key, k.name+" of "); ok {
				hit = append(hit, fmt.Sprintf("%s %d", stage, d.counts[key]))
			}
		}
		part := fmt.Sprintf("%s %d", k.name, d.counts[k.name])
		if len(hit) > 0 {
			part += " (" + strings.Join(hit, ", ") + ")"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}
