package jobs

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// The types of conditions of Kueue's Workload.
const (
	workloadQuotaReserved = "QuotaReserved"
	workloadEvicted       = "Evicted"
)

// Queue is what can be seen of Kueue about one Job.
type Queue struct {
	// Absent says that the API server has no Workloads: Kueue is not installed.
	Absent bool
	// Trouble says why the operator cannot read Workloads; empty where it can.
	Trouble string
	// Workload that stands for the Job; nil while Kueue has made none.
	Workload *Workload
}

// Workload is what the operator reads of a Workload of Kueue.
type Workload struct {
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	Checks     []AdmissionCheck   `json:"admissionChecks,omitempty"`
	// Admission of a Workload with quota; kept of those of whole runs alone.
	Admission *Admission `json:"admission,omitempty"`
}

// AdmissionCheck is the state of a check that must be Ready before a Workload with quota is admitted.
type AdmissionCheck struct {
	Name    string `json:"name"`
	State   string `json:"state"`
	Message string `json:"message,omitempty"`
}

// InQueue says that Kueue has a say about the Job: it is in a queue, or was suspended by somebody.
func InQueue(job *batchv1.Job) bool {
	return !Finished(job) && (job.Labels[labelQueue] != "" || ptr.Deref(job.Spec.Suspend, false))
}

// Enqueued adds to the outcome of a Job what Kueue says of it.
func Enqueued(o Outcome, job *batchv1.Job, q Queue, now time.Time) Outcome {
	if o.State != Active || !o.Queued || !ptr.Deref(job.Spec.Suspend, false) {
		return o
	}
	queue, w := job.Labels[labelQueue], q.Workload
	switch reservation := job.Annotations[v1alpha1.AnnotationReservation]; {
	case reservation != "" && (w != nil || queue != ""):
		o.QueueReason = v1alpha1.ReasonQueueForced
		o.Message = clip(fmt.Sprintf("Job %s runs under the run's reservation %s and Kueue has suspended it: Kueue manages Jobs without a queue here "+
			"(manageJobsWithoutQueueName, or a LocalQueue named default). Exempt the namespace with Kueue's managedJobsNamespaceSelector, "+
			"or suspend the run and set spec.scheduling.reservation to Stage", job.Name, reservation))
	case queue == "" && w == nil:
		return o // suspended by a person
	case queue == "":
		o.QueueReason = v1alpha1.ReasonQueueForced
		o.Message = clip(fmt.Sprintf("Job %s has no queue and Kueue has suspended it: Kueue manages Jobs without a queue here (manageJobsWithoutQueueName). "+
			"Exempt the namespace with Kueue's managedJobsNamespaceSelector, or make a LocalQueue named default there for the stages without GPUs, "+
			"which spec.scheduling.queueName does not queue", job.Name))
	case q.Absent:
		o.QueueReason = v1alpha1.ReasonKueueNotInstalled
		o.Message = fmt.Sprintf("queue %s cannot admit Job %s: Kueue is not installed in this cluster. Install it, or suspend the run and take queueName out of spec.scheduling", queue, job.Name)
	case q.Trouble != "":
		o.Message = clip(fmt.Sprintf("queue %s has not admitted Job %s, and the operator cannot read why: %s", queue, job.Name, q.Trouble))
	case w == nil && now.Sub(job.CreationTimestamp.Time) > unnoticed:
		o.Message = fmt.Sprintf("queue %s has not admitted Job %s: Kueue has made no Workload for it. Does its controller run, and does it manage this namespace?", queue, job.Name)
	case w != nil:
		if reason, message := w.waiting(); reason != "" {
			o.QueueReason, o.Message = reason, clip(fmt.Sprintf("queue %s: %s", queue, message))
		}
	}
	return o
}

// unnoticed is how long Kueue may take to make a Workload before that is worth saying; it takes less than a second.
const unnoticed = 10 * time.Second

// waiting says in Kueue's own words why a Workload does not run; empty while Kueue has said nothing.
func (w *Workload) waiting() (reason, message string) {
	evicted, reserved := w.condition(workloadEvicted), w.condition(workloadQuotaReserved)
	var said []string
	if evicted != nil && evicted.Status == metav1.ConditionTrue {
		reason, said = evicted.Reason, append(said, because(evicted.Reason, evicted.Message))
	}
	switch {
	case reserved == nil:
	case reserved.Status != metav1.ConditionTrue:
		if reason == "" {
			reason = reserved.Reason
		}
		if evicted == nil || reserved.Message != evicted.Message { // after an eviction Kueue repeats why, until it has tried again
			said = append(said, because(reserved.Reason, reserved.Message))
		}
	case reason == "":
		for _, c := range w.Checks {
			if c.State != "Ready" {
				reason = v1alpha1.ReasonAdmissionChecks
				said = append(said, because(fmt.Sprintf("quota is reserved, admission check %s is %s", c.Name, c.State), c.Message))
			}
		}
	}
	if reason != "" && !validReason.MatchString(reason) {
		reason = v1alpha1.ReasonQueued
	}
	return reason, strings.Join(said, "; ")
}

// News says that a Workload says of why it waits what it did not say before.
func (w *Workload) News(before Workload) bool {
	reason, message := w.waiting()
	wasReason, wasMessage := before.waiting()
	return reason != "" && (reason != wasReason || message != wasMessage)
}

// validReason is what the reason of a condition may be.
var validReason = regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$`)

func (w *Workload) condition(kind string) *metav1.Condition {
	return meta.FindStatusCondition(w.Conditions, kind)
}
