package plan

import (
	"fmt"
	"maps"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jobs"
)

// stages moves the stages of one object on, each as far as it can go now.
type stages struct {
	now      metav1.Time
	retries  int32
	children []Child
	// startup is how long a pod may be unable to start; 0 is for ever.
	startup time.Duration
	// hopeless is a class of failure that another attempt would meet again, beside those that are Final; empty for none.
	hopeless string
	// held says that a stage's result is recorded but nothing is started; nil for no stage.
	held func(jobs.Place) bool
	// kept says what a child waits for although nothing holds its stage; empty for nothing. nil keeps none.
	kept func(Object, jobs.Place) string
	// space is what quotas leave to the stages.
	space *space

	create []Object
	active []*Child
	// enqueued says that a Job is created that waits for its queue's word.
	enqueued bool
	// waiting are the stages whose next attempt starts when the former's pods are gone, when there is room, or nothing holds it any more.
	waiting []jobs.Place
	failed  *failure
}

// step moves the stage at a place on; the place's attempt does not matter. done says that its result is recorded; result
// is its child in the one pass in which it becomes so, for the caller to take what the child brings into status.
//
// build makes the child of an attempt.
func (s *stages) step(records *[]v1alpha1.StageStatus, at jobs.Place, build func(jobs.Place) Object) (done bool, result *Child) {
	rec := stageRecord(*records, at.Stage, at.Round)
	if rec != nil && rec.State != v1alpha1.StageRunning {
		return succeeded(rec), nil
	}
	child := newest(s.children, at)
	if rec == nil && child == nil && s.holds(at) {
		return false, nil
	}
	if rec == nil {
		*records = append(*records, newRecord(at, child, s.now))
		rec = &(*records)[len(*records)-1]
	}
	know(rec, at, s.children)
	if child != nil && child.Place.Attempt == *rec.Attempt && rec.WaitSeconds == nil && child.Outcome.Waited != nil {
		rec.WaitSeconds = ptr.To(int64(child.Outcome.Waited.Seconds()))
	}
	switch {
	case child != nil && child.Place.Attempt < *rec.Attempt && child.leaving():
		s.waiting = append(s.waiting, at) // its failure is recorded; its pods may still write
	case child == nil || child.Place.Attempt < *rec.Attempt:
		if rec.Child == "" {
			s.start(rec, at, *rec.Attempt, build)
		} else {
			// The recorded attempt's child existed and is gone: suspended, or deleted by somebody.
			s.start(rec, at, *rec.Attempt+1, build)
		}
	case child.Deleting && !child.Outcome.Lost:
		s.waiting = append(s.waiting, at) // foreground deletion says when its pods are gone
	case child.Outcome.State == jobs.Active:
		s.watch(rec, at, child)
	case child.Outcome.State == jobs.Succeeded:
		rec.State, rec.CompletionTime, rec.Message, rec.StuckSince = v1alpha1.StageSucceeded, &s.now, "", nil
		rec.Outputs, rec.Image = outputs(child.Outcome.Outputs), clip(child.Outcome.Image, maxImage)
		rec.TrackImage = clip(child.Outcome.TrackImage, maxImage)
		return true, child
	default:
		s.retry(rec, at, child, build)
	}
	return false, nil
}

func (s *stages) holds(at jobs.Place) bool { return s.held != nil && s.held(at) }

func (s *stages) keeps(o Object, at jobs.Place) string {
	if s.kept == nil {
		return ""
	}
	return s.kept(o, at)
}

// start makes the child of an attempt, once nothing keeps it and quotas leave room for it.
func (s *stages) start(rec *v1alpha1.StageStatus, at jobs.Place, attempt int32, build func(jobs.Place) Object) {
	if s.holds(at) {
		s.waiting = append(s.waiting, at)
		return
	}
	at.Attempt = attempt
	object := build(at)
	first := attempt == 0 && rec.Failures == 0
	if says := s.keeps(object, at); says != "" {
		if first {
			rec.Message = says
		}
		s.waiting = append(s.waiting, at)
		return
	}
	says, fits := s.space.place(object, at)
	if first || fits && says != "" {
		rec.Message = clip(says, maxStageMessage) // else what ended the last attempt stays
	}
	if !fits {
		rec.Attempt, rec.Child, rec.WaitSeconds = ptr.To(attempt), "", nil
		s.waiting = append(s.waiting, at)
		return
	}
	rec.Attempt, rec.Child, rec.StuckSince, rec.WaitSeconds = ptr.To(attempt), object.GetName(), nil, nil
	s.create = append(s.create, object)
	if job, ok := object.(*batchv1.Job); ok && ptr.Deref(job.Spec.Suspend, false) {
		s.enqueued = true
	}
	s.active = append(s.active, &Child{Object: object, Place: at})
}

