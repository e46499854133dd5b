package quota

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// admitted is the pod as it is when quotas look at it: with the API server's and the limit ranges' defaults.
func (r *Room) admitted(spec *corev1.PodSpec) *corev1.PodSpec {
	pod := spec.DeepCopy()
	for i := range pod.Containers {
		res := &pod.Containers[i].Resources
		res.Requests = filled(res.Requests, res.Limits)
		for j := range r.limits {
			for _, item := range r.limits[j].Spec.Limits {
				if item.Type == corev1.LimitTypeContainer {
					res.Limits, res.Requests = filled(res.Limits, item.Default), filled(res.Requests, item.DefaultRequest)
				}
			}
		}
	}
	return pod
}

// filled is a list with the defaults of what it does not have.
func filled(list, defaults corev1.ResourceList) corev1.ResourceList {
	out := corev1.ResourceList{}
	maps.Copy(out, defaults)
	maps.Copy(out, list)
	return out
}

// refusal is why a limit range refuses the pod; empty when it does not.
func refusal(l *corev1.LimitRange, pod *corev1.PodSpec) string {
	for _, item := range l.Spec.Limits {
		switch item.Type {
		case corev1.LimitTypeContainer:
			for i := range pod.Containers {
				res := &pod.Containers[i].Resources
				if why := beyond(&item, "a container", res.Requests, res.Limits); why != "" {
					return why
				}
			}
		case corev1.LimitTypePod:
			if why := beyond(&item, "a pod", sum(pod, requests), sum(pod, limits)); why != "" {
				return why
			}
		}
	}
	return ""
}

func requests(r *corev1.ResourceRequirements) corev1.ResourceList { return r.Requests }
func limits(r *corev1.ResourceRequirements) corev1.ResourceList   { return r.Limits }

// sum of what all containers have; what one of them does not tell has no sum.
func sum(pod *corev1.PodSpec, of func(*corev1.ResourceRequirements) corev1.ResourceList) corev1.ResourceList {
	total, told := corev1.ResourceList{}, map[corev1.ResourceName]int{}
	for i := range pod.Containers {
		for name, q := range of(&pod.Containers[i].Resources) {
			q = q.DeepCopy()
			q.Add(total[name])
			total[name] = q
			told[name]++
		}
	}
	maps.DeleteFunc(total, func(name corev1.ResourceName, _ resource.Quantity) bool { return told[name] < len(pod.Containers) })
	return total
}

// beyond says how requests and limits break a limit range's bounds; empty when they do not.
func beyond(item *corev1.LimitRangeItem, of string, requests, limits corev1.ResourceList) string {
	for _, name := range sorted(item.Min) {
		least := item.Min[name]
		request, requested := requests[name]
		limit, limited := limits[name]
		switch {
		case !requested:
			return fmt.Sprintf("%s must request at least %s of %s, and requests none", of, text(least), name)
		case request.Cmp(least) < 0:
			return fmt.Sprintf("%s must request at least %s of %s, and requests %s", of, text(least), name, text(request))
		case limited && limit.Cmp(least) < 0:
			return fmt.Sprintf("%s must have a limit of at least %s of %s, and has %s", of, text(least), name, text(limit))
		}
	}
	for _, name := range sorted(item.Max) {
		most := item.Max[name]
		request := requests[name]
		limit, limited := limits[name]
		switch {
		case !limited:
			return fmt.Sprintf("%s must have a limit of at most %s of %s, and has none", of, text(most), name)
		case limit.Cmp(most) > 0:
			return fmt.Sprintf("%s may have a limit of at most %s of %s, and has %s", of, text(most), name, text(limit))
		case request.Cmp(most) > 0:
			return fmt.Sprintf("%s may request at most %s of %s, and requests %s", of, text(most), name, text(request))
		}
	}
	for _, name := range sorted(item.MaxLimitRequestRatio) {
		most := item.MaxLimitRequestRatio[name]
		request, limit := requests[name], limits[name]
		if request.IsZero() || limit.IsZero() {
			return fmt.Sprintf("%s must have a request and a limit of %s: their ratio may be at most %s", of, name, text(most))
		}
		if ratio := limit.AsApproximateFloat64() / request.AsApproximateFloat64(); ratio > most.AsApproximateFloat64() {
			return fmt.Sprintf("%s may have a limit of %s of at most %s times its request, and has %.3g times", of, name, text(most), ratio)
		}
	}
	return ""
}

func sorted(list corev1.ResourceList) []corev1.ResourceName { return slices.Sorted(maps.Keys(list)) }
