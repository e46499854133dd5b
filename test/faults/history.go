//go:build faults

package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
	"github.com/spatialalign/operator/internal/plan"
)

// history is all that a cluster has seen: every child that was ever created, every status that was ever written.
type history struct {
	mu sync.Mutex
	// births of children, by the UID of their owner.
	births map[types.UID][]birth
	// recorded is the version of the owner at which a stage was first recorded as succeeded.
	recorded map[types.UID]map[jobs.Place]int64
	// children that statuses named, by the UID of their owner.
	children map[types.UID]map[string]bool
	// complaints of statuses that went backwards, by namespace.
	complaints map[string][]string
	// deleted are Jobs that a user deleted, and their owners, by UID.
	deleted map[types.UID]bool
	// scenes are all statuses of what nothing disturbed, as JSON, by kind.
	scenes map[string][]json.RawMessage
	// largest is the size in bytes of the largest object ever seen, by kind.
	largest map[string]int
}

// birth is the creation of a child.
type birth struct {
	kind, name string
	uid        types.UID
	place      jobs.Place
	version    int64
}

func emptyHistory() *history {
	return &history{
		births: map[types.UID][]birth{}, recorded: map[types.UID]map[jobs.Place]int64{},
		children: map[types.UID]map[string]bool{}, complaints: map[string][]string{},
		deleted: map[types.UID]bool{}, scenes: map[string][]json.RawMessage{}, largest: map[string]int{},
	}
}

// newHistory begins to watch.
func newHistory(ctx context.Context, c cache.Cache) (*history, error) {
	h := emptyHistory()
	for _, o := range []client.Object{
		&v1alpha1.AlignmentRun{}, &v1alpha1.ScoringBatch{}, &v1alpha1.PreferenceDataset{}, &batchv1.Job{}, &corev1.Pod{},
	} {
		informer, err := c.GetInformer(ctx, o)
		if err != nil {
			return nil, fmt.Errorf("watch %T: %w", o, err)
		}
		_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { h.saw(nil, o.(client.Object)) },
			UpdateFunc: func(before, after any) { h.saw(before.(client.Object), after.(client.Object)) },
		})
		if err != nil {
			return nil, fmt.Errorf("watch %T: %w", o, err)
		}
	}
	return h, nil
}

func (h *history) saw(before, after client.Object) {
	data, err := json.Marshal(after)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.largest[kindOf(after)] = max(h.largest[kindOf(after)], len(data))
	if err != nil {
		h.complain(after, "cannot be encoded: %v", err)
	}
	if owner := metav1.GetControllerOf(after); before == nil && owner != nil && kindOf(after) != "Pod" {
		h.births[owner.UID] = append(h.births[owner.UID], birth{
			kindOf(after), after.GetName(), after.GetUID(), placeOf(after), number(after.GetResourceVersion()),
		})
	}
	h.record(after)
	if after.GetNamespace() == referenceNamespace+"-1" {
		h.keep(after)
	}
	if before != nil {
		h.compare(before, after)
	}
}

// keep keeps an object's status as a scene.
func (h *history) keep(o client.Object) {
	var status any
	switch o := o.(type) {
	case *v1alpha1.AlignmentRun:
		status = o.Status
	case *v1alpha1.ScoringBatch:
		status = o.Status
	case *v1alpha1.PreferenceDataset:
		status = o.Status
	default:
		return
	}
	if data, err := json.Marshal(status); err == nil {
		h.scenes[kindOf(o)] = append(h.scenes[kindOf(o)], data)
	}
}

// forgive notes that a user deleted a Job or its owner, if that is so. See judge.
func (h *history) forgive(ctx context.Context, c *cluster, job client.Object) {
	if c.gone(ctx, job) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.deleted[job.GetUID()] = true
		h.deleted[metav1.GetControllerOf(job).UID] = true
	}
}

// scene is one of the statuses that were kept of a kind.
func (h *history) scene(kind string, r interface{ IntN(int) int }) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.scenes[kind][r.IntN(len(h.scenes[kind]))]
}

// record notes when stages were first recorded, and which children are named.
func (h *history) record(o client.Object) {
	known, named := h.recorded[o.GetUID()], h.children[o.GetUID()]
	for place, rec := range stagesOf(o) {
		if rec.Child != "" {
			if named == nil {
				named = map[string]bool{}
				h.children[o.GetUID()] = named
			}
			named[rec.Child] = true
		}
		if _, ok := known[place]; rec.State == v1alpha1.StageSucceeded && !ok {
			if known == nil {
				known = map[jobs.Place]int64{}
				h.recorded[o.GetUID()] = known
			}
			known[place] = number(o.GetResourceVersion())
		}
	}
}