// firstLook is when to look at a Job that was just put in a queue. Kueue answers by itself; where there is none, nobody does.
const firstLook = 2 * time.Second

// watch records what an active child says, and fails the stage when a pod of it could not start for too long.
func (s *stages) watch(rec *v1alpha1.StageStatus, at jobs.Place, child *Child) {
	again := rec.Failures > 0 || *rec.Attempt > 0
	if child.Outcome.Message != "" || !again || rec.StuckSince != nil {
		rec.Message = clip(child.Outcome.Message, maxStageMessage) // else what ended the last attempt stays
	}
	s.active = append(s.active, child)
	if job, ok := child.Object.(*batchv1.Job); ok && child.Unnamed {
		s.create = append(s.create, jobs.Service(job)) // the one that came with the Job was lost, or is gone
	}
	if child.Outcome.Stuck == "" {
		rec.StuckSince = nil
		return
	}
	if rec.StuckSince == nil {
		rec.StuckSince = &s.now
	}
	if s.startup > 0 && s.now.Sub(rec.StuckSince.Time) >= s.startup {
		rec.Failures++
		rec.State, rec.CompletionTime = v1alpha1.StageFailed, &s.now
		rec.Message = clip(fmt.Sprintf("no start within startupDeadlineSeconds (%.0f): %s", s.startup.Seconds(), child.Outcome.Stuck), maxStageMessage)
		s.fail(rec, at.Iteration, child)
	}
}

// retry follows a failed child with another attempt, as long as there are any left. A disruption is no failure of the stage.
func (s *stages) retry(rec *v1alpha1.StageStatus, at jobs.Place, child *Child, build func(jobs.Place) Object) {
	rec.Message = clip(fmt.Sprintf("%s: %s", child.Outcome.Class, child.Outcome.Message), maxStageMessage)
	if !child.Outcome.Disrupted {
		rec.Failures++
		final := child.Outcome.Final || s.hopeless != "" && child.Outcome.Class == s.hopeless
		if (final || rec.Failures > s.retries) && (!child.takesStored() || judged(child)) {
			rec.State, rec.CompletionTime = v1alpha1.StageFailed, &s.now
			s.fail(rec, at.Iteration, child)
			return
		}
	}
	rec.Attempt, rec.Child, rec.WaitSeconds = ptr.To(*rec.Attempt+1), "", nil
	if child.Outcome.Endless && !child.Outcome.Lost || s.holds(at) {
		s.waiting = append(s.waiting, at) // it starts when this one is gone, or the hold is over
		return
	}
	s.start(rec, at, *rec.Attempt, build)
}

// queue is all that may have to wait for quota: what is active, and what is not created for want of room.
func (s *stages) queue() []*Child { return append(slices.Clone(s.active), s.space.short...) }

// unbegun says why no stage of the object has ever had a child: quotas leave no room; nil where that is not so.
func (s *stages) unbegun(records ...[]v1alpha1.StageStatus) *failure {
	for _, list := range records {
		if slices.ContainsFunc(list, func(rec v1alpha1.StageStatus) bool { return rec.Child != "" || rec.State != v1alpha1.StageRunning }) {
			return nil
		}
	}
	if len(s.space.short) == 0 {
		return nil
	}
	o := s.space.short[0].Outcome
	return &failure{o.QueueReason, o.Message}
}

// judged says that the child failed by what the samples are, which tracking them again does not change. It is said in the same
// word of a Job, as its class, and of a batch, as its reason.
func judged(child *Child) bool { return child.Outcome.Class == v1alpha1.ReasonTooManyInvalid }

// newRecord is that of a stage that begins, or that began when its child was made, if its record was deferred.
func newRecord(at jobs.Place, child *Child, now metav1.Time) v1alpha1.StageStatus {
	start := &now
	if child != nil {
		if made := child.Object.GetCreationTimestamp(); !made.IsZero() {
			start = &made
		}
	}
	return v1alpha1.StageStatus{Name: at.Stage, Round: ptr.To(at.Round), State: v1alpha1.StageRunning, Attempt: ptr.To(int32(0)), StartTime: start}
}

