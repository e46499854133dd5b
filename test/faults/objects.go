//go:build faults

package faults

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
)

const (
	storeClaim = "store"
	// runName of runs whose ends are compared: a name enters lineage records.
	runName = "run"
	prompts = 30
	gpu     = corev1.ResourceName("nvidia.com/gpu")
)

// alignmentRuntime is the runtime of a namespace, named like it.
func alignmentRuntime(namespace string) *v1alpha1.AlignmentRuntime {
	digest := v1alpha1.Digest(contract.Digest([]byte("weights")))
	stage := func(shards int32) v1alpha1.StageTemplate {
		return v1alpha1.StageTemplate{Image: "runtime:1", Command: []string{"/runtime"}, Shards: shards, Resources: &corev1.ResourceRequirements{
			Limits: corev1.ResourceList{gpu: resource.MustParse("1")},
		}}
	}
	return &v1alpha1.AlignmentRuntime{
		ObjectMeta: metav1.ObjectMeta{Name: namespace},
		Spec: v1alpha1.AlignmentRuntimeSpec{
			AllowedNamespaces: []string{namespace},
			Model:             v1alpha1.ModelSpec{Name: "m", Digest: digest, NumericsRevision: "1"},
			Detector:          v1alpha1.DetectorSpec{Name: "d", Digest: digest, Revision: "1"},
			Store:             v1alpha1.StoreSpec{PVC: &v1alpha1.PVCStore{ClaimName: storeClaim}},
			Sample:            stage(2), Track: stage(2), Train: stage(1),
			Defaults: v1alpha1.RuntimeDefaults{
				Sampling:   v1alpha1.SamplingDefaults{SamplesPerPrompt: 5, SamplingParameters: v1alpha1.SamplingParameters{Steps: 12}},
				Training:   v1alpha1.TrainingDefaults{Steps: 120, PairsPerStep: 64, LearningRate: "0.001", LoRA: v1alpha1.LoRASpec{Rank: 8, Alpha: 8}},
				Evaluation: v1alpha1.EvaluationDefaults{SamplesPerPrompt: 20},
			},
		},
	}
}

// alignmentRun is the shortest useful AlignmentRun of a namespace.
func alignmentRun(namespace, name string, iterations int32) *v1alpha1.AlignmentRun {
	generate := func(seed int64) v1alpha1.PromptSource {
		return v1alpha1.PromptSource{Generate: &v1alpha1.GeneratedPrompts{Count: prompts, Seed: ptr.To(seed)}}
	}
	return &v1alpha1.AlignmentRun{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec: v1alpha1.AlignmentRunSpec{
			RuntimeRef: v1alpha1.RuntimeReference{Name: namespace},
			Prompts:    v1alpha1.PromptsSpec{Train: generate(1), Evaluation: generate(2)},
			Iterations: iterations,
		},
	}
}
