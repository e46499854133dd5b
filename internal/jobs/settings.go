package jobs

import (
	"cmp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
)

const (
	weightsDir = "/weights"
	shmDir     = "/dev/shm"
)

// ofRuntime says that a stage runs an image of the runtime; the others run the operator's own.
func ofRuntime(s contract.Stage) bool {
	return s == contract.Sample || s == contract.Track || s == contract.Train
}

// settings are the admin's part of a pod, beside its container: nodes, devices, shared memory, weights.
func settings(pod *corev1.PodSpec, s v1alpha1.PodSettings, weights *v1alpha1.WeightsSpec) {
	c := &pod.Containers[0]
	for key, value := range s.NodeSelector {
		if pod.NodeSelector == nil {
			pod.NodeSelector = map[string]string{}
		}
		pod.NodeSelector[key] = string(value)
	}
	for _, t := range s.Tolerations {
		pod.Tolerations = append(pod.Tolerations, corev1.Toleration{
			Key: t.Key, Operator: corev1.TolerationOperator(t.Operator), Value: string(t.Value),
			Effect: corev1.TaintEffect(t.Effect), TolerationSeconds: t.TolerationSeconds,
		})
	}
	if s.RuntimeClassName != "" {
		pod.RuntimeClassName = ptr.To(s.RuntimeClassName)
	}
	if len(s.ResourceClaims) > 0 {
		c.Resources = *c.Resources.DeepCopy()
	}
	for _, claim := range s.ResourceClaims {
		pod.ResourceClaims = append(pod.ResourceClaims, corev1.PodResourceClaim{
			Name: claim.Name, ResourceClaimTemplateName: ptr.To(claim.ResourceClaimTemplateName),
		})
		c.Resources.Claims = append(c.Resources.Claims, corev1.ResourceClaim{Name: claim.Name})
	}
	if size, err := resource.ParseQuantity(string(s.SharedMemory)); err == nil { // absent, or as admission lets it pass
		mount(pod, "shm", shmDir, false, corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{
			Medium: corev1.StorageMediumMemory, SizeLimit: &size,
		}})
	}
	if weights != nil {
		// Read-only for the volume too: then its files are not handed to the pod's group.
		mount(pod, "weights", weightsDir, true, corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{
			ClaimName: weights.PVC.ClaimName, ReadOnly: true,
		}})
	}
}

func mount(pod *corev1.PodSpec, name, dir string, readOnly bool, source corev1.VolumeSource) {
	c := &pod.Containers[0]
	pod.Volumes = append(pod.Volumes, corev1.Volume{Name: name, VolumeSource: source})
	c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: name, MountPath: dir, ReadOnly: readOnly})
}

// GPUs says what of a pod are GPUs.
type GPUs struct {
	// Resource is an extended resource.
	Resource corev1.ResourceName
	// Claims are the GPUs of a ResourceClaim by the template that it is made from.
	Claims map[string]int64
}

// CountedBy is how a runtime's GPUs are counted. A claim template that stages say different numbers of counts as the
// greatest of them.
func CountedBy(r *v1alpha1.AlignmentRuntimeSpec) GPUs {
	counted := GPUs{Resource: corev1.ResourceName(cmp.Or(r.GPUResourceName, DefaultGPUResource)), Claims: map[string]int64{}}
	for _, t := range []*v1alpha1.StageTemplate{&r.Sample, &r.Track, &r.Train} {
		for _, claim := range t.ResourceClaims {
			template := claim.ResourceClaimTemplateName
			counted.Claims[template] = max(counted.Claims[template], int64(ptr.Deref(claim.GPUs, 0)))
		}
	}
	return counted
}

// ClaimsGPUs says that pods of a stage get GPUs by ResourceClaims, whose number nothing else can change.
func ClaimsGPUs(t *v1alpha1.StageTemplate) bool {
	return slices.ContainsFunc(t.ResourceClaims, func(c v1alpha1.StageResourceClaim) bool { return ptr.Deref(c.GPUs, 0) > 0 })
}

// Of a pod: the limits of its containers, and its claims. Nobody can change either of them in a pod.
func (g GPUs) Of(p *corev1.PodSpec) int64 {
	var n int64
	for i := range p.Containers {
		q := p.Containers[i].Resources.Limits[g.Resource]
		n += q.Value()
	}
	for _, claim := range p.ResourceClaims {
		n += g.Claims[ptr.Deref(claim.ResourceClaimTemplateName, "")]
	}
	return n
}

// Foreign is a resource that a run asks for in a stage and that nothing would count: neither one that every container uses, nor the
// runtime's GPUs, nor one that the runtime's own stage names. Devices by such a name would be GPUs beside every limit.
func Foreign(w Work) (name corev1.ResourceName, found bool) {
	asked := ptr.Deref(stageScheduling(w).Resources, corev1.ResourceRequirements{})
	own := ptr.Deref(template(Work{Spec: w.Spec, Runtime: w.Runtime}).Resources, corev1.ResourceRequirements{})
	gpu := CountedBy(w.Runtime).Resource
	var foreign []corev1.ResourceName
	for _, list := range []corev1.ResourceList{asked.Limits, asked.Requests} {
		for n := range list {
			_, limited := own.Limits[n]
			_, requested := own.Requests[n]
			if n != gpu && !common(n) && !limited && !requested {
				foreign = append(foreign, n)
			}
		}
	}
	if len(foreign) == 0 {
		return "", false
	}
	return slices.Min(foreign), true
}

func common(n corev1.ResourceName) bool {
	switch n {
	case corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage:
		return true
	}
	return strings.HasPrefix(string(n), corev1.ResourceHugePagesPrefix)
}

// MostGPUs that the pods of a stage of the runtime hold at a time.
func MostGPUs(w Work) int64 {
	t := template(w)
	pod := corev1.PodSpec{Containers: []corev1.Container{{Resources: ptr.Deref(t.Resources, corev1.ResourceRequirements{})}}}
	settings(&pod, t.PodSettings, nil)
	return int64(schedule(w, t.Shards).parallel) * CountedBy(w.Runtime).Of(&pod)
}