// underway says that the stage's attempt has a child that did not fail, so that no other is built now.
func (s *stages) underway(records []v1alpha1.StageStatus, at jobs.Place) bool {
	child, rec := newest(s.children, at), stageRecord(records, at.Stage, at.Round)
	return child != nil && child.Outcome.State != jobs.Failed && (rec == nil || child.Place.Attempt >= *rec.Attempt)
}

func (s *stages) fail(rec *v1alpha1.StageStatus, iteration int32, child *Child) {
	if s.failed != nil {
		return
	}
	reason := v1alpha1.ReasonStageFailed
	switch {
	case child.Outcome.Class == contract.ExitBadSpec.Class():
		reason = v1alpha1.ReasonInvalidSpec
	case judged(child):
		reason = v1alpha1.ReasonTooManyInvalid
	}
	s.failed = &failure{
		reason: reason,
		message: fmt.Sprintf("iteration %d, stage %s, after %d attempt(s), see %s %s: %s", iteration, rec.Name, rec.Failures,
			child.kind(), rec.Child, rec.Message),
	}
}

// skip records a stage that has nothing to do, as what it makes was in the store.
func (s *stages) skip(records *[]v1alpha1.StageStatus, at jobs.Place, stored v1alpha1.StoredWork, why string) {
	if stageRecord(*records, at.Stage, at.Round) == nil {
		*records = append(*records, v1alpha1.StageStatus{
			Name: at.Stage, Round: ptr.To(at.Round), State: v1alpha1.StageSucceeded, Attempt: ptr.To(int32(0)),
			Stored: stored, Message: why, StartTime: &s.now, CompletionTime: &s.now,
		})
	}
}

// newest is the stage's child with the highest attempt.
func newest(children []Child, at jobs.Place) *Child {
	var found *Child
	for i := range children {
		c := &children[i]
		if sameStage(c.Place, at) && (found == nil || c.Place.Attempt > found.Place.Attempt) {
			found = c
		}
	}
	return found
}

// sameStage says that two places differ by nothing but the attempt.
func sameStage(a, b jobs.Place) bool {
	a.Attempt = b.Attempt
	return a == b
}

// unfinished are the children to delete when the object is suspended or has ended. Finished ones stay
// for inspection.
func unfinished(children []Child) []Object {
	var objects []Object
	for i := range children {
		if c := &children[i]; (c.Outcome.State == jobs.Active || c.Outcome.Endless) && !c.Deleting {
			objects = append(objects, c.Object)
		}
	}
	return objects
}

// endless are the children to delete while the object goes on: they failed, and would not end by themselves.
func endless(children []Child) []Object {
	var objects []Object
	for i := range children {
		if c := &children[i]; c.Outcome.Endless && !c.Deleting {
			objects = append(objects, c.Object)
		}
	}
	return objects
}

func stageRecord(records []v1alpha1.StageStatus, name v1alpha1.StageName, round int32) *v1alpha1.StageStatus {
	for i := range records {
		if records[i].Name == name && ptr.Deref(records[i].Round, 0) == round {
			return &records[i]
		}
	}
	return nil
}

func succeeded(rec *v1alpha1.StageStatus) bool {
	return rec != nil && rec.State == v1alpha1.StageSucceeded
}

func outputs(artifacts map[string]contract.Artifact) []v1alpha1.NamedArtifact {
	var named []v1alpha1.NamedArtifact
	for _, name := range slices.Sorted(maps.Keys(artifacts)) {
		a := artifacts[name]
		named = append(named, v1alpha1.NamedArtifact{Name: name, Key: v1alpha1.ArtifactKey(a.Key), Digest: v1alpha1.Digest(a.Digest)})
	}
	return named
}

// output is a named output of a recorded stage.
func output(rec *v1alpha1.StageStatus, name string) contract.Artifact {
	if rec != nil {
		for _, o := range rec.Outputs {
			if o.Name == name {
				return contract.Artifact{Key: string(o.Key), Digest: string(o.Digest)}
			}
		}
	}
	return contract.Artifact{}
}

// NotCreated takes back that a child exists, after its creation was refused: the next plan tries the same attempt again. why stands
// in the stage's message, if it is told.
func NotCreated(records []v1alpha1.StageStatus, child, why string) {
	for i := range records {
		if rec := &records[i]; rec.Child == child {
			rec.Child, rec.Message = "", or(clip(why, maxStageMessage), rec.Message)
		}
	}
}
