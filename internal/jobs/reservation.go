package jobs

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
)

// KueueGroup is the API group of Kueue.
const KueueGroup = "kueue.x-k8s.io"

// Reserved is what a run's reservation gives to its stages.
type Reserved struct {
	// Workload that holds it.
	Workload string
	// Pods that Kueue admitted, and what it counted for each of them.
	Pods int32
	Each corev1.ResourceList
	// NodeLabels and Tolerations are those of its flavours.
	NodeLabels  map[string]string
	Tolerations []corev1.Toleration
}

// pods of a stage that fit the reservation at a time. Kueue admits none in which a stage finds no room for its least.
func (r *Reserved) pods(w Work) int32 {
	fit := int64(math.MaxInt32)
	if r == nil || !ofRuntime(w.Spec.Stage) {
		return int32(fit)
	}
	for name, one := range requests(template(w)) {
		if each, counted := r.Each[name]; counted && amount(name, one) > 0 {
			fit = min(fit, amount(name, each)*int64(r.Pods)/amount(name, one))
		}
	}
	return int32(max(fit, 1))
}

// settle sends the pods of a stage to the nodes of the reservation.
func (r *Reserved) settle(w Work, job *batchv1.Job) {
	if r == nil || !ofRuntime(w.Spec.Stage) {
		return
	}
	job.Annotations[v1alpha1.AnnotationReservation] = r.Workload
	pod := &job.Spec.Template.Spec
	if pod.NodeSelector == nil && len(r.NodeLabels) > 0 {
		pod.NodeSelector = map[string]string{}
	}
	maps.Copy(pod.NodeSelector, r.NodeLabels)
	pod.Tolerations = append(pod.Tolerations, r.Tolerations...)
}

// ReservationName is the name of the Workload of a whole run.
func ReservationName(run string, uid types.UID) string {
	sum := sha256.Sum256([]byte(uid))
	return stem(run, "-"+hex.EncodeToString(sum[:4])+"-reservation")
}

// Asked is what a Workload is made from, beside the stages.
type Asked struct {
	Owner      Owner
	Scheduling *v1alpha1.SchedulingSpec
	// Version of Kueue's API.
	Version string
	// Priority of the WorkloadPriorityClass that scheduling names; nil where it names none.
	Priority *int32
}

// Mark of what a reservation was asked for with. One with another is of no use to the run any more.
func (a Asked) Mark() string {
	data, err := json.Marshal(a.Scheduling)
	if err != nil {
		panic(err) // a programming error: a type that is no JSON
	}
	return contract.Digest(data)
}

// Reserve makes the Workload that reserves for stages, of which one runs at a time, what the largest of them needs. It has the
// pods of the stage with the most GPUs, each as large as it takes for all of them together to be as large as any other stage in
// everything else. why says why there can be none.
func Reserve(a Asked, stages []Work) (workload *unstructured.Unstructured, why string) {
	shape, why := shapeOf(stages)
	if why != "" {
		return nil, why
	}
	template, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&corev1.PodTemplateSpec{Spec: corev1.PodSpec{
		Containers:   []corev1.Container{{Name: container, Resources: corev1.ResourceRequirements{Requests: shape.each}}},
		NodeSelector: shape.nodes, Tolerations: shape.tolerations, RestartPolicy: corev1.RestartPolicyNever,
	}})
	if err != nil {
		return nil, err.Error()
	}
	podSet := map[string]any{"name": "main", "count": int64(shape.pods), "template": template}
	if shape.least < shape.pods {
		podSet["minCount"] = int64(shape.least)
	}
	spec := map[string]any{"queueName": string(a.Scheduling.QueueName), "podSets": []any{podSet}}
	if class := a.Scheduling.WorkloadPriorityClassName; class != "" {
		spec["priority"] = int64(ptr.Deref(a.Priority, 0))
		if a.Version == "v1beta1" {
			spec["priorityClassName"], spec["priorityClassSource"] = class, KueueGroup+"/workloadpriorityclass"
		} else {
			spec["priorityClassRef"] = map[string]any{"group": KueueGroup, "kind": "WorkloadPriorityClass", "name": class}
		}
	}
	u := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	u.SetAPIVersion(KueueGroup + "/" + a.Version)
	u.SetKind("Workload")
	u.SetNamespace(a.Owner.Namespace)
	u.SetName(ReservationName(a.Owner.Name, a.Owner.UID))
	u.SetLabels(map[string]string{
		v1alpha1.LabelManaged: "true", v1alpha1.LabelOwnerUID: string(a.Owner.UID), v1alpha1.LabelRun: a.Owner.Run,
	})
	u.SetAnnotations(map[string]string{v1alpha1.AnnotationSpecDigest: a.Mark()})
	u.SetOwnerReferences([]metav1.OwnerReference{a.Owner.Reference()})
	return u, ""
}

