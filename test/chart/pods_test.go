package chart

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

func TestOperatorPodPassesRestricted(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	chartObjects, _ := render(t, "")
	for source, objects := range map[string][]object{"chart": chartObjects, "kustomize": kustomize(t, "config/default")} {
		pod := one[appsv1.Deployment](t, objects, "Deployment").Spec.Template
		for _, check := range evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec) {
			if !check.Allowed {
				t.Errorf("%s: %s: %s", source, check.ForbiddenReason, check.ForbiddenDetail)
			}
		}
		for _, container := range pod.Spec.Containers {
			if readOnly := container.SecurityContext.ReadOnlyRootFilesystem; readOnly == nil || !*readOnly {
				t.Errorf("%s: container %s can write its root file system", source, container.Name)
			}
			if container.Resources.Limits.Memory().IsZero() {
				t.Errorf("%s: container %s has no memory limit", source, container.Name)
			}
		}
	}
}

func TestNamespacesEnforceRestricted(t *testing.T) {
	for source, objects := range map[string][]object{
		"config/default":       kustomize(t, "config/default"),
		"namespace-ready.yaml": manifests(t, "config/samples/namespace-ready.yaml"),
	} {
		namespace := one[corev1.Namespace](t, objects, "Namespace")
		if level := namespace.Labels["pod-security.kubernetes.io/enforce"]; level != "restricted" {
			t.Errorf("%s: namespace %s enforces %q", source, namespace.Name, level)
		}
	}
}

// The store's egress is the only way out, and the operator on the progress port the only way in.
func TestStagePodsAreClosed(t *testing.T) {
	for _, test := range []struct {
		name    string
		objects func(*testing.T) []object
		egress  int
	}{
		{"chart, volume", func(t *testing.T) []object {
			objects, _ := render(t, "networkPolicy: {tenantNamespaces: [team-a]}")
			return objects
		}, 0},
		{"chart, S3", func(t *testing.T) []object {
			objects, _ := render(t, "networkPolicy: {tenantNamespaces: [team-a], storeEgress: [{cidr: 10.0.0.0/8, port: 9000}]}")
			return objects
		}, 2},
		{"kustomize, volume", func(t *testing.T) []object { return kustomize(t, "config/network-policy/volume") }, 0},
		{"kustomize, S3", func(t *testing.T) []object { return kustomize(t, "config/network-policy/s3") }, 2},
		{"namespace-ready", func(t *testing.T) []object { return manifests(t, "config/samples/namespace-ready.yaml") }, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			var ingress, egress, gangs int
			for _, o := range ofKind(test.objects(t), "NetworkPolicy") {
				var np networkingv1.NetworkPolicy
				convert(t, o, &np)
				if np.Spec.PodSelector.MatchLabels[labelGang] == "true" {
					checkGang(t, &np)
					gangs++
				}
				if np.Spec.PodSelector.MatchLabels["alignment.spatialalign.dev/managed"] != "true" {
					continue // the operator's own, and those of gangs
				}
				egress += len(np.Spec.Egress)
				for _, rule := range np.Spec.Egress {
					if len(rule.To) == 0 || len(rule.Ports) == 0 {
						t.Errorf("%s: egress without an end: %v", np.Name, rule)
					}
				}
				for _, rule := range np.Spec.Ingress {
					ingress++
					if len(rule.From) != 1 || rule.From[0].NamespaceSelector == nil || rule.From[0].PodSelector == nil {
						t.Errorf("%s: ingress is not from one kind of pod of one namespace: %v", np.Name, rule.From)
					}
					if len(rule.Ports) != 1 || rule.Ports[0].Port.IntValue() != 9400 {
						t.Errorf("%s: ingress on ports %v", np.Name, rule.Ports)
					}
				}
			}
			if ingress != 1 || egress != test.egress || gangs != 1 {
				t.Errorf("%d ingress and %d egress rules, %d policies of gangs, want 1, %d and 1", ingress, egress, gangs, test.egress)
			}
		})
	}
}

const labelGang = "alignment.spatialalign.dev/gang"

// checkGang wants a policy by which pods of trainings on several nodes reach each other, and names, and nothing else.
func checkGang(t *testing.T, np *networkingv1.NetworkPolicy) {
	t.Helper()
	each := func(peers []networkingv1.NetworkPolicyPeer) bool {
		return len(peers) == 1 && peers[0].NamespaceSelector == nil && peers[0].IPBlock == nil && peers[0].PodSelector.MatchLabels[labelGang] == "true"
	}
	if len(np.Spec.Ingress) != 1 || !each(np.Spec.Ingress[0].From) {
		t.Errorf("%s lets in %v", np.Name, np.Spec.Ingress)
	}
	if len(np.Spec.Egress) != 2 || !each(np.Spec.Egress[0].To) || len(np.Spec.Egress[1].Ports) != 2 {
		t.Errorf("%s lets out %v", np.Name, np.Spec.Egress)
	}
	for _, port := range np.Spec.Egress[1].Ports {
		if port.Port.IntValue() != 53 {
			t.Errorf("%s lets names be asked for on port %s", np.Name, port.Port)
		}
	}
}
