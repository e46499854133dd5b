package plan

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

// deadline ends a run whose pods ran for longer than activeDeadlineSeconds. Time in which none ran does not count.
func (r *runPlan) deadline() *ending {
	if !slices.ContainsFunc(r.stages.active, func(c *Child) bool { return !c.Outcome.Queued }) {
		r.idle()
		return nil
	}
	if r.status.ActiveSince == nil {
		r.status.ActiveSince = &r.Now
	}
	allowed := r.run.Spec.ActiveDeadlineSeconds
	if allowed == 0 {
		return nil
	}
	r.until = r.status.ActiveSince.Add(time.Duration(allowed-r.status.ActiveSeconds) * time.Second)
	if r.Now.Time.Before(r.until) {
		return nil
	}
	return &ending{v1alpha1.ReasonDeadlineExceeded, fmt.Sprintf("pods ran for activeDeadlineSeconds, %d", allowed), true}
}

// idle adds what was active up to now.
func (r *runPlan) idle() {
	if r.status.ActiveSince != nil {
		r.status.ActiveSeconds += max(int64(r.Now.Sub(r.status.ActiveSince.Time).Seconds()), 0)
		r.status.ActiveSince = nil
	}
}

// quota says whether a queue or a quota holds up one of the stages; a run without queues is told nothing until one does.
func (r *runPlan) quota() {
	queue := r.stages.queue()
	queues := queues(r.run.Spec.Scheduling)
	if !queues { // a busy node is none of this
		queue = slices.DeleteFunc(queue, func(c *Child) bool { return !c.lacksQuota() })
	}
	if unreserved := r.unreserved(); unreserved != nil {
		queue = append([]*Child{unreserved}, queue...)
	}
	if len(queue) > 0 || queues || meta.FindStatusCondition(r.status.Conditions, v1alpha1.ConditionQuotaReserved) != nil {
		r.cond.quota(queue, func(p jobs.Place) string { return fmt.Sprintf("iteration %d, stage %s: ", p.Iteration, p.Stage) })
	}
}

// unbegun says what keeps the run's first stage from being created: see stages.unbegun.
func (r *runPlan) unbegun() *failure {
	var records [][]v1alpha1.StageStatus
	for i := range r.status.Iterations {
		records = append(records, r.status.Iterations[i].Stages)
	}
	return r.stages.unbegun(records...)
}

// queues says that some stage is admitted by a queue.
func queues(s *v1alpha1.SchedulingSpec) bool {
	if s == nil {
		return false
	}
	for _, stage := range []*v1alpha1.StageScheduling{s.Sample, s.Track, s.Train} {
		if stage != nil && stage.QueueName != "" {
			return true
		}
	}
	return s.QueueName != ""
}
