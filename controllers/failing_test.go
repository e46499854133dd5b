package controllers_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
)

// fails makes a stage's first attempts end with an exit code and a last word.
func (c *cluster) fails(stage v1alpha1.StageName, attempts int, code int32, said string) {
	good := c.fate
	c.fate = func(s v1alpha1.StageName, attempt string, spec contract.Spec, shard int) (int32, string) {
		if s == stage && attempt < fmt.Sprint(attempts) {
			return code, said
		}
		return good(s, attempt, spec, shard)
	}
}

// stage is a stage's record in a run's status.
func stage(t *testing.T, run *v1alpha1.AlignmentRun, k int, name v1alpha1.StageName) *v1alpha1.StageStatus {
	t.Helper()
	for _, s := range run.Status.Iterations[k].Stages {
		if s.Name == name {
			return &s
		}
	}
	t.Fatalf("iteration %d has no stage %s", k, name)
	return nil
}

// A stage that fails is tried again, and status and events say why it failed.
func TestStageIsRetried(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.fails(v1alpha1.StageSample, 2, 76, `{"class":"GPUFault","message":"Xid 79: the GPU fell off the bus"}`)
	c.operate(often)
	run := c.run(1)
	c.create(c.runtime(), run)
	c.endsAs(run, v1alpha1.ConditionComplete, v1alpha1.ReasonIterationsCompleted)
	if s := stage(t, run, 1, v1alpha1.StageSample); s.Failures != 2 || *s.Attempt != 2 {
		t.Errorf("sample: %+v", s)
	}
	c.checkEvents(run, map[string]int{"StageRetried": 2, "IterationCompleted": 1, "IterationsCompleted": 1})
}

// What a retry cannot mend fails the run at once; the last lines are in status, and the Job stays for inspection.
func TestBadSpecFailsTheRun(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.fails(v1alpha1.StagePrepare, 1, 64, `{"class":"BadSpec","message":"train.csv:3: no column \"type\""}`)
	c.operate(often)
	run := c.run(1)
	c.create(c.runtime(), run)
	c.endsAs(run, v1alpha1.ConditionFailed, v1alpha1.ReasonInvalidSpec)
	if s := stage(t, run, 0, v1alpha1.StagePrepare); s.State != v1alpha1.StageFailed || !strings.Contains(s.Message, `train.csv:3: no column "type"`) {
		t.Errorf("prepare: %+v", s)
	}
	if !meta.IsStatusConditionTrue(run.Status.Conditions, v1alpha1.ConditionStalled) || run.Status.Phase != v1alpha1.PhaseFailed {
		t.Errorf("phase %s, conditions %+v", run.Status.Phase, run.Status.Conditions)
	}
	if len(c.jobs()) != 1 {
		t.Errorf("%d Jobs are there, want the one that failed", len(c.jobs()))
	}
	c.checkEvents(run, map[string]int{v1alpha1.ReasonInvalidSpec: 1})
}

// A failure within a run's batch fails the run with the same words.
func TestFailedBatchFailsTheRun(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.fails(v1alpha1.StageTrack, 9, 70, "Traceback (most recent call last):\n  detector.py:7\nKeyError: 'dog'")
	c.operate(often)
	run := c.run(1)
	run.Spec.Retries = new(int32)
	c.create(c.runtime(), run)
	c.endsAs(run, v1alpha1.ConditionFailed, v1alpha1.ReasonStageFailed)
	if message := meta.FindStatusCondition(run.Status.Conditions, v1alpha1.ConditionFailed).Message; !strings.Contains(message, "KeyError: 'dog'") {
		t.Errorf("the run does not say why it failed: %s", message)
	}
}

// A run whose training fails has ended at once. What the iteration had made is recorded after that, and no condition changes by it.
func TestFailedRunRecordsItsLineage(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.fails(v1alpha1.StageTrain, 9, 70, "Traceback (most recent call last):\n  trainer.py:7\nKeyError: 'loss'")
	c.hold[v1alpha1.StageLineage] = true
	c.operate(often)
	run := c.run(1)
	run.Spec.Retries = new(int32)
	c.create(c.runtime(), run)
	c.endsAs(run, v1alpha1.ConditionFailed, v1alpha1.ReasonStageFailed)
	end := run.DeepCopy()
	c.job(v1alpha1.StageLineage, 0)
	clear(c.hold)
	c.until("the lineage is recorded", func() bool {
		c.read(run)
		return run.Status.Iterations[1].Lineage != nil
	})
	if diff := cmp.Diff(end.Status.Conditions, run.Status.Conditions); diff != "" || !run.Status.CompletionTime.Equal(end.Status.CompletionTime) {
		t.Errorf("the end has changed (-before +after):\n%s", diff)
	}
	c.checkEvents(run, map[string]int{v1alpha1.ReasonStageFailed: 1})
}

