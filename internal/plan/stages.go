package plan

import (
	"fmt"
	"maps"
	"slices"

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

	create []Object
	active []*Child
	failed *failure
}

// step moves one stage on. done says that its result is recorded; result is its child in the one pass in
// which it becomes so, for the caller to take what the child brings into status.
//
// build makes the child of an attempt.
func (s *stages) step(records *[]v1alpha1.StageStatus, iteration int32, name v1alpha1.StageName, build func(jobs.Place) Object) (done bool, result *Child) {
	rec := stageRecord(*records, name)
	if rec != nil && rec.State != v1alpha1.StageRunning {
		return succeeded(rec), nil
	}
	child := s.newest(iteration, name)
	if rec == nil {
		*records = append(*records, v1alpha1.StageStatus{
			Name: name, State: v1alpha1.StageRunning, Attempt: ptr.To(int32(0)), StartTime: s.started(child),
		})
		rec = &(*records)[len(*records)-1]
	}
	if child != nil && child.Place.Attempt >= *rec.Attempt {
		rec.Attempt, rec.Child = ptr.To(child.Place.Attempt), child.Object.GetName()
	}
	start := func(attempt int32) {
		place := jobs.Place{Iteration: iteration, Stage: name, Attempt: attempt}
		object := build(place)
		rec.Attempt, rec.Child = ptr.To(attempt), object.GetName()
		s.create = append(s.create, object)
		s.active = append(s.active, &Child{Object: object, Place: place})
	}
	switch {
	case child != nil && child.Place.Attempt < *rec.Attempt && child.leaving():
		// Its failure is recorded; its pods may still write.
	case child == nil || child.Place.Attempt < *rec.Attempt:
		if rec.Child == "" {
			start(*rec.Attempt)
		} else {
			// The recorded attempt's child existed and is gone: suspended, or deleted by somebody.
			start(*rec.Attempt + 1)
		}
	case child.Deleting:
		// The next attempt starts when the former's pods are gone: foreground deletion says when.
	case child.Outcome.State == jobs.Active:
		if child.Outcome.Message != "" || rec.Failures == 0 {
			rec.Message = clip(child.Outcome.Message, maxStageMessage) // else the last failure's stays
		}
		s.active = append(s.active, child)
	case child.Outcome.State == jobs.Succeeded:
		rec.State, rec.CompletionTime, rec.Message = v1alpha1.StageSucceeded, &s.now, ""
		rec.Outputs = outputs(child.Outcome.Outputs)
		return true, child
	default:
		rec.Failures++
		rec.Message = clip(fmt.Sprintf("%s: %s", child.Outcome.Class, child.Outcome.Message), maxStageMessage)
		if !child.Outcome.Final && rec.Failures <= s.retries {
			if child.Outcome.Endless {
				rec.Attempt, rec.Child = ptr.To(*rec.Attempt+1), "" // it starts when this one is gone
			} else {
				start(*rec.Attempt + 1)
			}
			break
		}
		rec.State, rec.CompletionTime = v1alpha1.StageFailed, &s.now
		s.fail(rec, iteration, child)
	}
	return false, nil
}

// started is when a stage began that has no record yet: now, or when its child was made, if that record was deferred.
func (s *stages) started(child *Child) *metav1.Time {
	if child == nil {
		return &s.now
	}
	if made := child.Object.GetCreationTimestamp(); !made.IsZero() {
		return &made
	}
	return &s.now
}

// underway says that the stage's attempt has a child that did not fail, so that no other is built now.
func (s *stages) underway(records []v1alpha1.StageStatus, iteration int32, name v1alpha1.StageName) bool {
	child, rec := s.newest(iteration, name), stageRecord(records, name)
	return child != nil && child.Outcome.State != jobs.Failed && (rec == nil || child.Place.Attempt >= *rec.Attempt)
}

func (s *stages) fail(rec *v1alpha1.StageStatus, iteration int32, child *Child) {
	if s.failed != nil {
		return
	}
	reason := v1alpha1.ReasonStageFailed
	if child.Outcome.Class == contract.ExitBadSpec.Class() {
		reason = v1alpha1.ReasonInvalidSpec
	}
	s.failed = &failure{
		reason: reason,
		message: fmt.Sprintf("iteration %d, stage %s, after %d attempt(s), see %s %s: %s", iteration, rec.Name, rec.Failures,
			child.kind(), rec.Child, rec.Message),
	}
}

// skip records a stage that has nothing to do.
func (s *stages) skip(records *[]v1alpha1.StageStatus, name v1alpha1.StageName, why string) {
	if stageRecord(*records, name) == nil {
		*records = append(*records, v1alpha1.StageStatus{
			Name: name, State: v1alpha1.StageSucceeded, Attempt: ptr.To(int32(0)), Message: why, StartTime: &s.now, CompletionTime: &s.now,
		})
	}
}

// newest is the stage's child with the highest attempt.
func (s *stages) newest(iteration int32, name v1alpha1.StageName) *Child {
	var found *Child
	for i := range s.children {
		c := &s.children[i]
		if c.Place.Iteration == iteration && c.Place.Stage == name && (found == nil || c.Place.Attempt > found.Place.Attempt) {
			found = c
		}
	}
	return found
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

func stageRecord(records []v1alpha1.StageStatus, name v1alpha1.StageName) *v1alpha1.StageStatus {
	for i := range records {
		if records[i].Name == name {
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

// NotCreated takes back that a child exists, after its creation was refused: the next plan tries the same attempt again.
func NotCreated(records []v1alpha1.StageStatus, child string) {
	for i := range records {
		if records[i].Child == child {
			records[i].Child = ""
		}
	}
}
