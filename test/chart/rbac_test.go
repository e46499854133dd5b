package chart

import (
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
)

const namespacedValues = `scope: {namespaces: [team-a, team-b]}`

// rolesOf returns every Role and ClusterRole with its rules.
func rolesOf(t *testing.T, objects []object) map[string][]rbacv1.PolicyRule {
	t.Helper()
	rules := map[string][]rbacv1.PolicyRule{}
	for _, o := range ofKind(objects, "Role", "ClusterRole") {
		var role rbacv1.ClusterRole // a Role has the same fields
		convert(t, o, &role)
		rules[id(o)] = role.Rules
	}
	if len(rules) == 0 {
		t.Fatal("no roles")
	}
	return rules
}

func allows(rules []rbacv1.PolicyRule, verb, group, resource string) bool {
	return slices.ContainsFunc(rules, func(r rbacv1.PolicyRule) bool {
		return slices.Contains(r.Verbs, verb) && slices.Contains(r.APIGroups, group) && slices.Contains(r.Resources, resource)
	})
}

func TestRolesGrantNothingDangerous(t *testing.T) {
	clusterWide, _ := render(t, "")
	namespaced, _ := render(t, namespacedValues)
	for scope, objects := range map[string][]object{
		"cluster-wide": clusterWide, "namespaced": namespaced, "kustomize": kustomize(t, "config/default"),
	} {
		for role, rules := range rolesOf(t, objects) {
			for _, rule := range rules {
				for _, verb := range []string{"*", "escalate", "bind", "impersonate"} {
					if slices.Contains(rule.Verbs, verb) {
						t.Errorf("%s: %s grants the verb %s", scope, role, verb)
					}
				}
				for _, resource := range []string{"*", "secrets", "pods/exec", "pods/attach", "pods/portforward", "serviceaccounts/token", "nodes", "nodes/proxy"} {
					if slices.Contains(rule.Resources, resource) {
						t.Errorf("%s: %s grants the resource %s", scope, role, resource)
					}
				}
				if slices.Contains(rule.APIGroups, "*") || slices.Contains(rule.NonResourceURLs, "*") {
					t.Errorf("%s: %s grants every group or URL", scope, role)
				}
			}
		}
	}
}

func TestOperatorCannotChangeWhatPeopleWrote(t *testing.T) {
	objects, _ := render(t, "")
	rules := rolesOf(t, objects)["ClusterRole /spatialalign-operator"]
	for _, verb := range []string{"create", "update", "patch", "delete", "deletecollection"} {
		for _, resource := range []string{"alignmentruns", "alignmentruntimes", "alignmentapprovals"} {
			ttl := resource == "alignmentruns" && verb == "delete" // ttlTarget: Run
			if allows(rules, verb, "alignment.spatialalign.dev", resource) != ttl {
				t.Errorf("the operator may %s %s: want %v", verb, resource, ttl)
			}
		}
		// Patched is their parallelism.
		if !slices.Contains([]string{"create", "patch", "delete"}, verb) && allows(rules, verb, "batch", "jobs") {
			t.Errorf("the operator may %s jobs", verb)
		}
		for _, bounds := range []string{"resourcequotas", "limitranges"} {
			if allows(rules, verb, "", bounds) {
				t.Errorf("the operator may %s %s", verb, bounds)
			}
		}
		// Its own Workloads, for runs that reserve as a whole.
		if !slices.Contains([]string{"create", "delete"}, verb) && allows(rules, verb, "kueue.x-k8s.io", "workloads") ||
			allows(rules, verb, "kueue.x-k8s.io", "localqueues") || allows(rules, verb, "kueue.x-k8s.io", "resourceflavors") || allows(rules, verb, "kueue.x-k8s.io", "workloadpriorityclasses") {
			t.Errorf("the operator may %s what is Kueue's", verb)
		}
		if allows(rules, verb, "", "pods") {
			t.Errorf("the operator may %s pods", verb)
		}
		if verb != "create" && allows(rules, verb, "", "services") {
			t.Errorf("the operator may %s services", verb)
		}
	}
}

// The right to create an AlignmentApproval is the whole right to approve: nobody has it but who was given it by name.
func TestNobodyApprovesByTheWay(t *testing.T) {
	byChart, _ := render(t, "")
	for source, objects := range map[string][]object{"chart": byChart, "kustomize": kustomize(t, "config/default")} {
		for _, o := range ofKind(objects, "Role", "ClusterRole") {
			var role rbacv1.ClusterRole
			convert(t, o, &role)
			for _, verb := range []string{"create", "update", "patch", "delete", "deletecollection"} {
				if o.GetName() != "spatialalign-approve" && allows(role.Rules, verb, "alignment.spatialalign.dev", "alignmentapprovals") {
					t.Errorf("%s: %s grants %s on alignmentapprovals", source, id(o), verb)
				}
			}
			if o.GetName() == "spatialalign-approve" && len(aggregated(o)) > 0 {
				t.Errorf("%s: %s is aggregated: %v", source, id(o), aggregated(o))
			}
		}
		roles := rolesOf(t, objects)
		if !allows(roles["ClusterRole /spatialalign-approve"], "create", "alignment.spatialalign.dev", "alignmentapprovals") {
			t.Errorf("%s: nobody can be given the right to approve", source)
		}
		for _, verb := range []string{"get", "list", "watch"} {
			for _, role := range []string{"view", "operator"} {
				if !allows(roles["ClusterRole /spatialalign-"+role], verb, "alignment.spatialalign.dev", "alignmentapprovals") {
					t.Errorf("%s: %s may not %s alignmentapprovals", source, role, verb)
				}
			}
		}
	}
}

// aggregated are the labels by which roles of Kubernetes take up a ClusterRole.
func aggregated(o object) []string {
	var labels []string
	for label := range o.GetLabels() {
		if strings.HasPrefix(label, "rbac.authorization.k8s.io/aggregate-to-") {
			labels = append(labels, label)
		}
	}
	return labels
}

func TestNamespacedOperatorHasOnlyWhatHasNoNamespaceClusterWide(t *testing.T) {
	objects, _ := render(t, namespacedValues)
	rules := rolesOf(t, objects)
	var granted []string
	for _, rule := range rules["ClusterRole /spatialalign-operator"] {
		granted = append(granted, rule.Resources...)
	}
	if want := []string{"alignmentruntimes", "resourceflavors", "workloadpriorityclasses", "tokenreviews", "subjectaccessreviews"}; !slices.Equal(granted, want) {
		t.Errorf("the ClusterRole is about %v, want %v", granted, want)
	}
	for _, namespace := range []string{"team-a", "team-b"} {
		if !allows(rules["Role "+namespace+"/spatialalign-operator"], "create", "batch", "jobs") {
			t.Errorf("the operator has no Role to create jobs in %s", namespace)
		}
	}
}

func TestLeaseIsLimitedToItsName(t *testing.T) {
	objects, _ := render(t, "")
	for _, rule := range rolesOf(t, objects)["Role spatialalign-system/spatialalign-leader-election"] {
		if slices.Contains(rule.Resources, "leases") && !slices.Equal(rule.Verbs, []string{"create"}) &&
			!slices.Equal(rule.ResourceNames, []string{"spatialalign-operator"}) {
			t.Errorf("verbs %v are granted on every lease", rule.Verbs)
		}
	}
}
