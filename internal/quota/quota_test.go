package quota_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/internal/quota"
)

// list of resources: "nvidia.com/gpu=1 memory=8Gi".
func list(text string) corev1.ResourceList {
	l := corev1.ResourceList{}
	for _, field := range strings.Fields(text) {
		name, q, _ := strings.Cut(field, "=")
		l[corev1.ResourceName(name)] = resource.MustParse(q)
	}
	return l
}

// pod with one container.
func pod(requests, limits string) *corev1.PodSpec {
	return &corev1.PodSpec{Containers: []corev1.Container{{
		Name: "stage", Resources: corev1.ResourceRequirements{Requests: list(requests), Limits: list(limits)},
	}}}
}

// quotaOf team-a, as the quota controller has counted it.
func quotaOf(hard, used string, scopes ...corev1.ResourceQuotaScope) corev1.ResourceQuota {
	return corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "team-a"}, Spec: corev1.ResourceQuotaSpec{Hard: list(hard), Scopes: scopes},
		Status: corev1.ResourceQuotaStatus{Hard: list(hard), Used: list(used)},
	}
}

// selecting is the same quota for pods that a scope selector matches.
func selecting(q corev1.ResourceQuota, op corev1.ScopeSelectorOperator, values ...string) corev1.ResourceQuota {
	q.Spec.ScopeSelector = &corev1.ScopeSelector{MatchExpressions: []corev1.ScopedResourceSelectorRequirement{
		{ScopeName: corev1.ResourceQuotaScopePriorityClass, Operator: op, Values: values},
	}}
	return q
}

// never is how a quota is told of that allows less in all than is asked for.
const never = `the stage can never fit ResourceQuota "team-a": it asks for `