// Pods that exit well are not believed: without a valid manifest and the outputs that later stages read, the stage did not
// happen, is tried again, and nothing advances.
func TestExitAloneIsNoSuccess(t *testing.T) {
	t.Parallel()
	withoutAdapter, err := json.Marshal(contract.Termination{
		Class: "Succeeded", Manifest: &contract.Artifact{Key: "m.json", Digest: contract.Digest(nil)},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, said := range map[string]string{
		"nothing said": "", "a log line": "all done", "truncated": string(withoutAdapter)[:40], "no adapter": string(withoutAdapter),
		"a key that leaves the store": `{"class":"Succeeded","manifest":{"key":"../../m.json","digest":"` + contract.Digest(nil) + `"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			c.fails(v1alpha1.StageTrain, 1, 0, said)
			c.hold[v1alpha1.StageEvaluationPrepare] = true
			c.operate(often)
			run := c.run(1)
			c.create(c.runtime(), run)
			c.job(v1alpha1.StageEvaluationPrepare, 0)
			c.until("the second attempt is recorded", func() bool {
				c.read(run)
				return stage(t, run, 1, v1alpha1.StageTrain).State == v1alpha1.StageSucceeded
			})
			if s := stage(t, run, 1, v1alpha1.StageTrain); s.Failures != 1 || *s.Attempt != 1 {
				t.Errorf("train: %+v", s)
			}
			c.checkEvents(run, map[string]int{"StageRetried": 1})
		})
	}
}

// While a stage runs, status shows what its pods report and what a pod that cannot start waits for.
func TestProgress(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.hold[v1alpha1.StagePrepare] = true
	c.operate(often)
	run := c.run(1)
	c.create(c.runtime(), run)
	job := c.job(v1alpha1.StagePrepare, 0)
	c.startPod(job, 0, corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{
		Name: "stage", Image: "i", ImageID: "i", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no such image"}},
	}}})
	c.until("status says what the pod waits for", func() bool {
		c.read(run)
		return len(run.Status.Iterations) > 0 && stage(t, run, 0, v1alpha1.StagePrepare).Message == "ImagePullBackOff: no such image"
	})

	address := servePod(t, `{"done":12,"total":30,"unit":"prompts","progressPercentage":40,"estimatedRemainingSeconds":9,
		"metrics":[{"name":"loss","value":"0.5"},{"name":"loss","value":"0.6"}],"lastCheckpointTime":"2026-01-01T12:00:00.5Z"}`)
	var pods corev1.PodList
	c.must(c.List(t.Context(), &pods, inNamespaceOf(job), withLabel(batchv1.JobNameLabel, job.Name)))
	pod := &pods.Items[0]
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: address, PodIPs: []corev1.PodIP{{IP: address}}}
	c.must(c.Status().Update(t.Context(), pod))
	c.until("status shows the progress", func() bool {
		c.read(run)
		p := run.Status.Progress
		return p != nil && *p.Percentage == 40 && *p.EstimatedRemainingSeconds == 9 && len(p.Metrics) == 1 && p.Metrics[0].Value == "0.5" &&
			p.LastCheckpointTime != nil && p.Stage == v1alpha1.StagePrepare && stage(t, run, 0, v1alpha1.StagePrepare).Message == ""
	})

	clear(c.hold)
	c.must(c.Delete(t.Context(), pod))
	c.endsAs(run, v1alpha1.ConditionComplete, v1alpha1.ReasonIterationsCompleted)
}

// servePod answers /progress on a loopback address of its own, as a stage's pod does on its own.
func servePod(t *testing.T, progress string) string {
	t.Helper()
	for last := 2; last < 255; last++ {
		address := fmt.Sprintf("127.0.94.%d", last)
		listener, err := net.Listen("tcp", net.JoinHostPort(address, fmt.Sprint(contract.ProgressPort)))
		if err != nil {
			continue // taken by another test
		}
		mux := http.NewServeMux()
		mux.HandleFunc("/progress", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, progress) })
		pod := &http.Server{Handler: mux}
		go func() { _ = pod.Serve(listener) }()
		t.Cleanup(func() { _ = pod.Close() })
		return address
	}
	t.Fatal("no loopback address has the progress port free")
	return ""
}
