//go:build faults

package faults

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// stopwatch notes when the Jobs of a namespace appeared, and when they were complete, as one watcher saw both.
type stopwatch struct {
	mu       sync.Mutex
	appeared map[types.UID]time.Time
	complete map[types.UID]time.Time
	jobs     map[types.UID]*batchv1.Job
	// batches of the runs, by UID: they tell what their Jobs come after.
	batches map[types.UID]client.Object
	// completed is called with every Job that is complete; it may be nil.
	completed func(*batchv1.Job)
}

// watchJobs starts a stopwatch.
func watchJobs(ctx context.Context, informers cache.Cache, namespace string, completed func(*batchv1.Job)) (*stopwatch, error) {
	s := &stopwatch{
		appeared: map[types.UID]time.Time{}, complete: map[types.UID]time.Time{}, jobs: map[types.UID]*batchv1.Job{},
		batches: map[types.UID]client.Object{}, completed: completed,
	}
	for _, o := range []client.Object{&batchv1.Job{}, &v1alpha1.ScoringBatch{}, &v1alpha1.PreferenceDataset{}} {
		informer, err := informers.GetInformer(ctx, o)
		if err != nil {
			return nil, err
		}
		saw := func(o any) {
			if o := o.(client.Object); o.GetNamespace() == namespace {
				s.saw(o, time.Now())
			}
		}
		handle, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{AddFunc: saw, UpdateFunc: func(_, o any) { saw(o) }})
		if err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, func() { _ = informer.RemoveEventHandler(handle) })
	}
	return s, nil
}

func (s *stopwatch) saw(o client.Object, now time.Time) {
	job, ok := o.(*batchv1.Job)
	s.mu.Lock()
	if !ok {
		s.batches[o.GetUID()] = o
		s.mu.Unlock()
		return
	}
	if _, known := s.appeared[job.UID]; !known {
		s.appeared[job.UID] = now
	}
	_, known := s.complete[job.UID]
	news := !known && isComplete(job)
	if news {
		s.complete[job.UID] = now
	}
	s.jobs[job.UID] = job
	s.mu.Unlock()
	if news && s.completed != nil {
		s.completed(job)
	}
}

func isComplete(job *batchv1.Job) bool {
	return slices.ContainsFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool {
		return c.Type == batchv1.JobComplete && c.Status == corev1.ConditionTrue
	})
}

// step of a run: which Job it is, in words that its place among the run's own objects gives.
type step struct {
	iteration int32
	stage     v1alpha1.StageName
}

// after is what each step of a run of one iteration waits for.
var after = map[step][]step{
	{0, v1alpha1.StagePrepare}:                               nil,
	{0, v1alpha1.StageEvaluationSample}:                      {{0, v1alpha1.StagePrepare}},
	{0, v1alpha1.StageEvaluationScore + v1alpha1.StageTrack}: {{0, v1alpha1.StageEvaluationSample}},
	{0, v1alpha1.StageEvaluationScore + v1alpha1.StageScore}: {{0, v1alpha1.StageEvaluationScore + v1alpha1.StageTrack}},
	{1, v1alpha1.StageSample}:                                {{0, v1alpha1.StagePrepare}},
	{1, v1alpha1.StageScore + v1alpha1.StageTrack}:           {{1, v1alpha1.StageSample}},
	{1, v1alpha1.StageScore + v1alpha1.StageScore}:           {{1, v1alpha1.StageScore + v1alpha1.StageTrack}},
	{1, v1alpha1.StagePair + v1alpha1.StagePair}:             {{1, v1alpha1.StageScore + v1alpha1.StageScore}},
	{1, v1alpha1.StageTrain}:                                 {{1, v1alpha1.StagePair + v1alpha1.StagePair}},
	{1, v1alpha1.StageEvaluationPrepare}:                     {{1, v1alpha1.StageTrain}},
	{1, v1alpha1.StageEvaluationSample}:                      {{1, v1alpha1.StageEvaluationPrepare}},
	{1, v1alpha1.StageEvaluationScore + v1alpha1.StageTrack}: {{1, v1alpha1.StageEvaluationSample}},
	{1, v1alpha1.StageEvaluationScore + v1alpha1.StageScore}: {{1, v1alpha1.StageEvaluationScore + v1alpha1.StageTrack}},
	{1, v1alpha1.StageCompare}:                               {{1, v1alpha1.StageEvaluationScore + v1alpha1.StageScore}, {0, v1alpha1.StageEvaluationScore + v1alpha1.StageScore}},
	{1, v1alpha1.StageLineage}:                               {{1, v1alpha1.StageCompare}},
}

// stepOf a Job: a batch's Job is told by the batch's place and its own stage.
func (s *stopwatch) stepOf(job *batchv1.Job) (run types.UID, at step) {
	place := placeOf(job)
	owner := job.OwnerReferences[0].UID
	if batch, nested := s.batches[owner]; nested {
		above := placeOf(batch)
		return batch.GetOwnerReferences()[0].UID, step{above.Iteration, above.Stage + place.Stage}
	}
	return owner, step{place.Iteration, place.Stage}
}

// gaps are the times from when all that a Job waits for was complete to when it appeared.
func (s *stopwatch) gaps() ([]time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	type key struct {
		run types.UID
		at  step
	}
	found := map[key]types.UID{}
	for uid, job := range s.jobs {
		run, at := s.stepOf(job)
		if _, known := after[at]; !known {
			return nil, fmt.Errorf("the step of Job %s is not in the list: %+v", job.Name, at)
		}
		found[key{run, at}] = uid
	}
	var gaps []time.Duration
	for k, uid := range found {
		var ready time.Time
		for _, before := range after[k.at] {
			if done := s.complete[found[key{k.run, before}]]; done.After(ready) {
				ready = done
			}
		}
		if len(after[k.at]) > 0 {
			gaps = append(gaps, s.appeared[uid].Sub(ready))
		}
	}
	slices.Sort(gaps)
	return gaps, nil
}