// TestFit: how many of four pods fit beside a quota, and what the quota lacks for all four.
func TestFit(t *testing.T) {
	gpu := pod("", "nvidia.com/gpu=1 cpu=2 memory=8Gi")
	prioritized, short := gpu.DeepCopy(), gpu.DeepCopy()
	prioritized.PriorityClassName, short.ActiveDeadlineSeconds = "research", ptr.To(int64(60))
	none := quotaOf("requests.nvidia.com/gpu=0", "")
	claiming := pod("cpu=1", "")
	claiming.ResourceClaims = []corev1.PodResourceClaim{
		{Name: "gpu", ResourceClaimTemplateName: ptr.To("h100")}, {Name: "link", ResourceClaimTemplateName: ptr.To("nic")}, {Name: "shared", ResourceClaimName: ptr.To("one")},
	}
	tests := []struct {
		name  string
		quota corev1.ResourceQuota
		pod   *corev1.PodSpec
		want  int32
		lack  string
	}{
		{"room for all", quotaOf("requests.nvidia.com/gpu=8", "requests.nvidia.com/gpu=4"), gpu, 4, ""},
		{"room for some", quotaOf("requests.nvidia.com/gpu=8", "requests.nvidia.com/gpu=5"), gpu, 3,
			`ResourceQuota "team-a" lacks 1 requests.nvidia.com/gpu (5 of 8 used, 4 needed)`},
		{"room for none", quotaOf("requests.nvidia.com/gpu=8", "requests.nvidia.com/gpu=8"), gpu, 0,
			`ResourceQuota "team-a" lacks 4 requests.nvidia.com/gpu (8 of 8 used, 4 needed)`},
		{"lowered below what is used", quotaOf("requests.nvidia.com/gpu=4", "requests.nvidia.com/gpu=8"), gpu, 0,
			`ResourceQuota "team-a" lacks 8 requests.nvidia.com/gpu (8 of 4 used, 4 needed)`},
		{"a request is its limit where it is not told", quotaOf("requests.memory=20Gi", "requests.memory=0"), gpu, 2,
			never + `32Gi requests.memory, and the limit is 20Gi in all`},
		{"a resource by its short name is that of requests", quotaOf("cpu=5", "cpu=500m"), pod("cpu=1", "cpu=3"), 4, ""},
		{"limits", quotaOf("limits.cpu=5", "limits.cpu=500m"), pod("cpu=1", "cpu=3"), 1,
			never + `12 limits.cpu, and the limit is 5 in all`},
		{"several resources", quotaOf("requests.nvidia.com/gpu=4 memory=40Gi", "requests.nvidia.com/gpu=3 memory=16Gi"), gpu, 1,
			`ResourceQuota "team-a" lacks 8Gi memory (16Gi of 40Gi used, 32Gi needed), 3 requests.nvidia.com/gpu (3 of 4 used, 4 needed)`},
		{"several resources, and less in all than is asked for", quotaOf("requests.nvidia.com/gpu=2 memory=10Gi", "requests.nvidia.com/gpu=1 memory=9Gi"), gpu, 0,
			never + `32Gi memory, and the limit is 10Gi in all; for 4 requests.nvidia.com/gpu, and the limit is 2 in all`},
		{"pods that run", quotaOf("pods=10", "pods=7"), gpu, 3, `ResourceQuota "team-a" lacks 1 pods (7 of 10 used, 4 needed)`},
		{"pods that exist", quotaOf("count/pods=10", "count/pods=9"), gpu, 1, `ResourceQuota "team-a" lacks 3 count/pods (9 of 10 used, 4 needed)`},
		{"another GPU", quotaOf("requests.amd.com/gpu=0", ""), gpu, 4, ""},
		{"what no pod counts for", quotaOf("count/configmaps=0 services=0 persistentvolumeclaims=0", ""), gpu, 4, ""},
		{"a resource that pods do not ask for", quotaOf("requests.nvidia.com/gpu=1", "requests.nvidia.com/gpu=8"), pod("cpu=1", ""), 4, ""},
		{"huge pages", quotaOf("requests.hugepages-2Mi=4Mi", ""), pod("", "hugepages-2Mi=2Mi memory=1Gi"), 2,
			never + `8Mi requests.hugepages-2Mi, and the limit is 4Mi in all`},
		{"local storage", quotaOf("limits.ephemeral-storage=1Gi", ""), pod("", "ephemeral-storage=512Mi"), 2,
			never + `2Gi limits.ephemeral-storage, and the limit is 1Gi in all`},
		{"not counted yet", corev1.ResourceQuota{Spec: corev1.ResourceQuotaSpec{Hard: list("pods=0")}}, gpu, 4, ""},

		{"claims made from templates", quotaOf("count/resourceclaims.resource.k8s.io=9", "count/resourceclaims.resource.k8s.io=4"), claiming, 2,
			`ResourceQuota "team-a" lacks 3 count/resourceclaims.resource.k8s.io (4 of 9 used, 8 needed)`},
		{"claims of pods that have none", quotaOf("count/resourceclaims.resource.k8s.io=0", ""), gpu, 4, ""},

		{"CPU not told", quotaOf("limits.cpu=100 requests.memory=1Gi", ""), pod("", "nvidia.com/gpu=1"), 0,
			`ResourceQuota "team-a" admits no pod without requests.memory and limits.cpu: set it in the stage's resources, or a default in a LimitRange`},

		{"pods with a deadline", quotaOf("pods=0", "", corev1.ResourceQuotaScopeTerminating), gpu, 4, ""},
		{"pods with a deadline, and one of them", quotaOf("pods=0", "", corev1.ResourceQuotaScopeTerminating), short, 0, never + `4 pods, and the limit is 0 in all`},
		{"pods without a deadline", quotaOf("pods=0", "", corev1.ResourceQuotaScopeNotTerminating), gpu, 0, never + `4 pods, and the limit is 0 in all`},
		{"best effort", quotaOf("pods=0", "", corev1.ResourceQuotaScopeBestEffort), gpu, 4, ""},
		{"best effort, and one of them", quotaOf("pods=0", "", corev1.ResourceQuotaScopeBestEffort), pod("", "nvidia.com/gpu=1"), 0, never + `4 pods, and the limit is 0 in all`},
		{"not best effort", quotaOf("pods=0", "", corev1.ResourceQuotaScopeNotBestEffort), pod("", "nvidia.com/gpu=1"), 4, ""},
		{"two scopes", quotaOf("pods=0", "", corev1.ResourceQuotaScopeNotBestEffort, corev1.ResourceQuotaScopeTerminating), gpu, 4, ""},
		{"of a priority class", selecting(none, corev1.ScopeSelectorOpIn, "production", "research"), prioritized, 0,
			never + `4 requests.nvidia.com/gpu, and the limit is 0 in all`},
		{"of another priority class", selecting(none, corev1.ScopeSelectorOpIn, "production"), prioritized, 4, ""},
		{"of all but another priority class", selecting(none, corev1.ScopeSelectorOpNotIn, "production"), prioritized, 0,
			never + `4 requests.nvidia.com/gpu, and the limit is 0 in all`},
		{"of any priority class", selecting(none, corev1.ScopeSelectorOpExists), gpu, 4, ""},
		{"of no priority class", selecting(none, corev1.ScopeSelectorOpDoesNotExist), prioritized, 4, ""},
		{"pods across namespaces", quotaOf("pods=0", "", corev1.ResourceQuotaScopeCrossNamespacePodAffinity), gpu, 4, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			room, ask := quota.New([]corev1.ResourceQuota{tt.quota}, nil), quota.Ask{Pod: tt.pod}
			if got := room.Fit(ask, 4); got != tt.want {
				t.Errorf("%d pods fit, want %d", got, tt.want)
			}
			if got := said(room.Lack(ask, 4)); got != tt.lack {
				t.Errorf("all four lack %q\nwant          %q", got, tt.lack)
			}
		})
	}
}

