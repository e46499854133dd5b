package plan

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jobs"
)

// A run may have one reservation for all its stages: a Workload of Kueue that it owns, as large as its largest stage. Its stages
// on GPUs then run one at a time, within that.

// Reserves says that a run asks for a reservation as a whole.
func Reserves(s *v1alpha1.SchedulingSpec) bool {
	return s != nil && s.Reservation == v1alpha1.ReservationRun
}

func (r *runPlan) reserves() bool { return Reserves(r.run.Spec.Scheduling) }

// reserved is what the run has now; nil for nothing. What was asked for with another scheduling is to be given back.
func (r *runPlan) reserved() *jobs.Reserved {
	if !r.reserves() || r.Reservation == nil {
		return nil
	}
	return r.Reservation.For(r.asked())
}

// refused says that the run may not have a reservation, or not any more: no other stage begins in it.
func (r *runPlan) refused() bool { return r.Reservation != nil && r.Reservation.Problem != "" }

func (r *runPlan) asked() jobs.Asked {
	a := jobs.Asked{Owner: r.owner(), Scheduling: r.run.Spec.Scheduling}
	if r.Reservation != nil {
		a.Version, a.Priority = r.Reservation.Version, r.Reservation.Priority
	}
	return a
}

// occupies says that the child has pods on GPUs, or may yet have. Those of a lost node do not count: nobody knows until when.
func (c *Child) occupies() bool {
	if !onGPUs(c) || c.Outcome.Lost || c.Outcome.State != jobs.Active && !c.leaving() || c.forced() {
		return false
	}
	return c.Batch == nil || !succeeded(stageRecord(c.Batch.Status.Stages, v1alpha1.StageTrack, 0))
}

// forced says that Kueue holds a child that it should have nothing to say about: it has no pods, and will have none.
func (c *Child) forced() bool { return c.Outcome.QueueReason == v1alpha1.ReasonQueueForced }

// forced says that a reservation is of no use, because Kueue queues the run's Jobs as well.
func (r *runPlan) forced() bool {
	return slices.ContainsFunc(r.Children, func(c Child) bool { return c.forced() })
}

// occupied says that some child of the run has pods on GPUs.
func (r *runPlan) occupied() bool {
	return slices.ContainsFunc(r.Children, func(c Child) bool { return c.occupies() })
}

// kept says what a stage on GPUs waits for before it starts: the run's reservation, or the stage that uses it.
func (r *runPlan) kept(o Object, at jobs.Place) string {
	switch {
	case !r.reserves() || !onGPUs(&Child{Object: o, Place: at}):
		return ""
	case r.reserved() == nil || r.refused():
		return "waits for the run's reservation"
	case slices.ContainsFunc(r.Children, func(c Child) bool { return c.occupies() && !sameStage(c.Place, at) }),
		slices.ContainsFunc(r.stages.active, (*Child).occupies): // one that this pass starts
		return "waits for the stage that uses the run's reservation"
	default:
		return ""
	}
}

// evict takes the children off the GPUs that the run has no reservation for any more. Their work is in the store, and they have not
// failed: they go as if somebody had deleted them. While nobody can tell what Kueue says, what runs goes on.
func (r *runPlan) evict() []Object {
	if !r.reserves() || r.reserved() != nil || r.Reservation == nil || !r.Reservation.Known || r.Reservation.Unclear {
		return nil
	}
	var objects []Object
	for i := range r.Children {
		if c := &r.Children[i]; c.occupies() && !c.Deleting {
			objects = append(objects, c.Object)
			c.Deleting = true
		}
	}
	return objects
}

// unreserved says what of the run's reservation is missing to the stages that wait for it; nil for nothing.
func (r *runPlan) unreserved() *Child {
	i := slices.IndexFunc(r.stages.waiting, gpuStage)
	if i < 0 || !r.reserves() || r.reserved() != nil && !r.refused() || r.Reservation == nil || r.stages.holds(r.stages.waiting[i]) || r.forced() {
		return nil
	}
	c := &Child{Place: r.stages.waiting[i], Outcome: jobs.Outcome{Queued: true}}
	is := *r.Reservation
	if r.useless() {
		is.Object, is.Workload = nil, nil // it is to go, and says nothing about the next one
	}
	c.Outcome.QueueReason, c.Outcome.Message = is.Waiting(r.run.Spec.Scheduling.QueueName)
	if _, why := r.workload(); why != "" {
		c.Outcome.QueueReason, c.Outcome.Message = v1alpha1.ReasonReservationRefused, why
	}
	return c
}

// workload is what reserves for the run; why says why there can be none.
func (r *runPlan) workload() (o Object, why string) {
	var stages []jobs.Work
	training := ptr.Deref(r.run.Spec.Training, v1alpha1.TrainingSpec{})
	for _, stage := range []contract.Stage{contract.Sample, contract.Track, contract.Train} {
		stages = append(stages, jobs.Work{
			Spec: contract.Spec{Stage: stage}, Runtime: &r.status.Runtime.Spec, Scheduling: r.run.Spec.Scheduling,
			Nodes: training.Nodes, GPUsPerNode: training.GPUsPerNode,
		})
	}
	return jobs.Reserve(r.asked(), stages)
}

// keep asks for the run's reservation when a stage needs it, and gives it back when the run has ended, is suspended, waits for an
// answer, or Kueue takes it. While pods use the GPUs that it stands for, it stays.
func (r *runPlan) keep(next *Next[v1alpha1.AlignmentRunStatus]) {
	is := r.Reservation
	if is == nil || is.Absent || is.Trouble != "" || !is.Known {
		return
	}
	wanted := r.reserves() && !r.rests(&next.Status)
	switch {
	case is.Object == nil:
		if unreserved := r.unreserved(); wanted && unreserved != nil && !r.refused() {
			if o, why := r.workload(); why == "" {
				next.Create = append(next.Create, o)
			}
		}
	case r.occupied():
		if again := r.Config.ProgressInterval; next.RequeueAfter == 0 || next.RequeueAfter > again {
			next.RequeueAfter = again
		}
	case is.Object.GetDeletionTimestamp() != nil:
	case !wanted || r.refused() || r.useless():
		next.Delete = append(next.Delete, is.Object)
	case is.TakenBack():
		next.GiveBack = is.GivenBack(r.Now)
	}
}

// useless says that the Workload is finished, or was asked for with another scheduling.
func (r *runPlan) useless() bool {
	return r.Reservation.Object != nil && (r.Reservation.Over() || !r.Reservation.MadeFor(r.asked()))
}

// rests says that the run does nothing that needs GPUs, and will not by itself.
func (r *runPlan) rests(s *v1alpha1.AlignmentRunStatus) bool {
	return Ended(s.Conditions) || r.forced() || meta.IsStatusConditionTrue(s.Conditions, v1alpha1.ConditionSuspended) ||
		s.PendingApproval != nil && !slices.ContainsFunc(r.stages.waiting, gpuStage)
}