// compare complains of a status that went backwards.
func (h *history) compare(before, after client.Object) {
	was, is := conditionsOf(before), conditionsOf(after)
	for _, end := range []string{v1alpha1.ConditionComplete, v1alpha1.ConditionFailed} {
		if meta.IsStatusConditionTrue(was, end) && !meta.IsStatusConditionTrue(is, end) {
			h.complain(after, "was %s and is no longer", end)
		}
	}
	then := stagesOf(before)
	for place, rec := range stagesOf(after) {
		old, ok := then[place]
		switch {
		case !ok:
		case old.State != v1alpha1.StageRunning && old.State != rec.State:
			h.complain(after, "iteration %d, %s: %s became %s", place.Iteration, place.Stage, old.State, rec.State)
		case old.Attempt != nil && rec.Attempt != nil && *rec.Attempt < *old.Attempt:
			h.complain(after, "iteration %d, %s: attempt %d became %d", place.Iteration, place.Stage, *old.Attempt, *rec.Attempt)
		}
	}
	if run, ok := before.(*v1alpha1.AlignmentRun); ok {
		h.compareRuns(run, after.(*v1alpha1.AlignmentRun))
	}
}

// rank of a phase: a run that goes on never comes back to a lower one. Suspension is no step.
var rank = map[v1alpha1.RunPhase]int{
	v1alpha1.PhasePending: 1, v1alpha1.PhaseRunning: 2, v1alpha1.PhaseSuspended: 2, v1alpha1.PhaseAwaitingApproval: 2,
	v1alpha1.PhaseSucceeded: 3, v1alpha1.PhaseFailed: 3,
}

func (h *history) compareRuns(before, after *v1alpha1.AlignmentRun) {
	if rank[after.Status.Phase] < rank[before.Status.Phase] {
		h.complain(after, "phase %s became %s", before.Status.Phase, after.Status.Phase)
	}
	if b := before.Status.Best; b != nil && (after.Status.Best == nil || *after.Status.Best.Iteration < *b.Iteration) {
		h.complain(after, "its best adapter was lost")
	}
	if after.Status.GPUSeconds < before.Status.GPUSeconds {
		h.complain(after, "its GPU time fell from %d s to %d s", before.Status.GPUSeconds, after.Status.GPUSeconds)
	}
	for i := 1; i < len(after.Status.Iterations); i++ {
		last, next := *after.Status.Iterations[i-1].Iteration, *after.Status.Iterations[i].Iteration
		// Status forgets old iterations, but for the baseline and the best one.
		if b := after.Status.Best; next != last+1 && last != 0 && (b == nil || last != *b.Iteration) {
			h.complain(after, "iteration %d is followed by %d", last, next)
		}
	}
}

func (h *history) complain(o client.Object, format string, args ...any) {
	text := fmt.Sprintf("%s %s: %s", kindOf(o), o.GetName(), fmt.Sprintf(format, args...))
	h.complaints[o.GetNamespace()] = append(h.complaints[o.GetNamespace()], text)
}

// stagesOf are an object's stage records, by iteration and stage.
func stagesOf(o client.Object) map[jobs.Place]v1alpha1.StageStatus {
	found := map[jobs.Place]v1alpha1.StageStatus{}
	add := func(iteration int32, stages []v1alpha1.StageStatus) {
		for _, s := range stages {
			found[jobs.Place{Iteration: iteration, Round: ptr.Deref(s.Round, 0), Stage: s.Name}] = s
		}
	}
	switch o := o.(type) {
	case *v1alpha1.AlignmentRun:
		for _, it := range o.Status.Iterations {
			add(*it.Iteration, it.Stages)
		}
	case *v1alpha1.ScoringBatch:
		add(0, o.Status.Stages)
	case *v1alpha1.PreferenceDataset:
		add(0, o.Status.Stages)
	}
	return found
}

func conditionsOf(o client.Object) []metav1.Condition {
	switch o := o.(type) {
	case *v1alpha1.AlignmentRun:
		return o.Status.Conditions
	case *v1alpha1.ScoringBatch:
		return o.Status.Conditions
	case *v1alpha1.PreferenceDataset:
		return o.Status.Conditions
	default:
		return nil
	}
}

func hasEnded(o client.Object) bool { return plan.Ended(conditionsOf(o)) }

// placeOf a child, from its labels.
func placeOf(o client.Object) jobs.Place {
	l, round := o.GetLabels(), int32(0)
	if l[v1alpha1.LabelRound] != "" {
		round = int32(number(l[v1alpha1.LabelRound]))
	}
	return jobs.Place{
		Iteration: int32(number(l[v1alpha1.LabelIteration])), Round: round, Stage: v1alpha1.StageName(l[v1alpha1.LabelStage]),
		Attempt: int32(number(l[v1alpha1.LabelAttempt])),
	}
}

func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

func kindOf(o client.Object) string {
	switch o.(type) {
	case *v1alpha1.AlignmentRun:
		return "AlignmentRun"
	case *v1alpha1.ScoringBatch:
		return "ScoringBatch"
	case *v1alpha1.PreferenceDataset:
		return "PreferenceDataset"
	case *v1alpha1.AlignmentRuntime:
		return "AlignmentRuntime"
	case *v1alpha1.AlignmentApproval:
		return "AlignmentApproval"
	case *batchv1.Job:
		return "Job"
	case *corev1.Pod:
		return "Pod"
	default:
		return fmt.Sprintf("%T", o)
	}
}