func said(l *quota.Lack) string {
	if l == nil {
		return ""
	}
	return l.Message
}

// TestJobs: a quota may count Jobs, which no scope narrows. One that exists already counts no more.
func TestJobs(t *testing.T) {
	full := quotaOf("count/jobs.batch=3", "count/jobs.batch=3")
	want := `ResourceQuota "team-a" lacks 1 count/jobs.batch (3 of 3 used, 1 needed)`
	ask := quota.Ask{Pod: pod("cpu=1", ""), Job: true}
	room := quota.New([]corev1.ResourceQuota{full}, nil)
	if got, lack := room.Fit(ask, 4), said(room.Lack(ask, 4)); got != 0 || lack != want {
		t.Errorf("%d pods of a new Job fit, which lacks %q", got, lack)
	}
	if ask.Job = false; room.Fit(ask, 4) != 4 {
		t.Errorf("%d pods of an old Job fit", room.Fit(ask, 4))
	}
}

// TestServices: a gang's new Job brings a Service, which a quota may count by two names; no Service, no pods.
func TestServices(t *testing.T) {
	gang, alone := quota.Ask{Pod: pod("cpu=1", ""), Job: true, Service: true}, quota.Ask{Pod: pod("cpu=1", ""), Job: true}
	tests := []struct {
		name  string
		quota corev1.ResourceQuota
		ask   quota.Ask
		want  int32
		lack  string
	}{
		{"room", quotaOf("services=3", "services=2"), gang, 4, ""},
		{"used up", quotaOf("services=3", "services=3"), gang, 0, `ResourceQuota "team-a" lacks 1 services (3 of 3 used, 1 needed)`},
		{"used up, by its other name", quotaOf("count/services=3", "count/services=3"), gang, 0,
			`ResourceQuota "team-a" lacks 1 count/services (3 of 3 used, 1 needed)`},
		{"none at all", quotaOf("services=0", ""), gang, 0, never + `1 services, and the limit is 0 in all`},
		{"no business of a Job without one", quotaOf("services=0 count/services=0", ""), alone, 4, ""},
		{"Services of another kind", quotaOf("services.loadbalancers=0 services.nodeports=0", ""), gang, 4, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			room := quota.New([]corev1.ResourceQuota{tt.quota}, nil)
			if got := room.Fit(tt.ask, 4); got != tt.want {
				t.Errorf("%d pods fit, want %d", got, tt.want)
			}
			if got := said(room.Lack(tt.ask, 4)); got != tt.lack {
				t.Errorf("lacks %q\nwant   %q", got, tt.lack)
			}
		})
	}
	two := quota.New([]corev1.ResourceQuota{quotaOf("services=3", "services=2")}, nil)
	if two.Take(gang, 4); two.Fit(gang, 4) != 0 {
		t.Error("a second gang fits where there is room for one Service")
	}
}

