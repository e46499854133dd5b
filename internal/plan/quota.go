package plan

import (
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
	"github.com/spatialalign/operator/internal/quota"
)

// roomInterval is how soon an object that wants more of a quota looks again, though no event came.
const roomInterval = 5 * time.Second

// Resize changes the parallelism of a Job, which is all that is ever changed of a child.
type Resize struct {
	Job         *batchv1.Job
	Parallelism int32
	// Live is how many pods of the Job were seen. Where there are more by now, a lower parallelism would end some.
	Live int32
}

// Waiter is a stage that has no pod for want of room.
type Waiter struct {
	// Own says that it is of the object that is planned.
	Own    bool
	Place  jobs.Place
	Demand quota.Demand
	// Served says that it has had its turn, and others took the room before its pods could.
	Served bool
}

// space hands out what the quotas of the namespace leave, in one pass over the stages of an object.
type space struct {
	room *quota.Room
	// line is who waits for room, and waiting are those of this object after this pass.
	line, waiting []Waiter
	resize        []Resize
	// short are stand-ins for the Jobs that are not created for want of room.
	short []*Child
	// wanting says that some Job has, or would have, fewer pods than it might.
	wanting bool
}

// AskOf is what a Job asks of quotas, and, where it does not exist yet, what is created with it.
func AskOf(job *batchv1.Job, isNew bool) quota.Ask {
	return quota.Ask{Pod: &job.Spec.Template.Spec, Job: isNew, Service: isNew && jobs.Gang(job), Queued: isNew && jobs.InQueue(job)}
}

// newSpace lets the object's own Jobs have what they have begun to take, before any other begins.
func newSpace(b *Base) *space {
	s := &space{room: b.Room.Clone(), line: b.Line}
	for _, see := range []func(*Child, *batchv1.Job){s.occupy, s.widen} {
		for i := range b.Children {
			if c := &b.Children[i]; c.Outcome.State == jobs.Active && !c.Deleting {
				if job, ok := c.Object.(*batchv1.Job); ok {
					see(c, job)
				}
			}
		}
	}
	return s
}

// occupy takes the room of a Job's pods that are yet to come. Those that quotas refuse are not left to the Job controller, which
// would try again less and less often: the Job is to have no more pods than it has, until there is room.
func (s *space) occupy(c *Child, job *batchv1.Job) {
	size, ask := c.Size, AskOf(job, false)
	fit := s.room.Fit(ask, size.Missing)
	s.room.Take(ask, fit)
	refused := size.Missing - fit
	if refused == 0 || !size.Tried {
		return
	}
	s.wanting = true
	left := size.Live + fit
	if size.Ours() {
		if c.Place.Stage == v1alpha1.StageTrain {
			left = 0 // its pods work together or not at all
		}
		s.resize = append(s.resize, Resize{Job: job, Parallelism: left, Live: size.Live})
	}
	switch {
	case left == 0:
		waits(c, s.room.Capped().Lack(ask, max(size.Least, 1)))
		if size.Ours() {
			s.waiting = append(s.waiting, Waiter{Own: true, Place: c.Place, Demand: quota.Demand{Ask: ask, Pods: size.Least}, Served: true})
		}
	case c.Outcome.Message == "":
		c.Outcome.Message = narrow(left, max(size.Most, size.Now))
	}
}

// widen raises the parallelism of a Job that has fewer pods than it might, before another one begins.
func (s *space) widen(c *Child, job *batchv1.Job) {
	size, ask := c.Size, AskOf(job, false)
	if !size.Ours() || size.Now >= size.Most || s.resizes(job) {
		return
	}
	if size.Now == 0 {
		if lack := s.lacks(Waiter{Place: c.Place, Demand: quota.Demand{Ask: ask, Pods: size.Least}, Served: true}); lack != nil {
			s.wanting = true
			waits(c, lack)
			return
		}
	}
	more := s.behind(c.Place).Fit(ask, size.Most-size.Now)
	s.wanting = s.wanting || more < size.Most-size.Now
	now := size.Now + more
	if more > 0 {
		s.room.Take(ask, more)
		s.resize = append(s.resize, Resize{Job: job, Parallelism: now, Live: size.Live})
	}
	if size.Now == 0 {
		c.Outcome.Message = ""
	}
	if now < size.Most && c.Outcome.Message == "" {
		c.Outcome.Message = narrow(now, size.Most)
	}
}

// narrow says that a Job has fewer pods than it might.
func narrow(now, most int32) string {
	return fmt.Sprintf("%d of %d pods at a time, for want of quota", now, most)
}

// waits says that a child has no pod for want of quota.
func waits(c *Child, lack *quota.Lack) {
	c.Outcome.Queued, c.Outcome.QueueReason, c.Outcome.Message = true, v1alpha1.ReasonQuotaExceeded, lack.Message
	c.Outcome.Stuck = "" // no start-up deadline runs
	switch {
	case lack.Never:
		c.Outcome.QueueReason = v1alpha1.ReasonPodsNotAdmitted
	case lack.TooSmall:
		c.Outcome.QueueReason = v1alpha1.ReasonQuotaTooSmall
	}
}

// place finds room for a new Job, and makes it as wide as fits; says tells where that is less than it might be. Without room it is not
// to be created. Of a Job in a queue, Kueue knows how wide it is to be, and when: what it may admit at least must have room by then, beside
// all that Kueue cannot take back.
func (s *space) place(o Object, at jobs.Place) (says string, fits bool) {
	job, ok := o.(*batchv1.Job)
	if !ok {
		return "", true
	}
	ask, bounds := AskOf(job, true), jobs.BoundsOf(job)
	if lack := s.lacks(Waiter{Place: at, Demand: quota.Demand{Ask: ask, Pods: jobs.Least(job)}}); lack != nil {
		waiting := &Child{Place: at}
		waits(waiting, lack)
		s.short, s.wanting = append(s.short, waiting), true
		return lack.Message, false
	}
	n := s.behind(at).Fit(ask, bounds.Most)
	s.room.Take(ask, n)
	if !bounds.Ours() || n == bounds.Most {
		return "", true
	}
	job.Spec.Parallelism, s.wanting = &n, true
	return narrow(n, bounds.Most), true
}

// lacks says why a stage without a pod may not begin: there is no room, or it is kept for those that wait longer. Then it stands
// in line.
func (s *space) lacks(w Waiter) *quota.Lack {
	lack := s.behind(w.Place).Capped().Lack(w.Demand.Ask, w.Demand.Pods)
	if w.Own = true; lack != nil && !lack.Never {
		s.waiting = append(s.waiting, w)
	}
	return lack
}

// behind is the room without what is kept for the stages of others that have waited for longer than the one at a place. Those that
// no room will ever be enough for hold nobody up.
func (s *space) behind(at jobs.Place) *quota.Room {
	room := s.room.Clone()
	for _, w := range s.line {
		switch {
		case w.Own && sameStage(w.Place, at):
			return room
		case !w.Own && room.Ever(w.Demand):
			room.Take(w.Demand.Ask, w.Demand.Pods)
		}
	}
	return room
}

func (s *space) resizes(job *batchv1.Job) bool {
	for _, r := range s.resize {
		if r.Job == job {
			return true
		}
	}
	return false
}

// again is when to look again: sooner than otherwise, where more room is wanted.
func (s *space) again(otherwise time.Duration) time.Duration {
	if s.wanting && (otherwise == 0 || otherwise > roomInterval) {
		return roomInterval
	}
	return otherwise
}