// shape of a reservation.
type shape struct {
	pods, least int32
	each        corev1.ResourceList
	nodes       map[string]string
	tolerations []corev1.Toleration
}

func shapeOf(stages []Work) (s shape, why string) {
	most := int64(-1)
	for i, w := range stages {
		t, gpus := template(w), MostGPUs(w)
		if len(t.ResourceClaims) > 0 {
			return s, fmt.Sprintf("the pods of stage %s get devices by ResourceClaims, which are not reserved for a whole run", w.Spec.Stage)
		}
		if gpus > most {
			most, s.pods, s.each = gpus, schedule(w, t.Shards).parallel, requests(t)
		}
		var pod corev1.PodSpec
		pod.Containers = []corev1.Container{{}}
		settings(&pod, t.PodSettings, nil)
		for key, value := range pod.NodeSelector {
			if other, said := s.nodes[key]; said && other != value {
				return s, fmt.Sprintf("the stages go to nodes of different %s, %s and %s, and a reservation is of one kind", key, other, value)
			}
			if s.nodes == nil {
				s.nodes = map[string]string{}
			}
			s.nodes[key] = value
		}
		if i == 0 {
			s.tolerations = pod.Tolerations
		}
		s.tolerations = slices.DeleteFunc(s.tolerations, func(one corev1.Toleration) bool { // a flavour that not all stages tolerate is none
			return !slices.ContainsFunc(pod.Tolerations, func(o corev1.Toleration) bool { return equality.Semantic.DeepEqual(o, one) })
		})
	}
	for _, w := range stages {
		t := template(w)
		for name, one := range requests(t) {
			all := amount(name, one) * int64(schedule(w, t.Shards).parallel)
			if each := ceil(all, int64(s.pods)); each > amount(name, s.each[name]) {
				s.each[name] = quantity(name, each)
			}
		}
	}
	s.least = 1
	for _, w := range stages {
		t := template(w)
		own := schedule(w, t.Shards)
		least := own.parallel
		if own.minParallel > 0 {
			least = own.minParallel
		}
		for name, one := range requests(t) {
			if each := amount(name, s.each[name]); each > 0 {
				s.least = max(s.least, int32(ceil(amount(name, one)*int64(least), each)))
			}
		}
	}
	return s, ""
}

// requests of a stage's pod: what has a limit alone requests that.
func requests(t v1alpha1.StageTemplate) corev1.ResourceList {
	r := ptr.Deref(t.Resources, corev1.ResourceRequirements{})
	list := corev1.ResourceList{}
	maps.Copy(list, r.Limits)
	maps.Copy(list, r.Requests)
	return list
}

// amount of a resource in the unit that it is counted in.
func amount(name corev1.ResourceName, q resource.Quantity) int64 {
	if name == corev1.ResourceCPU {
		return q.MilliValue()
	}
	return q.Value()
}

func quantity(name corev1.ResourceName, amount int64) resource.Quantity {
	switch name {
	case corev1.ResourceCPU:
		return *resource.NewMilliQuantity(amount, resource.DecimalSI)
	case corev1.ResourceMemory, corev1.ResourceEphemeralStorage:
		return *resource.NewQuantity(amount, resource.BinarySI)
	default:
		return *resource.NewQuantity(amount, resource.DecimalSI)
	}
}

func ceil(a, b int64) int64 { return (a + b - 1) / b }