// TestQueued: what a queue has admitted is in its hand, and in the way of nobody whom it is to admit; of anybody else it is.
func TestQueued(t *testing.T) {
	one := pod("", "nvidia.com/gpu=1")
	const full = `ResourceQuota "team-a" lacks 4 requests.nvidia.com/gpu (4 of 4 used, 4 needed)`
	for _, tt := range []struct {
		name         string
		used         string
		lent         int32
		queued       string
		withoutQueue string
	}{
		{"all used by others", "requests.nvidia.com/gpu=4", 0, full, full},
		{"all lent by a queue", "requests.nvidia.com/gpu=4", 4, "", full},
		{"some of it lent", "requests.nvidia.com/gpu=4", 3, `ResourceQuota "team-a" lacks 1 requests.nvidia.com/gpu (1 of 4 used, 4 needed)`, full},
		{"lent, and not counted yet", "requests.nvidia.com/gpu=1", 3, "", `ResourceQuota "team-a" lacks 1 requests.nvidia.com/gpu (1 of 4 used, 4 needed)`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			room := quota.New([]corev1.ResourceQuota{quotaOf("requests.nvidia.com/gpu=4", tt.used)}, nil)
			room.Lend(quota.Ask{Pod: one}, tt.lent)
			for queued, want := range map[bool]string{true: tt.queued, false: tt.withoutQueue} {
				if got := said(room.Clone().Lack(quota.Ask{Pod: one, Job: true, Queued: queued}, 4)); got != want {
					t.Errorf("queued: %v, lacks %q\nwant %q", queued, got, want)
				}
			}
		})
	}
	late := quota.New([]corev1.ResourceQuota{quotaOf("requests.nvidia.com/gpu=4", "requests.nvidia.com/gpu=1")}, nil)
	late.Lend(quota.Ask{Pod: one}, 3)
	late.Take(quota.Ask{Pod: one}, 1)
	if got := late.Fit(quota.Ask{Pod: one, Queued: true}, 9); got != 3 {
		t.Errorf("%d pods fit where one is promised and more is lent than counted: it makes no room for others", got)
	}
}

// TestTake: what is promised is no longer free, in all quotas that it counts in; a clone keeps it.
func TestTake(t *testing.T) {
	small, big := pod("", "nvidia.com/gpu=1"), pod("", "nvidia.com/gpu=4")
	second := quotaOf("pods=6", "pods=0")
	second.Name = "team-b"
	room := quota.New([]corev1.ResourceQuota{second, quotaOf("requests.nvidia.com/gpu=8", "requests.nvidia.com/gpu=1")}, nil)
	taken := room.Clone()
	taken.Take(quota.Ask{Pod: big, Job: true}, 1)
	for _, r := range []*quota.Room{taken, taken.Clone()} {
		if got := r.Fit(quota.Ask{Pod: small}, 9); got != 3 {
			t.Errorf("%d pods fit beside what is taken", got)
		}
		want := `ResourceQuota "team-a" lacks 1 requests.nvidia.com/gpu (5 of 8 used, 4 needed)`
		if got := said(r.Lack(quota.Ask{Pod: big}, 1)); got != want {
			t.Errorf("says %q\nwant %q", got, want)
		}
	}
	taken.Take(quota.Ask{Pod: pod("cpu=1", "")}, 3)
	if got := taken.Fit(quota.Ask{Pod: small}, 9); got != 2 {
		t.Errorf("%d pods fit beside what is taken of both quotas", got)
	}
	if got := room.Fit(quota.Ask{Pod: small}, 9); got != 6 {
		t.Errorf("%d pods fit where nothing is taken", got)
	}
}

// TestNoQuota: without quotas everything fits.
func TestNoQuota(t *testing.T) {
	room := quota.New(nil, nil).Clone()
	room.Take(quota.Ask{Pod: pod("", "nvidia.com/gpu=1")}, 32)
	if got := room.Fit(quota.Ask{Pod: pod("", "nvidia.com/gpu=99")}, 32); got != 32 {
		t.Errorf("%d pods fit", got)
	}
}

