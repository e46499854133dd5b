// Package quota tells what the admission of a namespace makes of pods before they are asked for: what they count for in
// its ResourceQuotas, what its LimitRanges add to them or refuse, and how many fit now.
//
// It is pure, and goes by what Kubernetes' own admission does, which decides in the end.
package quota

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Room is what the quotas of a namespace leave at one time. A nil Room has no bounds.
type Room struct {
	accounts []account
	limits   []corev1.LimitRange
}

// account is one ResourceQuota.
type account struct {
	name   string
	scopes []corev1.ScopedResourceSelectorRequirement
	// hard and used are the status', by which admission goes; taken is what will be used besides, and lent what a queue may take back
	// of what is used.
	hard, used, taken, lent corev1.ResourceList
}

// New is the room in a namespace with these quotas and limit ranges; nil where there are none.
func New(quotas []corev1.ResourceQuota, limits []corev1.LimitRange) *Room {
	if len(quotas)+len(limits) == 0 {
		return nil
	}
	r := &Room{limits: slices.Clone(limits)}
	slices.SortFunc(r.limits, func(a, b corev1.LimitRange) int { return cmp.Compare(a.Name, b.Name) })
	for i := range quotas {
		q := &quotas[i]
		r.accounts = append(r.accounts, account{name: q.Name, scopes: scopes(q), hard: q.Status.Hard, used: q.Status.Used, taken: corev1.ResourceList{}, lent: corev1.ResourceList{}})
	}
	slices.SortFunc(r.accounts, func(a, b account) int { return cmp.Compare(a.name, b.name) })
	return r
}

// Clone is a room of its own, to take from.
func (r *Room) Clone() *Room {
	if r == nil {
		return nil
	}
	c := &Room{accounts: slices.Clone(r.accounts), limits: r.limits}
	for i := range c.accounts {
		c.accounts[i].taken = maps.Clone(c.accounts[i].taken)
	}
	return c
}

// Ask is what a Job asks for.
type Ask struct {
	// Pod of the Job.
	Pod *corev1.PodSpec
	// Job says that the Job itself does not exist yet, and Service that its Service does not.
	Job, Service bool
	// Queued says that a queue is to admit the Job: what queues have lent to others is not in its way.
	Queued bool
}

// Demand is an Ask for a number of pods.
type Demand struct {
	Ask
	Pods int32
}

// Ever says that a demand fits once all else has ended.
func (r *Room) Ever(d Demand) bool { return r.Empty().Lack(d.Ask, d.Pods) == nil }

// Empty is the room once all has ended.
func (r *Room) Empty() *Room {
	if r == nil {
		return nil
	}
	e := &Room{accounts: slices.Clone(r.accounts), limits: r.limits}
	for i := range e.accounts {
		e.accounts[i].used, e.accounts[i].taken = nil, corev1.ResourceList{}
	}
	return e
}

// AtLeast makes the room's quotas count no less than what was taken from another room of the same quotas.
func (r *Room) AtLeast(seen *Room) {
	if r == nil {
		return
	}
	for i := range r.accounts {
		c := &r.accounts[i]
		for name, least := range seen.accounts[i].taken {
			if used := c.used[name]; used.Cmp(least) < 0 {
				c.used = maps.Clone(c.used)
				if c.used == nil {
					c.used = corev1.ResourceList{}
				}
				c.used[name] = least
			}
		}
	}
}

// Capped is the room with no more taken than there is: what is asked for besides lacks as much as it needs, whatever others do. A
// pod that is seen later than the quota that counts it is not told of twice.
func (r *Room) Capped() *Room {
	c := r.Clone()
	if r == nil {
		return c
	}
	for i := range c.accounts {
		for name, taken := range c.accounts[i].taken {
			left := c.accounts[i].hard[name].DeepCopy()
			left.Sub(c.accounts[i].used[name])
			if left.Sign() < 0 {
				left = resource.Quantity{Format: left.Format}
			}
			if left.Cmp(taken) < 0 {
				c.accounts[i].taken[name] = left
			}
		}
	}
	return c
}

// Fit is how many pods fit, up to n. A Job that does not fit has none.
func (r *Room) Fit(a Ask, n int32) int32 {
	for ; n > 0 && r.Lack(a, n) != nil; n-- {
	}
	return max(n, 0)
}

// Take makes n pods part of what is used.
func (r *Room) Take(a Ask, n int32) {
	if r == nil {
		return
	}
	pod := r.admitted(a.Pod)
	for i := range r.accounts {
		add(r.accounts[i].taken, r.accounts[i].asked(a, pod, n))
	}
}

// Lend says of n pods that are used already that a queue has admitted them, and takes them back for whom it admits instead.
func (r *Room) Lend(a Ask, n int32) {
	if r == nil {
		return
	}
	pod := r.admitted(a.Pod)
	for i := range r.accounts {
		add(r.accounts[i].lent, r.accounts[i].asked(a, pod, n))
	}
}

