package controllers

import (
	"context"
	"errors"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/plan"
)

// ledger is where an object's status keeps what all kinds record.
type ledger struct {
	conditions *[]metav1.Condition
	// stages by iteration.
	stages   map[int32]*[]v1alpha1.StageStatus
	progress **v1alpha1.ProgressStatus
	// accepted says that the object was accepted, so that the runtime that it names exists.
	accepted bool
}

// subject is an object whose status is written: as it is recorded, and as it is planned.
type subject[Status any] struct {
	object client.Object
	// runtime that its spec names.
	runtime string
	// status of the object, that the plan went by.
	status *Status
	// recorded is what the API server holds: see Engine.recall.
	recorded *Status
	// urgent says that the status it was planned from should have been recorded.
	urgent bool
	// done ends the object's turn at the room that quotas leave.
	done   func()
	ledger func(*Status) ledger
	// announce emits the events of a recorded change.
	announce func(before, after *Status)
}

// settle is how long after a write an object is looked at again that nothing else is awaited of: what is remembered until the
// cache shows it is forgotten then.
const settle = 5 * time.Second

// refusal is how soon a child is tried again that the API server refused: what refused it, such as a quota that is gone from our
// cache and not from the API server's, may say nothing when it does so no more.
const refusal = 10 * time.Second

// carryOut executes a plan and records it: status is written once, also after a failed execute; events and
// metrics follow from the difference, and only when the write succeeded.
func carryOut[Status any](ctx context.Context, e *Engine, s subject[Status], next plan.Next[Status]) (ctrl.Result, error) {
	if len(next.Delete) > 0 || next.GiveBack != nil {
		behind, err := e.behind(ctx, s.object)
		if err != nil {
			return ctrl.Result{}, err
		}
		if behind {
			return e.delays.again(s.object), nil
		}
	}
	failed, err := e.execute(ctx, next.Create, next.Delete)
	err = errors.Join(err, e.resize(ctx, next.Resize), e.giveBack(ctx, next.GiveBack))
	e.rooms.want(s.object, next.WantsRoom, next.Waiting, e.Clock.Now())
	s.done()
	for _, f := range failed {
		s.takeBack(&next.Status, f, metav1.NewTime(e.Clock.Now()))
		if !f.refused() {
			err = errors.Join(err, f.err)
		}
	}
	*s.status = next.Status
	if s.write(next.Deferrable && !s.urgent && len(failed) == 0, e) {
		over := s.object.GetResourceVersion()
		began := e.Clock.Now()
		updateErr := e.Client.Status().Update(ctx, s.object)
		e.effort.took(e.Clock.Since(began))
		switch {
		case updateErr == nil:
			written(e, s.object, over, s.status)
			e.wrote.Store(deferralKey(s.object), e.Clock.Now())
		case apierrors.IsInvalid(updateErr) || apierrors.IsRequestEntityTooLargeError(updateErr):
			remember(e, s.object, s.recorded, s.recorded, false) // it will never be recorded
		default:
			remember(e, s.object, s.recorded, &next.Status, true)
		}
		if updateErr != nil {
			if apierrors.IsConflict(updateErr) && err == nil {
				// The cache is behind: what is newer is on its way and will be planned from.
				return e.delays.again(s.object), nil
			}
			return ctrl.Result{}, errors.Join(err, client.IgnoreNotFound(updateErr))
		}
		s.announce(s.recorded, s.status)
		e.count(s.object, s.runtime, s.ledger(s.recorded), s.ledger(s.status))
		if next.RequeueAfter == 0 {
			next.RequeueAfter = settle
		}
	} else {
		remember(e, s.object, s.recorded, s.status, false)
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	e.delays.over(s.object)
	if slices.ContainsFunc(failed, notCreated.refused) && (next.RequeueAfter == 0 || next.RequeueAfter > refusal) {
		next.RequeueAfter = refusal
	}
	return ctrl.Result{RequeueAfter: next.RequeueAfter}, nil
}

// write reports whether the planned status is to be written now. One that tells nothing but progress, or what its children
// could tell again, is written at its pace.
func (s subject[Status]) write(deferrable bool, e *Engine) bool {
	switch {
	case equality.Semantic.DeepEqual(s.recorded, s.status):
		return false
	case !deferrable:
		return true
	default:
		return e.Clock.Since(s.lastWrite(e)) >= s.pace(e)
	}
}

// lastWrite is when the status was last written: by this operator, or, as far as it tells, by an earlier one.
func (s subject[Status]) lastWrite(e *Engine) time.Time {
	if wrote, known := e.wrote.Load(deferralKey(s.object)); known {
		return wrote.(time.Time)
	}
	last, was := s.object.GetCreationTimestamp(), s.ledger(s.recorded)
	if was.progress != nil && *was.progress != nil && (*was.progress).LastUpdatedTime != nil {
		last = *(*was.progress).LastUpdatedTime
	}
	for _, records := range was.stages {
		for i := range *records {
			if counted := (*records)[i].UsageTime; counted != nil && counted.After(last.Time) {
				last = *counted
			}
		}
	}
	return last.Time
}

// pace is the least time between two writes of what may wait: a progress interval in the first minutes of a stage, and up to six
// as it goes on, or where the API server has too much to do. Nobody watches a stage of hours by the second, and each write is one
// of the object as a whole.
func (s subject[Status]) pace(e *Engine) time.Duration {
	const slowest = 6
	began := s.object.GetCreationTimestamp().Time
	for _, records := range s.ledger(s.status).stages {
		for i := range *records {
			rec := &(*records)[i]
			if rec.State == v1alpha1.StageRunning && rec.StartTime != nil && rec.StartTime.After(began) {
				began = rec.StartTime.Time // the youngest: what began just now is soon told of
			}
		}
	}
	least := e.Config.ProgressInterval
	return min(max(e.Clock.Since(began)/10, e.effort.pause(), least), slowest*least)
}

// takeBack records that a child could not be created, and says why when the API server refused it.
func (s subject[Status]) takeBack(planned *Status, f notCreated, now metav1.Time) {
	l := s.ledger(planned)
	ended, why := plan.Ended(*l.conditions), ""
	if ended {
		why = f.err.Error() // no condition changes any more
	}
	for _, records := range l.stages {
		plan.NotCreated(*records, f.child, why)
	}
	if f.refused() && !ended {
		plan.CreateRefused(l.conditions, *s.ledger(s.recorded).conditions, s.object.GetGeneration(), now, f.err.Error())
	}
}
