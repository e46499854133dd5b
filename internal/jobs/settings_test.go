package jobs_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

func everySetting() v1alpha1.PodSettings {
	return v1alpha1.PodSettings{
		NodeSelector:     map[string]v1alpha1.LabelValue{"gpu.example.com/model": "h100", "gpu.example.com/spot": ""},
		RuntimeClassName: "nvidia",
		Tolerations: []v1alpha1.Toleration{
			{Key: "nvidia.com/gpu", Operator: "Exists", Effect: "NoSchedule"},
			{Key: "team", Operator: "Equal", Value: "video", Effect: "NoExecute", TolerationSeconds: ptr.To(int64(300))},
		},
		ResourceClaims: []v1alpha1.StageResourceClaim{
			{Name: "gpu", ResourceClaimTemplateName: "two-h100", GPUs: ptr.To(int32(2))},
			{Name: "nic", ResourceClaimTemplateName: "rdma", GPUs: ptr.To(int32(0))},
		},
		SharedMemory: "8Gi",
	}
}

// What the admin says of the runtime's pods is nothing to the operator's own: they need no GPU's node.
func TestSettingsAreTheRuntimesStagesAlone(t *testing.T) {
	for name, w := range everyStage() {
		plain := jobs.Build(w).Spec.Template.Spec
		w.Runtime = w.Runtime.DeepCopy()
		w.Runtime.Weights = &v1alpha1.WeightsSpec{PVC: v1alpha1.PVCStore{ClaimName: "model-weights"}}
		for _, stage := range []*v1alpha1.StageTemplate{&w.Runtime.Sample, &w.Runtime.Track, &w.Runtime.Train} {
			stage.PodSettings = everySetting()
		}
		before := w.Runtime.DeepCopy()
		pod := jobs.Build(w).Spec.Template.Spec
		switch w.Spec.Stage {
		case "sample", "track", "train":
			if len(pod.ResourceClaims) != 2 || len(pod.Tolerations) != 2 || len(pod.NodeSelector) != 2 || pod.RuntimeClassName == nil {
				t.Errorf("%s lacks a setting: %+v", name, pod)
			}
		default:
			if diff := cmp.Diff(plain, pod); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
		if diff := cmp.Diff(before, w.Runtime); diff != "" {
			t.Errorf("Build changed the runtime: %s", diff)
		}
	}
}

// Other devices than the default, slices of one, and claims count by what the runtime says.
func TestCountedBy(t *testing.T) {
	limits := func(name corev1.ResourceName, n string) corev1.Container {
		return corev1.Container{Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{name: resource.MustParse(n)}}}
	}
	claims := func(templates ...string) (list []corev1.PodResourceClaim) {
		for _, name := range templates {
			list = append(list, corev1.PodResourceClaim{Name: name, ResourceClaimTemplateName: &name})
		}
		return list
	}
	r := v1alpha1.AlignmentRuntimeSpec{}
	r.Sample.ResourceClaims = []v1alpha1.StageResourceClaim{
		{Name: "a", ResourceClaimTemplateName: "small", GPUs: ptr.To(int32(1))}, {Name: "b", ResourceClaimTemplateName: "nic", GPUs: ptr.To(int32(0))},
	}
	r.Train.ResourceClaims = []v1alpha1.StageResourceClaim{
		{Name: "a", ResourceClaimTemplateName: "small", GPUs: ptr.To(int32(2))}, {Name: "b", ResourceClaimTemplateName: "large", GPUs: ptr.To(int32(8))},
	}
	tests := []struct {
		name     string
		resource string
		spec     corev1.PodSpec
		want     int64
	}{
		{"the default", "", corev1.PodSpec{Containers: []corev1.Container{limits(gpu, "2")}}, 2},
		{"another vendor's", "amd.com/gpu", corev1.PodSpec{Containers: []corev1.Container{limits("amd.com/gpu", "4")}}, 4},
		{"each slice is one", "nvidia.com/mig-1g.10gb", corev1.PodSpec{Containers: []corev1.Container{limits("nvidia.com/mig-1g.10gb", "3")}}, 3},
		{"what the runtime does not count", "amd.com/gpu", corev1.PodSpec{Containers: []corev1.Container{limits(gpu, "2")}}, 0},
		{"a claim", "", corev1.PodSpec{ResourceClaims: claims("large")}, 8},
		{"the most that a stage says of a template", "", corev1.PodSpec{ResourceClaims: claims("small")}, 2},
		{"several claims, one of them no GPU", "", corev1.PodSpec{ResourceClaims: claims("small", "nic", "large")}, 10},
		{"claims and an extended resource", "", corev1.PodSpec{Containers: []corev1.Container{limits(gpu, "1")}, ResourceClaims: claims("large")}, 9},
		{"a claim of somebody else", "", corev1.PodSpec{ResourceClaims: append(claims("other"), corev1.PodResourceClaim{Name: "x", ResourceClaimName: ptr.To("large")})}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r.GPUResourceName = tt.resource
			p := holding()
			p.Spec = tt.spec
			got, _ := jobs.Read(ended("sample", "", "", ""), []corev1.Pod{p}, at(60).Time, jobs.CountedBy(&r))
			var gpus int64
			for _, u := range got.Usage {
				gpus += u.GPUs
			}
			if gpus != tt.want {
				t.Errorf("%d GPUs, want %d", gpus, tt.want)
			}
		})
	}
}

// A claim that is not made keeps its pod from the scheduler, which then says nothing.
func TestReadStuckWithoutItsClaim(t *testing.T) {
	p := corev1.Pod{}
	p.Name, p.CreationTimestamp, p.Status.Phase = "a", at(0), corev1.PodPending
	p.Spec.ResourceClaims = []corev1.PodResourceClaim{{Name: "gpu", ResourceClaimTemplateName: ptr.To("h100")}}
	const want = `pod a has no ResourceClaim for gpu: is there a ResourceClaimTemplate "h100" in its namespace, and room for the claim in its quotas?`
	made := []corev1.PodResourceClaimStatus{{Name: "gpu", ResourceClaimName: ptr.To("a-gpu-x7k")}}
	for _, tt := range []struct {
		name    string
		seconds int
		claims  []corev1.PodResourceClaimStatus
		want    string
	}{
		{"at first", 20, nil, ""},
		{"soon", 21, nil, want},
		{"made", 3600, made, ""},
	} {
		p.Status.ResourceClaimStatuses = tt.claims
		got, _ := jobs.Read(ended("sample", "", "", ""), []corev1.Pod{p}, noon.Add(time.Duration(tt.seconds)*time.Second), counted)
		if got.Stuck != tt.want || got.Queued != (tt.want == "") {
			t.Errorf("%s: stuck %q, queued %t; want %q", tt.name, got.Stuck, got.Queued, tt.want)
		}
	}
}
