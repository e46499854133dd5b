package jobs

import (
	"cmp"
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
)

const (
	// DefaultGPUResource is the extended resource of a GPU where the runtime names none.
	DefaultGPUResource = "nvidia.com/gpu"
	// labelQueue is Kueue's: the LocalQueue that is to admit a Job.
	labelQueue = "kueue.x-k8s.io/queue-name"
	// labelPriority is Kueue's: the WorkloadPriorityClass of a Job.
	labelPriority = "kueue.x-k8s.io/priority-class"
	// annotationRequiredTopology and annotationPreferredTopology of a pod template are Kueue's.
	annotationRequiredTopology  = "kueue.x-k8s.io/podset-required-topology"
	annotationPreferredTopology = "kueue.x-k8s.io/podset-preferred-topology"
	// annotationMinParallelism is Kueue's: a Job may be admitted with so many pods at a time.
	annotationMinParallelism = "kueue.x-k8s.io/job-min-parallelism"
)

// scheduling is how the pods of one Job are spread and queued.
type scheduling struct {
	shards   int32
	parallel int32
	// minParallel is 0 where all pods are to be admitted together.
	minParallel int32
	// least is how many pods are worth starting with, where a quota leaves no room for all.
	least int32
	queue string
	// priority and topology say something to the queue alone.
	priority string
	topology v1alpha1.TopologySpec
}

// schedule is the run's word on the stage, or the runtime's number of shards. The pods of a training are not shards: they
// run together.
func schedule(w Work, shards int32) scheduling {
	own := stageScheduling(w)
	if w.Spec.Stage != contract.Train {
		shards = cmp.Or(own.Shards, shards)
	}
	s := scheduling{shards: max(shards, 1), queue: string(own.QueueName), topology: ptr.Deref(own.Topology, v1alpha1.TopologySpec{})}
	if w.Scheduling != nil {
		s.priority = w.Scheduling.WorkloadPriorityClassName
	}
	s.parallel = min(cmp.Or(own.MaxParallel, s.shards), s.shards)
	if own.MinParallel < s.parallel {
		s.minParallel = own.MinParallel // Kueue refuses a minimum that is no less than the parallelism
	}
	if w.Spec.Stage != contract.Train { // whose pods work together, and are what the reservation was made for
		s.parallel = min(s.parallel, w.Reserved.pods(w))
	}
	s.least = s.parallel
	if w.Spec.Stage != contract.Train {
		s.least = min(cmp.Or(own.MinParallel, 1), s.parallel)
	}
	return s
}

// stageScheduling is what the run says of a stage that uses GPUs, the run's queue included; nothing for others: the
// operator's own stages are too small to queue for.
func stageScheduling(w Work) v1alpha1.StageScheduling {
	if w.Scheduling == nil {
		return v1alpha1.StageScheduling{}
	}
	var own *v1alpha1.StageScheduling
	switch w.Spec.Stage {
	case contract.Sample:
		own = w.Scheduling.Sample
	case contract.Track:
		own = w.Scheduling.Track
	case contract.Train:
		own = w.Scheduling.Train
	default:
		return v1alpha1.StageScheduling{}
	}
	s := ptr.Deref(own, v1alpha1.StageScheduling{})
	s.QueueName = cmp.Or(s.QueueName, w.Scheduling.QueueName)
	if w.Scheduling.Reservation == v1alpha1.ReservationRun {
		s.QueueName = "" // the run is in the queue, not its Jobs
	}
	return s
}

// enqueue hands the Job to its queue, if it has one: Kueue alone unsuspends it.
func (s scheduling) enqueue(job *batchv1.Job) {
	if s.queue == "" {
		return
	}
	job.Spec.Suspend = ptr.To(true)
	job.Labels[labelQueue] = s.queue
	if s.priority != "" {
		job.Labels[labelPriority] = s.priority
	}
	annotations := job.Spec.Template.Annotations
	if s.topology.Required != "" {
		annotations[annotationRequiredTopology] = string(s.topology.Required)
	}
	if s.topology.Preferred != "" {
		annotations[annotationPreferredTopology] = string(s.topology.Preferred)
	}
	if s.minParallel > 0 {
		job.Annotations[annotationMinParallelism] = strconv.Itoa(int(s.minParallel))
		job.Annotations[v1alpha1.AnnotationMaxParallel] = strconv.Itoa(int(s.parallel))
	}
}

// resources of the stage's container: the run's, else the template's, with the training's own number of GPUs.
func resources(w Work, t v1alpha1.StageTemplate) *corev1.ResourceRequirements {
	own := cmp.Or(stageScheduling(w).Resources, t.Resources)
	if w.Spec.Stage != contract.Train || w.GPUsPerNode <= 0 {
		return own
	}
	gpu := corev1.ResourceName(cmp.Or(w.Runtime.GPUResourceName, DefaultGPUResource))
	n := *resource.NewQuantity(int64(w.GPUsPerNode), resource.DecimalSI)
	r := own.DeepCopy()
	if r == nil {
		r = &corev1.ResourceRequirements{}
	}
	if r.Limits == nil {
		r.Limits = corev1.ResourceList{}
	}
	r.Limits[gpu] = n
	if _, named := r.Requests[gpu]; named {
		r.Requests[gpu] = n
	}
	return r
}

func priorityClass(w Work) string {
	if w.Scheduling == nil {
		return ""
	}
	return w.Scheduling.PriorityClassName
}
