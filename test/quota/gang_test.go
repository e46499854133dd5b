//go:build quota

package quota

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
)

// TestGang: two pods train together. One is deleted without a word, then the process of one is killed, then that of the other is stopped, so that
// it hangs until its probe ends it: each time both start anew, from the last checkpoint. The first is a disruption, the others are failures, and
// the adapter is that of one undisturbed pod.
func TestGang(t *testing.T) {
	c := connect(t)
	c.namespace("gang", "4")
	c.runtime("swift", 0)
	c.runtime("gang", time.Second) // long enough for a checkpoint between any two of the three

	one := c.small("gang", "one-node", "swift")
	c.start(one)
	c.succeeded(one, 6*time.Minute)

	// The guide's run in sizes of this cluster, in a namespace without Kueue: TestTwoTeams has one in a queue.
	run := c.small("gang", "two-nodes-run", "gang")
	run.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "AlignmentRun"}
	run.Spec.Training = &v1alpha1.TrainingSpec{Nodes: c.sample("config/samples/kueue/two-nodes-run.yaml").Spec.Training.Nodes}
	g := c.guide("Training on several nodes")
	g.instead("config/samples/kueue/two-nodes-run.yaml", c.manifest(run))
	g.instead("-n team-a", "-n gang")
	g.gives("kubectl apply -f config/samples/kueue/two-nodes-run.yaml", "alignmentrun.*/two-nodes-run created")
	pods := c.together(run, 0, 4*time.Minute)
	g.gives("kubectl -n team-a get pods -l alignment.spatialalign.dev/gang=true", pods["0"].Name+" (?s:.*)"+pods["1"].Name)
	g.gives("kubectl -n team-a delete pod", `^pod "`+pods["1"].Name+`" force deleted`)
	deleted := c.again(run, 1, 2*time.Minute)
	g.sees("kubectl -n team-a get alignmentrun two-nodes-run", `"attempt":1`)
	g.done()
	if rec := stage(t, run, 1, v1alpha1.StageTrain); rec.Failures != 0 {
		t.Errorf("%d failures are charged for a pod that was deleted: %s", rec.Failures, rec.Message)
	}

	c.signal(c.together(run, 1, 2*time.Minute)["0"].UID, syscall.SIGKILL)
	killed := c.again(run, 2, 2*time.Minute)
	if rec := stage(t, run, 1, v1alpha1.StageTrain); rec.Failures != 1 {
		t.Errorf("%d failures are charged for a process that was killed, want 1: %s", rec.Failures, rec.Message)
	}

	c.signal(c.together(run, 2, 2*time.Minute)["1"].UID, syscall.SIGSTOP)
	hung := c.again(run, 3, 4*time.Minute)
	if rec := stage(t, run, 1, v1alpha1.StageTrain); rec.Failures != 2 {
		t.Errorf("%d failures are charged when a process hung besides, want 2: %s", rec.Failures, rec.Message)
	}

	c.succeeded(run, 6*time.Minute)
	if is, was := best(t, run), best(t, one); is != was {
		t.Errorf("the best adapter is %s, and that of one pod %s", is, was)
	}
	c.tell("two pods train again %.1f s after one was deleted, %.1f s after the process of one was killed, and %.1f s after that of one hung; best adapter %s as of one pod",
		deleted.Seconds(), killed.Seconds(), hung.Seconds(), best(t, run))
}

// together waits until both pods of a training's attempt run and have saved a checkpoint, and returns them by their rank.
func (c cluster) together(run *v1alpha1.AlignmentRun, attempt int32, limit time.Duration) map[string]*corev1.Pod {
	c.Helper()
	var pods map[string]*corev1.Pod
	c.within(limit, "both pods of attempt "+strconv.Itoa(int(attempt))+" train, and have saved a checkpoint", func() bool {
		pods = c.gang(run, attempt)
		c.refresh(run)
		p := run.Status.Progress
		if len(pods) < 2 || p == nil || p.Stage != v1alpha1.StageTrain || p.LastCheckpointTime == nil {
			return false
		}
		return p.LastCheckpointTime.After(pods["0"].CreationTimestamp.Time)
	})
	return pods
}

// again waits until both pods of a training's next attempt train on from a checkpoint, and returns how long that took.
func (c cluster) again(run *v1alpha1.AlignmentRun, attempt int32, limit time.Duration) time.Duration {
	c.Helper()
	took := c.within(limit, "both pods of attempt "+strconv.Itoa(int(attempt))+" go on from a checkpoint", func() bool {
		pods := c.gang(run, attempt)
		if len(pods) < 2 {
			return false
		}
		log, err := c.try("logs -n %s %s", run.Namespace, pods["0"].Name)
		return err == nil && line(log, "training goes on") != ""
	})
	c.refresh(run)
	return took
}

// gang is the running pods of a training's attempt, by their rank.
func (c cluster) gang(run *v1alpha1.AlignmentRun, attempt int32) map[string]*corev1.Pod {
	c.Helper()
	var list corev1.PodList
	err := c.List(c.Context(), &list, client.InNamespace(run.Namespace), client.MatchingLabels{
		v1alpha1.LabelRun: run.Name, v1alpha1.LabelStage: string(v1alpha1.StageTrain), v1alpha1.LabelAttempt: strconv.Itoa(int(attempt)),
	})
	if err != nil {
		c.Fatal(err)
	}
	pods := map[string]*corev1.Pod{}
	for i := range list.Items {
		if p := &list.Items[i]; p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil {
			pods[p.Annotations[batchv1.JobCompletionIndexAnnotation]] = p
		}
	}
	return pods
}

// signal the process of a pod's stage, which the local cluster runs on this machine.
func (c cluster) signal(pod types.UID, signal syscall.Signal) {
	c.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		c.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(data, []byte(contract.EnvPodUID+"="+string(pod)+"\x00")) {
			continue // it has ended, or is another
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			c.Fatal(err)
		}
		c.Logf("$ kill -%d %d, the stage of pod %s", signal, pid, pod)
		if err := syscall.Kill(pid, signal); err != nil {
			c.Fatal(err)
		}
		return
	}
	c.Fatalf("no process of pod %s", pod)
}