// TestLimitRanges: defaults count in the quota, and bounds refuse pods for good.
func TestLimitRanges(t *testing.T) {
	item := func(kind corev1.LimitType, edit func(*corev1.LimitRangeItem)) corev1.LimitRange {
		i := corev1.LimitRangeItem{Type: kind}
		edit(&i)
		return corev1.LimitRange{ObjectMeta: metav1.ObjectMeta{Name: "bounds"}, Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{i}}}
	}
	container, all := corev1.LimitTypeContainer, corev1.LimitTypePod
	defaults := item(container, func(i *corev1.LimitRangeItem) { i.Default, i.DefaultRequest = list("memory=4Gi"), list("memory=2Gi") })
	two := pod("cpu=1", "cpu=2")
	two.Containers = append(two.Containers, pod("cpu=1", "").Containers...)
	tests := []struct {
		name  string
		limit corev1.LimitRange
		pod   *corev1.PodSpec
		want  int32
		lack  string
	}{
		{"a default request", defaults, pod("cpu=1", ""), 5, ""},
		{"a limit of its own, which is its request", defaults, pod("", "memory=5Gi"), 2, ""},
		{"no default of that", item(container, func(i *corev1.LimitRangeItem) { i.Default = list("cpu=1") }), pod("", ""), 0,
			`ResourceQuota "team-a" admits no pod without requests.memory: set it in the stage's resources, or a default in a LimitRange`},
		{"other kinds are no business of pods", item(corev1.LimitTypePersistentVolumeClaim, func(i *corev1.LimitRangeItem) { i.Max = list("storage=1") }),
			pod("memory=5Gi", ""), 2, ""},
		{"within bounds", item(container, func(i *corev1.LimitRangeItem) { i.Min, i.Max = list("memory=1Gi"), list("memory=8Gi") }), pod("", "memory=5Gi"), 2, ""},
		{"too little", item(container, func(i *corev1.LimitRangeItem) { i.Min = list("memory=8Gi") }), pod("memory=5Gi", ""), 0,
			`LimitRange "bounds" refuses the stage's pods: a container must request at least 8Gi of memory, and requests 5Gi`},
		{"too low a limit", item(container, func(i *corev1.LimitRangeItem) { i.Min = list("cpu=2") }), pod("cpu=2 memory=1", "cpu=1"), 0,
			`LimitRange "bounds" refuses the stage's pods: a container must have a limit of at least 2 of cpu, and has 1`},
		{"nothing", item(container, func(i *corev1.LimitRangeItem) { i.Min = list("cpu=1") }), pod("memory=5Gi", ""), 0,
			`LimitRange "bounds" refuses the stage's pods: a container must request at least 1 of cpu, and requests none`},
		{"too much", item(container, func(i *corev1.LimitRangeItem) { i.Max = list("nvidia.com/gpu=2") }), pod("", "memory=1Gi nvidia.com/gpu=4"), 0,
			`LimitRange "bounds" refuses the stage's pods: a container may have a limit of at most 2 of nvidia.com/gpu, and has 4`},
		{"no limit", item(container, func(i *corev1.LimitRangeItem) { i.Max = list("memory=2Gi") }), pod("memory=1Gi", ""), 0,
			`LimitRange "bounds" refuses the stage's pods: a container must have a limit of at most 2Gi of memory, and has none`},
		{"too wide apart", item(container, func(i *corev1.LimitRangeItem) { i.MaxLimitRequestRatio = list("cpu=2") }), pod("cpu=500m memory=1Gi", "cpu=3"), 0,
			`LimitRange "bounds" refuses the stage's pods: a container may have a limit of cpu of at most 2 times its request, and has 6 times`},
		{"no ratio", item(container, func(i *corev1.LimitRangeItem) { i.MaxLimitRequestRatio = list("cpu=2") }), pod("cpu=1 memory=1Gi", ""), 0,
			`LimitRange "bounds" refuses the stage's pods: a container must have a request and a limit of cpu: their ratio may be at most 2`},
		{"a pod as a whole", item(all, func(i *corev1.LimitRangeItem) { i.Max = list("memory=2Gi") }), pod("", "memory=3Gi"), 0,
			`LimitRange "bounds" refuses the stage's pods: a pod may have a limit of at most 2Gi of memory, and has 3Gi`},
		{"a pod with a container without a limit", item(all, func(i *corev1.LimitRangeItem) { i.Max = list("cpu=9") }), two, 0,
			`LimitRange "bounds" refuses the stage's pods: a pod must have a limit of at most 9 of cpu, and has none`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := tt.pod.DeepCopy()
			room := quota.New([]corev1.ResourceQuota{quotaOf("requests.memory=10Gi", "")}, []corev1.LimitRange{tt.limit})
			ask := quota.Ask{Pod: tt.pod}
			if got := room.Fit(ask, 9); got != tt.want {
				t.Errorf("%d pods fit, want %d", got, tt.want)
			}
			lack := room.Lack(ask, 1)
			if got := said(lack); got != tt.lack || lack != nil && !lack.Never {
				t.Errorf("one lacks %q\nwant      %q, for ever", got, tt.lack)
			}
			if len(before.Containers[0].Resources.Requests) != len(tt.pod.Containers[0].Resources.Requests) {
				t.Error("the pod that was asked about is changed")
			}
		})
	}
}

