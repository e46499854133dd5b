// Package figures computes how well runs that compete for GPUs shared them, from the times of their pods. Kubernetes keeps
// times in whole seconds: that is the error of each.
package figures

import (
	"slices"
	"time"
)

// Pod of a stage, with its times: bound to a node, running, ended.
type Pod struct {
	GPUs                      int64
	Scheduled, Running, Ended time.Time
}

// Job of a stage. Owner is the stage of the run that it is a part of, as a scoring has two Jobs.
type Job struct {
	Owner   Stage
	Created time.Time
	Pods    []Pod
}

// Stage of a run.
type Stage struct {
	Iteration int
	Name      string
}

// Run is one of the crowd, from its creation to its end.
type Run struct {
	Created, Ended time.Time
	Jobs           []Job
}

// Crowd shares so many GPUs.
type Crowd struct {
	GPUs int64
	Runs []Run
}

// Busy is the GPU time of all pods, from scheduling to end: what the operator counts as well.
func (c Crowd) Busy() time.Duration {
	return c.sum(func(p Pod) time.Duration { return time.Duration(p.GPUs) * p.Ended.Sub(p.Scheduled) })
}

// Computing is the part of it in which containers ran.
func (c Crowd) Computing() time.Duration {
	return c.sum(func(p Pod) time.Duration { return time.Duration(p.GPUs) * p.Ended.Sub(p.Running) })
}

func (c Crowd) sum(of func(Pod) time.Duration) (total time.Duration) {
	for _, r := range c.Runs {
		for _, j := range r.Jobs {
			for _, p := range j.Pods {
				total += of(p)
			}
		}
	}
	return total
}

// Makespan is from the first run's creation to the last one's end.
func (c Crowd) Makespan() time.Duration {
	first, last := c.Runs[0].Created, c.Runs[0].Ended
	for _, r := range c.Runs {
		if r.Created.Before(first) {
			first = r.Created
		}
		if r.Ended.After(last) {
			last = r.Ended
		}
	}
	return last.Sub(first)
}

// Utilisation is the share of the GPU time that was there and that pods had.
func (c Crowd) Utilisation() float64 {
	return float64(c.Busy()) / float64(c.GPUs) / float64(c.Makespan())
}

// Chain is the longest row of pods of one run of which each had to wait for the one before, as they lasted.
func (c Crowd) Chain() (longest time.Duration) {
	for _, r := range c.Runs {
		longest = max(longest, r.chain())
	}
	return longest
}

// rows of the stages of a run of one iteration that starts with a dataset, each of which has to wait for the one before: it trains
// beside the baseline.
var rows = [][]Stage{
	{{0, "Prepare"}, {0, "EvaluationSample"}, {0, "EvaluationScore"}},
	{{0, "Prepare"}, {1, "Train"}, {1, "EvaluationPrepare"}, {1, "EvaluationSample"}, {1, "EvaluationScore"}},
}

// chain of a run; what follows waits for both rows.
func (r Run) chain() (longest time.Duration) {
	last := r.lasted(Stage{1, "Compare"}) + r.lasted(Stage{1, "Lineage"})
	for _, row := range rows {
		total := time.Duration(0)
		for _, s := range row {
			total += r.lasted(s)
		}
		longest = max(longest, total+last)
	}
	return longest
}

// lasted is how long the Jobs of a stage had pods, which do not overlap.
func (r Run) lasted(s Stage) (total time.Duration) {
	for _, j := range r.of(s) {
		total += j.longest()
	}
	return total
}

// of a stage all Jobs.
func (r Run) of(s Stage) (list []Job) {
	for _, j := range r.Jobs {
		if j.Owner == s {
			list = append(list, j)
		}
	}
	return list
}

// longest of a Job's pods, which run side by side.
func (j Job) longest() (longest time.Duration) {
	for _, p := range j.Pods {
		longest = max(longest, p.Ended.Sub(p.Scheduled))
	}
	return longest
}

// Bound is what no scheduler could have been faster than, with pods that last as these did.
func (c Crowd) Bound() time.Duration {
	return max(c.Busy()/time.Duration(c.GPUs), c.Chain())
}

// Waits are, for each run, the times from a Job's creation until a pod of it ran, in all.
func (c Crowd) Waits() []time.Duration {
	return c.each(func(r Run) (total time.Duration) {
		for _, j := range r.Jobs {
			total += j.running().Sub(j.Created)
		}
		return total
	})
}

// running is when the first pod of a Job ran.
func (j Job) running() time.Time {
	return slices.MinFunc(j.Pods, func(a, b Pod) int { return a.Running.Compare(b.Running) }).Running
}

// Delays are, for each stage of each run that has GPUs, the times from the end of the stage before until a pod of it ran: also what
// it waited before it had a Job.
func (c Crowd) Delays() (list []time.Duration) {
	for _, r := range c.Runs {
		for _, row := range rows {
			before := r.Created
			for _, s := range row {
				jobs := r.of(s)
				if len(jobs) == 0 {
					continue
				}
				if slices.ContainsFunc(jobs, Job.onGPUs) {
					first := slices.MinFunc(jobs, func(a, b Job) int { return a.running().Compare(b.running()) })
					list = append(list, first.running().Sub(before))
				}
				before = slices.MaxFunc(jobs, func(a, b Job) int { return a.ended().Compare(b.ended()) }).ended()
			}
		}
	}
	return list
}

func (j Job) onGPUs() bool {
	return slices.ContainsFunc(j.Pods, func(p Pod) bool { return p.GPUs > 0 })
}

// ended is when the last pod of a Job had.
func (j Job) ended() time.Time {
	return slices.MaxFunc(j.Pods, func(a, b Pod) int { return a.Ended.Compare(b.Ended) }).Ended
}

// Starved says that the longest of some waits is more than three times the mean.
func Starved(waits []time.Duration) bool {
	mean, longest := Mean(waits)
	return longest > 3*mean
}

// Pauses are, for each run, the longest time without a GPU pod between the first one's start and the last one's end: what lies
// between two of its stages on GPUs, CPU stages included.
func (c Crowd) Pauses() []time.Duration {
	return c.each(func(r Run) (longest time.Duration) {
		pods := r.onGPUs()
		until := pods[0].Ended
		for _, p := range pods {
			longest = max(longest, p.Running.Sub(until))
			if p.Ended.After(until) {
				until = p.Ended
			}
		}
		return longest
	})
}

// Starts are, for each run, how long it was there until its first GPU pod ran.
func (c Crowd) Starts() []time.Duration {
	return c.each(func(r Run) time.Duration { return r.onGPUs()[0].Running.Sub(r.Created) })
}

// Lengths are, for each run, the time from its first GPU pod's start to its end.
func (c Crowd) Lengths() []time.Duration {
	return c.each(func(r Run) time.Duration { return r.Ended.Sub(r.onGPUs()[0].Running) })
}

// onGPUs are a run's pods on GPUs, in the order in which they ran.
func (r Run) onGPUs() (pods []Pod) {
	for _, j := range r.Jobs {
		for _, p := range j.Pods {
			if p.GPUs > 0 {
				pods = append(pods, p)
			}
		}
	}
	slices.SortFunc(pods, func(a, b Pod) int { return a.Running.Compare(b.Running) })
	return pods
}

func (c Crowd) each(of func(Run) time.Duration) (list []time.Duration) {
	for _, r := range c.Runs {
		list = append(list, of(r))
	}
	return list
}

// Mean and the longest of some times.
func Mean(list []time.Duration) (mean, longest time.Duration) {
	for _, d := range list {
		mean += d
	}
	return mean / time.Duration(len(list)), slices.Max(list)
}