func add(list, more corev1.ResourceList) {
	for name, q := range more {
		q.Add(list[name])
		list[name] = q
	}
}

// Lack is why pods are refused.
type Lack struct {
	// LimitRange says that no pod like these will ever be admitted, whatever ends: a LimitRange refuses it, or a quota for
	// what it does not tell of itself.
	Never bool
	// TooSmall says that a quota allows less in all than they ask for: nothing that ends makes room, only a larger quota does.
	TooSmall bool
	// Message names the object, and what is missing.
	Message string
}

// Lack is why n pods do not fit; nil when they do. What can never fit is told before what others use.
func (r *Room) Lack(a Ask, n int32) *Lack {
	if r == nil {
		return nil
	}
	pod := r.admitted(a.Pod)
	for i := range r.limits {
		if why := refusal(&r.limits[i], pod); n > 0 && why != "" {
			return &Lack{Never: true, Message: fmt.Sprintf("LimitRange %q refuses the stage's pods: %s", r.limits[i].Name, why)}
		}
	}
	var first *Lack
	for i := range r.accounts {
		lack := r.accounts[i].lack(a, pod, n)
		if lack != nil && (lack.Never || lack.TooSmall) {
			return lack
		}
		first = cmp.Or(first, lack)
	}
	return first
}

// lack of one quota.
func (c *account) lack(a Ask, pod *corev1.PodSpec, n int32) *Lack {
	if untold := c.untold(pod); n > 0 && len(untold) > 0 {
		return &Lack{Never: true, Message: fmt.Sprintf("ResourceQuota %q admits no pod without %s: set it in the stage's resources, or a default in a LimitRange",
			c.name, strings.Join(untold, " and "))}
	}
	asked := c.asked(a, pod, n)
	var short, beyond []string
	for _, name := range slices.Sorted(maps.Keys(asked)) {
		needed, hard := asked[name], c.hard[name]
		if needed.Cmp(hard) > 0 {
			beyond = append(beyond, fmt.Sprintf("%s %s, and the limit is %s in all", text(needed), name, text(hard)))
			continue
		}
		missing := needed.DeepCopy()
		used := c.inTheWay(a, name)
		missing.Add(used)
		if missing.Cmp(hard) <= 0 {
			continue
		}
		missing.Sub(hard)
		short = append(short, fmt.Sprintf("%s %s (%s of %s used, %s needed)", text(missing), name, text(used), text(hard), text(needed)))
	}
	if len(beyond) > 0 {
		return &Lack{TooSmall: true, Message: fmt.Sprintf("the stage can never fit ResourceQuota %q: it asks for %s", c.name, strings.Join(beyond, "; for "))}
	}
	if len(short) == 0 {
		return nil
	}
	return &Lack{Message: fmt.Sprintf("ResourceQuota %q lacks %s", c.name, strings.Join(short, ", "))}
}

// inTheWay is what of a resource is used. What is promised counts as used: it is so in a moment, and those who wait are not to be
// told of each pod that comes and goes.
func (c *account) inTheWay(a Ask, name corev1.ResourceName) resource.Quantity {
	used := c.used[name].DeepCopy()
	if lent := c.lent[name]; a.Queued {
		used.Sub(lent)
		if used.Sign() < 0 {
			used = resource.Quantity{Format: used.Format}
		}
	}
	used.Add(c.taken[name])
	return used
}

// asked is what a Job with n pods counts for in the quota: only what the quota bounds, and nothing that is zero.
func (c *account) asked(a Ask, pod *corev1.PodSpec, n int32) corev1.ResourceList {
	asked := corev1.ResourceList{}
	if c.covers(pod) {
		for name, each := range usage(pod) {
			if _, bounded := c.hard[name]; !bounded || each.IsZero() || n <= 0 {
				continue
			}
			total := resource.Quantity{Format: each.Format}
			for range n {
				total.Add(each)
			}
			asked[name] = total
		}
	}
	for name, total := range a.objects(n) {
		if _, bounded := c.hard[name]; bounded && total > 0 && len(c.scopes) == 0 {
			asked[name] = *resource.NewQuantity(total, resource.DecimalSI)
		}
	}
	return asked
}

// objects that n pods need besides, by the names that quotas have for them; scopes are of pods alone.
func (a Ask) objects(n int32) map[corev1.ResourceName]int64 {
	numbers := map[corev1.ResourceName]int64{countClaims: int64(n) * claims(a.Pod)}
	if a.Job {
		numbers[countJobs] = 1
	}
	if a.Service {
		numbers[countServices], numbers[corev1.ResourceServices] = 1, 1
	}
	return numbers
}

func text(q resource.Quantity) string { return q.String() }