// TestCapped: what others are to take beyond the quota is nothing that a stage lacks.
func TestCapped(t *testing.T) {
	one := quota.Ask{Pod: pod("", "nvidia.com/gpu=1")}
	for used, want := range map[string]string{
		"requests.nvidia.com/gpu=3": `ResourceQuota "team-a" lacks 1 requests.nvidia.com/gpu (4 of 4 used, 1 needed)`,
		"requests.nvidia.com/gpu=6": `ResourceQuota "team-a" lacks 3 requests.nvidia.com/gpu (6 of 4 used, 1 needed)`,
	} {
		room := quota.New([]corev1.ResourceQuota{quotaOf("requests.nvidia.com/gpu=4", used)}, nil)
		room.Take(one, 7)
		if got := said(room.Capped().Lack(one, 1)); got != want {
			t.Errorf("says %q\nwant %q", got, want)
		}
	}
}

// TestEver: what is more than the quota as a whole never fits.
func TestEver(t *testing.T) {
	room := quota.New([]corev1.ResourceQuota{quotaOf("requests.nvidia.com/gpu=4", "requests.nvidia.com/gpu=4")}, nil)
	ask := quota.Ask{Pod: pod("", "nvidia.com/gpu=1")}
	if !room.Ever(quota.Demand{Ask: ask, Pods: 4}) || room.Ever(quota.Demand{Ask: ask, Pods: 5}) {
		t.Error("4 pods fit once all has ended, 5 never")
	}
}

// TestTooSmall: a stage that no quota will ever have room for is told so, and not what others use, of that quota or of another.
func TestTooSmall(t *testing.T) {
	ask := quota.Ask{Pod: pod("", "nvidia.com/gpu=8")}
	full, small := quotaOf("requests.nvidia.com/gpu=8", "requests.nvidia.com/gpu=8"), quotaOf("requests.nvidia.com/gpu=4", "requests.nvidia.com/gpu=4")
	small.Name = "team-b"
	want := `the stage can never fit ResourceQuota "team-b": it asks for 8 requests.nvidia.com/gpu, and the limit is 4 in all`
	for _, room := range []*quota.Room{quota.New([]corev1.ResourceQuota{small}, nil), quota.New([]corev1.ResourceQuota{full, small}, nil)} {
		if lack := room.Lack(ask, 1); said(lack) != want || !lack.TooSmall || lack.Never {
			t.Errorf("says %+v\nwant %q", lack, want)
		}
	}
	if lack := quota.New([]corev1.ResourceQuota{full}, nil).Lack(ask, 1); lack == nil || lack.TooSmall {
		t.Errorf("of a quota that is only used up says %+v", lack)
	}
}

// TestAtLeast: pods that are seen count, also where the quota has not counted them.
func TestAtLeast(t *testing.T) {
	ask := quota.Ask{Pod: pod("", "nvidia.com/gpu=1")}
	for used, want := range map[string]int32{"": 1, "requests.nvidia.com/gpu=1": 1, "requests.nvidia.com/gpu=4": 0} {
		room := quota.New([]corev1.ResourceQuota{quotaOf("requests.nvidia.com/gpu=4", used)}, nil)
		seen := room.Empty()
		seen.Take(ask, 3)
		room.AtLeast(seen)
		if got := room.Fit(ask, 9); got != want {
			t.Errorf("%d pods fit beside three that are seen, where %q is counted; want %d", got, used, want)
		}
	}
}
