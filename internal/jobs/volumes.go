package jobs

import (
	"maps"
	"path"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
)

// storage mounts the stage spec (the pod's own annotation), a scratch directory, the store's claim and prompt ConfigMaps.
func storage(w Work) ([]corev1.Volume, []corev1.VolumeMount) {
	volumes := []corev1.Volume{
		{Name: "spec", VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{
			DefaultMode: ptr.To(int32(0o444)),
			Items: []corev1.DownwardAPIVolumeFile{{
				Path:     specFile,
				FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.annotations['" + v1alpha1.AnnotationSpec + "']"},
			}},
		}}},
		{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
	}
	mounts := []corev1.VolumeMount{
		{Name: "spec", MountPath: specDir, ReadOnly: true},
		{Name: "tmp", MountPath: "/tmp"},
	}
	if pvc := w.Runtime.Store.PVC; pvc != nil {
		volumes = append(volumes, corev1.Volume{Name: "store", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: pvc.ClaimName},
		}})
		mounts = append(mounts, corev1.VolumeMount{Name: "store", MountPath: storeDir})
	}
	for _, set := range slices.Sorted(maps.Keys(w.ConfigMaps)) {
		ref := w.ConfigMaps[set]
		volumes = append(volumes, corev1.Volume{Name: "prompts-" + set, VolumeSource: corev1.VolumeSource{
			ConfigMap: &corev1.ConfigMapVolumeSource{
				LocalObjectReference: corev1.LocalObjectReference{Name: ref.Name},
				Items:                []corev1.KeyToPath{{Key: ref.Key, Path: ref.Key}},
				DefaultMode:          ptr.To(int32(0o444)),
			},
		}})
		mounts = append(mounts, corev1.VolumeMount{Name: "prompts-" + set, MountPath: path.Join(PromptsDir, set), ReadOnly: true})
	}
	return volumes, mounts
}

func cpuResources() corev1.ResourceRequirements {
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{
			corev1.ResourceCPU:    resource.MustParse("50m"),
			corev1.ResourceMemory: resource.MustParse("64Mi"),
		},
		Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")},
	}
}

// failurePolicy maps the contract's exit codes: evictions and checkpoints cost nothing, what a retry cannot
// mend fails the Job at once, a bad input fails its index (the Job, where there is but one), all else counts.
func failurePolicy(w Work) *batchv1.PodFailurePolicy {
	badInput := batchv1.PodFailurePolicyActionFailIndex
	if w.Spec.Stage == contract.Train {
		if w.Nodes > 1 {
			return gangPolicy()
		}
		badInput = batchv1.PodFailurePolicyActionFailJob
	}
	return &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{
		{
			Action: batchv1.PodFailurePolicyActionIgnore,
			OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{
				{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue},
			},
		},
		onExit(batchv1.PodFailurePolicyActionIgnore, contract.ExitCheckpointed, contract.ExitSIGTERM),
		onExit(batchv1.PodFailurePolicyActionFailJob, contract.ExitBadSpec, contract.ExitMismatch, contract.ExitOutOfMemory, contract.ExitDiverged, contract.ExitTooManyInvalid),
		onExit(badInput, contract.ExitBadInput),
	}}
}

func onExit(action batchv1.PodFailurePolicyAction, codes ...contract.ExitCode) batchv1.PodFailurePolicyRule {
	values := make([]int32, len(codes))
	for i, c := range codes {
		values[i] = int32(c)
	}
	return batchv1.PodFailurePolicyRule{
		Action: action,
		OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{
			ContainerName: ptr.To(container), Operator: batchv1.PodFailurePolicyOnExitCodesOpIn, Values: values,
		},
	}
}
