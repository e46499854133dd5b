package jobs

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
)

// masterPort is where the first pod of a gang waits for the others.
const masterPort = 29500

// Gang says that the pods of a Job train together, on several nodes: they start together, and none goes on without the
// others. The pods of any other Job have a shard each.
func Gang(job *batchv1.Job) bool {
	return job.Labels[v1alpha1.LabelStage] == string(v1alpha1.StageTrain) && ptr.Deref(job.Spec.Completions, 1) > 1
}

// join tells the pods of a gang of each other: what the contract says, and what torchrun reads where it is called without
// arguments.
func join(job *batchv1.Job) {
	if !Gang(job) {
		return
	}
	t := &job.Spec.Template
	t.Labels[v1alpha1.LabelGang] = "true"
	t.Spec.Subdomain = job.Name // the Job controller gives each pod the host name <job>-<index>
	first := job.Name + "-0." + job.Name
	nodes, port := strconv.Itoa(int(*job.Spec.Completions)), strconv.Itoa(masterPort)
	t.Spec.Containers[0].Env = append(t.Spec.Containers[0].Env,
		corev1.EnvVar{Name: contract.EnvMasterAddress, Value: first},
		corev1.EnvVar{Name: contract.EnvMasterPort, Value: port},
		corev1.EnvVar{Name: contract.EnvNodes, Value: nodes},
		corev1.EnvVar{Name: "PET_MASTER_ADDR", Value: first},
		corev1.EnvVar{Name: "PET_MASTER_PORT", Value: port},
		corev1.EnvVar{Name: "PET_NNODES", Value: nodes},
		corev1.EnvVar{Name: "PET_NODE_RANK", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{
			APIVersion: "v1", FieldPath: "metadata.annotations['" + batchv1.JobCompletionIndexAnnotation + "']",
		}}},
	)
}

// Service is the headless one by whose name the pods of a gang find each other. It goes with the Job, which must exist.
func Service(job *batchv1.Job) *corev1.Service {
	return &corev1.Service{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: job.Namespace, Name: job.Name, Labels: map[string]string{v1alpha1.LabelManaged: "true"},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "batch/v1", Kind: "Job", Name: job.Name, UID: job.UID, Controller: ptr.To(true),
			}},
		},
		Spec: corev1.ServiceSpec{
			ClusterIP: corev1.ClusterIPNone, PublishNotReadyAddresses: true,
			Selector: map[string]string{batchv1.JobNameLabel: job.Name},
			Ports:    []corev1.ServicePort{{Name: "rendezvous", Port: masterPort, Protocol: corev1.ProtocolTCP}},
		},
	}
}

// Telling are the pods whose progress adds up to the Job's: those of a gang all tell the same, the first one for all.
func Telling(job *batchv1.Job, pods []corev1.Pod) []corev1.Pod {
	if !Gang(job) {
		return pods
	}
	return slices.DeleteFunc(slices.Clone(pods), func(p corev1.Pod) bool { return p.Annotations[batchv1.JobCompletionIndexAnnotation] != "0" })
}

// gangPolicy ends the Job with the first of its pods that fails, however it does. The condition of the Job then names that
// pod: see gangFailure.
func gangPolicy() *batchv1.PodFailurePolicy {
	return &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{
		{
			Action: batchv1.PodFailurePolicyActionFailJob,
			OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{
				{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue},
			},
		},
		{
			Action: batchv1.PodFailurePolicyActionFailJob,
			OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{
				ContainerName: ptr.To(container), Operator: batchv1.PodFailurePolicyOnExitCodesOpNotIn, Values: []int32{0},
			},
		},
	}}
}

// incomplete says that some pods of a gang hold nodes while others have none: it stands still, and nobody else can use
// what it holds.
func incomplete(job *batchv1.Job, pods []corev1.Pod, now time.Time) string {
	if !Gang(job) {
		return ""
	}
	placed, first := 0, now
	for i := range pods {
		since, ok := scheduled(&pods[i])
		if ok || over(&pods[i]) {
			placed++
		}
		if ok && since.Before(first) {
			first = since
		}
	}
	wanted := int(*job.Spec.Completions)
	if placed == 0 || placed >= wanted || now.Sub(first) <= settling {
		return ""
	}
	return fmt.Sprintf("%d of %d pods have a node and wait for the others: %s", placed, wanted,
		cmp.Or(waiting(pods), fmt.Sprintf("there are %d pods, see kubectl describe job %s", len(pods), job.Name)))
}

// broken is the outcome of a gang of which a running pod is ended from outside: the others cannot go on without it, and are
// told to stop while it still can say the same to them. nil where there is none, or where the Job controller ends the gang
// itself because a pod failed.
func broken(job *batchv1.Job, pods []corev1.Pod) *Outcome {
	if !Gang(job) || jobCondition(job, batchv1.JobFailureTarget) != nil {
		return nil
	}
	var gone *corev1.Pod
	for i := range pods {
		p := &pods[i]
		if p.Status.Phase == corev1.PodFailed {
			return nil
		}
		if _, placed := scheduled(p); placed && !over(p) && disturbed(p) && gone == nil {
			gone = p
		}
	}
	if gone == nil {
		return nil
	}
	return &Outcome{State: Failed, Class: ClassDisrupted, Disrupted: true, Endless: true, Message: disturbance(gone.Name, gone)}
}

// ender finds in the condition of a failed Job the pod whose failure matched a rule of its policy, as the Job controller words it:
//
//	Pod <namespace>/<name> has condition DisruptionTarget matching FailJob rule at index 0
//	Container stage for pod <namespace>/<name> failed with exit code 75 matching FailJob rule at index 1
var ender = regexp.MustCompile(`[Pp]od [^/ ]+/(\S+) (?:has condition \S+|failed with exit code ([0-9]+)) matching `)

// gangFailure tells by the pod that failed first. The others fail of that, or are deleted by the Job controller; a pod that
// had not failed before it was deleted, or that is gone, was deleted by somebody else. Only what is final comes before.
// told is false where the Job's condition names no pod.
func gangFailure(c *batchv1.JobCondition, pods []corev1.Pod) (o Outcome, complete, told bool) {
	found := ender.FindStringSubmatch(c.Message)
	if c.Reason != batchv1.JobReasonPodFailurePolicy || found == nil {
		return Outcome{}, false, false
	}
	var first *corev1.Pod
	for i := range pods {
		if weight(&pods[i]) == weightFinal {
			return Outcome{}, false, false
		}
		if pods[i].Name == found[1] {
			first = &pods[i]
		}
	}
	n, _ := strconv.Atoi(found[2]) // 0 where the pod met the first rule
	code := contract.ExitCode(n)
	if code.Final() {
		return Outcome{State: Failed, Class: code.Class(), Final: true, Message: clip(c.Message)}, first != nil, true
	}
	if n == 0 || first == nil || disturbed(first) {
		return Outcome{State: Failed, Class: ClassDisrupted, Disrupted: true, Message: disturbance(found[1], first)}, first != nil, true
	}
	return Outcome{State: Failed, Class: code.Class(), Message: clip(said(first))}, true, true
}

// disturbance is what became of a pod of a gang, as far as it tells.
func disturbance(name string, p *corev1.Pod) string {
	why := "it was deleted"
	if p != nil {
		if c := disruption(p); c != nil {
			why = because(c.Reason, c.Message)
		}
	}
	return clip(fmt.Sprintf("pod %s ends, and the others cannot go on without it: %s", name, why))
}
