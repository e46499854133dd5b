package quota

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// The names of objects in quotas.
const (
	countJobs     corev1.ResourceName = "count/jobs.batch"
	countPods     corev1.ResourceName = "count/pods"
	countServices corev1.ResourceName = "count/services"
	countClaims   corev1.ResourceName = "count/resourceclaims.resource.k8s.io"
)

// requestPrefix of what a quota bounds by the requests of containers.
const requestPrefix = corev1.DefaultResourceRequestsPrefix

// scopes of a quota, all of which a pod must be in to count.
func scopes(q *corev1.ResourceQuota) []corev1.ScopedResourceSelectorRequirement {
	var list []corev1.ScopedResourceSelectorRequirement
	for _, s := range q.Spec.Scopes {
		list = append(list, corev1.ScopedResourceSelectorRequirement{ScopeName: s, Operator: corev1.ScopeSelectorOpExists})
	}
	if q.Spec.ScopeSelector != nil {
		list = append(list, q.Spec.ScopeSelector.MatchExpressions...)
	}
	return list
}

// covers says that the pod counts in the quota.
func (c *account) covers(pod *corev1.PodSpec) bool {
	for _, s := range c.scopes {
		if !within(s, pod) {
			return false
		}
	}
	for name := range c.hard {
		if ofPods(name) {
			return true
		}
	}
	return false
}

// within says that the pod is in a scope. One that is new to us has no stage pod: they are in none but these.
func within(s corev1.ScopedResourceSelectorRequirement, pod *corev1.PodSpec) bool {
	switch s.ScopeName {
	case corev1.ResourceQuotaScopeTerminating:
		return pod.ActiveDeadlineSeconds != nil
	case corev1.ResourceQuotaScopeNotTerminating:
		return pod.ActiveDeadlineSeconds == nil
	case corev1.ResourceQuotaScopeBestEffort:
		return bestEffort(pod)
	case corev1.ResourceQuotaScopeNotBestEffort:
		return !bestEffort(pod)
	case corev1.ResourceQuotaScopePriorityClass:
		class := pod.PriorityClassName
		switch s.Operator {
		case corev1.ScopeSelectorOpIn:
			return class != "" && slices.Contains(s.Values, class)
		case corev1.ScopeSelectorOpNotIn:
			return class == "" || !slices.Contains(s.Values, class)
		case corev1.ScopeSelectorOpDoesNotExist:
			return class == ""
		default:
			return class != ""
		}
	default:
		return false
	}
}

// bestEffort says that no container asks for, or is held to, CPU or memory.
func bestEffort(pod *corev1.PodSpec) bool {
	for i := range pod.Containers {
		r := &pod.Containers[i].Resources
		for _, list := range []corev1.ResourceList{r.Requests, r.Limits} {
			for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
				if q := list[name]; !q.IsZero() {
					return false
				}
			}
		}
	}
	return true
}

// ofPods says that a resource of a quota is counted by pods.
func ofPods(name corev1.ResourceName) bool {
	switch name {
	case countPods, corev1.ResourcePods, corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage,
		corev1.ResourceRequestsCPU, corev1.ResourceRequestsMemory, corev1.ResourceRequestsEphemeralStorage,
		corev1.ResourceLimitsCPU, corev1.ResourceLimitsMemory, corev1.ResourceLimitsEphemeralStorage:
		return true
	}
	bare := corev1.ResourceName(strings.TrimPrefix(string(name), requestPrefix))
	return hugePages(bare) || bare != name && extended(bare)
}

func hugePages(name corev1.ResourceName) bool {
	return strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix)
}

// extended says that the resource is none of Kubernetes' own: a GPU, as a rule.
func extended(name corev1.ResourceName) bool {
	return strings.Contains(string(name), "/") && !strings.Contains(string(name), corev1.ResourceDefaultNamespacePrefix)
}

// usage is what a running pod counts for in quotas. Stage pods have no other containers than these.
func usage(pod *corev1.PodSpec) corev1.ResourceList {
	one := *resource.NewQuantity(1, resource.DecimalSI)
	total := corev1.ResourceList{countPods: one, corev1.ResourcePods: one}
	for i := range pod.Containers {
		for name, q := range containerUsage(&pod.Containers[i]) {
			q = q.DeepCopy()
			q.Add(total[name])
			total[name] = q
		}
	}
	return total
}

// claims are how many ResourceClaims Kubernetes makes for the pod, from templates.
func claims(pod *corev1.PodSpec) (n int64) {
	for i := range pod.ResourceClaims {
		if pod.ResourceClaims[i].ResourceClaimTemplateName != nil {
			n++
		}
	}
	return n
}

// containerUsage is what a container counts for, by the names that quotas have for it.
func containerUsage(c *corev1.Container) corev1.ResourceList {
	list := corev1.ResourceList{}
	for name, q := range c.Resources.Requests {
		switch {
		case name == corev1.ResourceCPU, name == corev1.ResourceMemory, name == corev1.ResourceEphemeralStorage, hugePages(name):
			list[name], list[requestPrefix+name] = q, q
		case extended(name):
			list[requestPrefix+name] = q
		}
	}
	for name, q := range c.Resources.Limits {
		switch name {
		case corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage:
			list["limits."+name] = q
		}
	}
	return list
}

// untold are the resources of the quota that every container has to tell of, and some does not.
func (c *account) untold(pod *corev1.PodSpec) []string {
	if !c.covers(pod) {
		return nil
	}
	var names []string
	for _, name := range []corev1.ResourceName{
		corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceRequestsCPU, corev1.ResourceRequestsMemory,
		corev1.ResourceLimitsCPU, corev1.ResourceLimitsMemory,
	} {
		if _, bounded := c.hard[name]; !bounded {
			continue
		}
		for i := range pod.Containers {
			if _, told := containerUsage(&pod.Containers[i])[name]; !told {
				names = append(names, string(name))
				break
			}
		}
	}
	return names
}
