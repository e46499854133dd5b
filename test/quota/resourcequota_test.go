//go:build quota

package quota

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// taker is somebody else's pod, which holds GPUs of a quota.
const taker = `
apiVersion: v1
kind: Pod
metadata: {name: %[1]s, namespace: %[2]s}
spec:
  securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
  nodeSelector: {example.com/runs: never} # it counts in the quota all the same
  containers:
    - name: taker
      image: spatialalign.local/operator:dev
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
      resources: {limits: {nvidia.com/gpu: %[3]d}}
`

// TestExhaustedResourceQuota gives the commands of "A plain ResourceQuota" of the guide: a run whose namespace has used up its quota of GPUs says so, does not knock, and goes on as soon and as far as
// there is room.
func TestExhaustedResourceQuota(t *testing.T) {
	c := connect(t)
	g := c.guide("A plain ResourceQuota")
	c.Cleanup(func() { c.kubectl("delete namespace team-d --ignore-not-found --timeout=120s") })
	g.gives("sed 's/alignment$/team-d/' config/samples/namespace-ready.yaml", "(?s)namespace/team-d created.*resourcequota/team-d created")
	c.runtime("quota-full", 0)

	// Somebody else holds the 4 GPUs of ResourceQuota team-d.
	c.apply(takes("two", 2))
	c.apply(takes("two-more", 2))

	// The run wants 4 GPUs for its samples, and makes do with 2.
	run := c.small("team-d", "waits", "quota-full")
	run.Spec.Scheduling = &v1alpha1.SchedulingSpec{Sample: &v1alpha1.StageScheduling{Shards: 4, MinParallel: 2}}
	c.start(run)
	c.within(2*time.Minute, "the prompts are prepared, without GPUs", func() bool {
		c.refresh(run)
		return run.Status.Prompts != nil
	})
	told := c.says(10*time.Second, run, v1alpha1.ConditionQuotaReserved, metav1.ConditionFalse, v1alpha1.ReasonQuotaExceeded)
	said := condition(run, v1alpha1.ConditionQuotaReserved).Message
	if lacks := `ResourceQuota "team-d" lacks 2 requests.nvidia.com/gpu`; !strings.Contains(said, lacks) {
		t.Errorf("the condition says %q, and not %q", said, lacks)
	}
	g.sees("kubectl -n team-d get alignmentruns", "")

	// Half a minute later nothing was created for any stage but the one that has no GPUs, and nobody has tried to, in any namespace.
	asked := c.asked()
	time.Sleep(30 * time.Second)
	if attempts := c.asked() - asked; attempts > 0 {
		t.Errorf("%d Jobs or pods were asked for in half a minute in which the quota was full, want none", attempts)
	}
	prepared := c.kubectl("get jobs,pods -n team-d -l %s=%s,%s=Prepare -o name", v1alpha1.LabelRun, run.Name, v1alpha1.LabelStage)
	if all := c.kubectl("get jobs,pods,scoringbatches,preferencedatasets -n team-d -l %s=%s -o name", v1alpha1.LabelRun, run.Name); all != prepared {
		t.Errorf("the run has\n%s\nwant only what prepared the prompts:\n%s", all, prepared)
	}

	// Two GPUs are given back: the least that the run makes do with.
	c.kubectl("delete pod two -n team-d")
	began := c.within(10*time.Second, "a Job of 2 pods at a time", func() bool {
		jobs := c.jobs(run, v1alpha1.StageEvaluationSample)
		jobs = append(jobs, c.jobs(run, v1alpha1.StageSample)...)
		return len(jobs) == 1 && *jobs[0].Spec.Parallelism == 2
	})

	// The quota is raised by two more: the same Job grows.
	g.gives("kubectl -n team-d patch resourcequota team-d", "patched")
	g.done()
	grown := c.within(10*time.Second, "the Job has 4 pods at a time", func() bool {
		jobs := c.jobs(run, v1alpha1.StageEvaluationSample)
		jobs = append(jobs, c.jobs(run, v1alpha1.StageSample)...)
		return len(jobs) > 0 && *jobs[0].Spec.Parallelism == 4
	})
	c.succeeded(run, 5*time.Minute)
	c.tell("says so %.1f s after it needed GPUs: %q; no request for a Job or a pod in any namespace in the half minute after that; goes on %.1f s after relief with 2 pods, has 4 after %.1f s",
		told.Seconds(), said, began.Seconds(), grown.Seconds())
}

func takes(name string, gpus int) string { return fmt.Sprintf(taker, name, "team-d", gpus) }

// request is a line of the API server's metrics that counts requests to create Jobs or pods.
var request = regexp.MustCompile(`(?m)^apiserver_request_total\{[^}]*resource="(?:jobs|pods)",scope="resource",subresource="",verb="POST"[^}]*\} (\S+)$`)

// asked is how often anybody has asked the API server to create a Job or a pod, refused or not.
func (c cluster) asked() (n int) {
	c.Helper()
	for _, line := range request.FindAllStringSubmatch(c.kubectl("get --raw /metrics"), -1) {
		count, err := strconv.ParseFloat(line[1], 64)
		if err != nil {
			c.Fatal(err)
		}
		n += int(count)
	}
	return n
}
