//go:build faults

package faults

import (
	cmpint "cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

// The oracle of every item: the end state equals that of an undisturbed run; at most one child per (owner, iteration,
// stage, attempt); iteration records contiguous and never backwards; no stage repeated after it was recorded; no child
// named that was not created for its owner.

// judge holds an object, its children and theirs against the history. A child that a user deletes before any record of it
// is written may be made again as the same attempt (docs/adr/0004).
func (h *history) judge(o client.Object) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var errs []error
	for _, complaint := range h.complaints[o.GetNamespace()] {
		errs = append(errs, errors.New(complaint))
	}
	return errors.Join(append(errs, h.judgeFamily(o)...)...)
}

func (h *history) judgeFamily(o client.Object) []error {
	var errs []error
	born, own := map[jobs.Place]birth{}, map[string]bool{}
	for _, b := range h.births[o.GetUID()] {
		if twin, ok := born[b.place]; ok && !h.deleted[twin.uid] {
			errs = append(errs, fmt.Errorf("%s: two children for %+v: %s (%s) and %s (%s)", o.GetName(), b.place, twin.name, twin.uid, b.name, b.uid))
		}
		born[b.place], own[b.name] = b, true
		stage := b.place
		stage.Attempt = 0
		if at, ok := h.recorded[o.GetUID()][stage]; ok && b.version > at {
			errs = append(errs, fmt.Errorf("%s: %s was created after its stage was recorded", o.GetName(), b.name))
		}
		if b.kind != "Job" {
			nested := &v1alpha1.ScoringBatch{}
			nested.Name, nested.UID, nested.Namespace = b.name, b.uid, o.GetNamespace()
			errs = append(errs, h.judgeFamily(nested)...)
		}
	}
	for name := range h.children[o.GetUID()] {
		if !own[name] {
			errs = append(errs, fmt.Errorf("%s: its status names %s, which was not created for it", o.GetName(), name))
		}
	}
	return errs
}

// family is the UIDs of all that ever descended from an object, children first.
func (h *history) family(o client.Object) []birth {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := slices.Clone(h.births[o.GetUID()])
	for _, b := range h.births[o.GetUID()] {
		all = append(all, h.births[b.uid]...)
	}
	return all
}

// places are where Jobs ran for an object, in the order of their creation, without their attempts.
func (h *history) places(o client.Object) []jobs.Place {
	births := h.family(o)
	slices.SortFunc(births, func(a, b birth) int { return cmpint.Compare(a.version, b.version) })
	var places []jobs.Place
	for _, b := range births {
		b.place.Attempt = 0
		if b.kind == "Job" && !slices.Contains(places, b.place) {
			places = append(places, b.place)
		}
	}
	return places
}

// end is what a run came to, in words that two runs of the same spec share: its status and every attempt of every stage.
func (c *cluster) end(run *v1alpha1.AlignmentRun) (string, error) {
	data, err := json.Marshal(run.Status)
	if err != nil {
		return "", err
	}
	text := strings.ReplaceAll(nameless(string(data)), `"`+run.Namespace+`"`, `"NAMESPACE"`)
	var status map[string]any
	if err := json.Unmarshal([]byte(text), &status); err != nil {
		return "", err
	}
	var attempts []string
	for _, b := range c.history.family(run) {
		attempts = append(attempts, fmt.Sprintf("%s %d %s/%d", b.kind, b.place.Iteration, b.place.Stage, b.place.Attempt))
	}
	slices.Sort(attempts)
	data, err = json.MarshalIndent(map[string]any{"status": comparison(status), "attempts": attempts}, "", " ")
	return string(data), err
}

// momentary are the fields of a status that depend on when things happened.
var momentary = []string{
	"progress", "lastTransitionTime", "startTime", "completionTime", "activeSeconds", "activeSince", "usage", "usageTime", "stuckSince", "waitSeconds",
}

// comparable drops what is momentary, and puts lists that are sets into order.
func comparison(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for _, name := range momentary {
			delete(v, name)
		}
		for key := range v {
			v[key] = comparison(v[key])
		}
	case []any:
		for i := range v {
			v[i] = comparison(v[i])
		}
		sort.SliceStable(v, func(i, j int) bool { return label(v[i]) < label(v[j]) })
	}
	return v
}

// label of an element of a list whose order means nothing.
func label(v any) string {
	m, ok := v.(map[string]any)
	if !ok {
		return ""
	}
	for _, key := range []string{"type", "name"} {
		if s, ok := m[key].(string); ok {
			return s
		}
	}
	return ""
}

// settling is how long the operator may take, after a run's end, to record what the last pods used.
const settling = 30 * time.Second

// same holds a run against the end of an undisturbed one, once it has settled, and against the history.
func (c *cluster) same(ctx context.Context, run *v1alpha1.AlignmentRun, undisturbed string) error {
	var end string
	var err error
	if eventually(ctx, settling, "", func() bool {
		_ = c.Get(ctx, client.ObjectKeyFromObject(run), run)
		end, err = c.end(run)
		return err != nil || end == undisturbed
	}) != nil {
		err = fmt.Errorf("run %s/%s ends otherwise than an undisturbed one: %s", run.Namespace, run.Name, cmp.Diff(undisturbed, end))
	}
	return errors.Join(err, c.history.judge(run))
}

// settled waits until a run is charged for all that its pods say they used.
func (c *cluster) settled(ctx context.Context, run *v1alpha1.AlignmentRun) error {
	return eventually(ctx, settling, "all GPU time is recorded", func() bool {
		var pods corev1.PodList
		if c.Get(ctx, client.ObjectKeyFromObject(run), run) != nil || c.List(ctx, &pods, client.InNamespace(run.Namespace)) != nil {
			return false
		}
		used := int64(0)
		for i := range pods.Items {
			used += stageSeconds * gpusOf(&pods.Items[i])
		}
		return run.Status.GPUSeconds == used
	})
}

func gpusOf(pod *corev1.Pod) int64 {
	q := pod.Spec.Containers[0].Resources.Limits[gpu]
	return q.Value()
}

// found holds what a run found against what an undisturbed one did, and the run against the history: its stages may have
// been tried again.
func (c *cluster) found(run *v1alpha1.AlignmentRun, u undisturbed) error {
	var err error
	if got, want := result(&run.Status), result(&u.status); got != want {
		err = fmt.Errorf("run %s/%s found\n%s\nand an undisturbed one\n%s", run.Namespace, run.Name, got, want)
	}
	return errors.Join(err, c.history.judge(run))
}

// result is what a run found, whatever it took: two runs of the same spec share it, also when stages were tried again.
func result(s *v1alpha1.AlignmentRunStatus) string {
	text := fmt.Sprintf("%s, best %s of iteration %d", s.Phase, s.Best.Accuracy, *s.Best.Iteration)
	for _, it := range s.Iterations {
		text += fmt.Sprintf("\niteration %d: accuracy %v", *it.Iteration, it.Evaluation.Accuracy)
		if it.Adapter != nil {
			text += ", adapter " + string(it.Adapter.Digest)
		}
	}
	return text
}

// ends waits until an object has ended.
func (c *cluster) ends(ctx context.Context, o client.Object) error {
	err := eventually(ctx, patience, fmt.Sprintf("%s/%s ends", o.GetNamespace(), o.GetName()), func() bool {
		return c.Get(ctx, client.ObjectKeyFromObject(o), o) == nil && hasEnded(o)
	})
	return c.explained(ctx, o, err)
}

// explained adds the state of an object and of the pods beside it to an error.
func (c *cluster) explained(ctx context.Context, o client.Object, err error) error {
	if err == nil {
		return nil
	}
	var text strings.Builder
	for _, condition := range conditionsOf(o) {
		fmt.Fprintf(&text, "\n%s %s: %s", condition.Type, condition.Reason, condition.Message)
	}
	for place, rec := range stagesOf(o) {
		if rec.State != v1alpha1.StageSucceeded {
			fmt.Fprintf(&text, "\niteration %d, %s: %s %s %q", place.Iteration, place.Stage, rec.State, rec.Child, rec.Message)
		}
	}
	var pods corev1.PodList
	if c.List(ctx, &pods, client.InNamespace(o.GetNamespace())) == nil {
		for _, pod := range pods.Items {
			if pod.Status.Phase != corev1.PodSucceeded && pod.Labels[v1alpha1.LabelRun] == o.GetName() {
				fmt.Fprintf(&text, "\npod %s: %s, deleted %v, %+v", pod.Name, pod.Status.Phase, pod.DeletionTimestamp, pod.Status.Conditions)
			}
		}
	}
	return fmt.Errorf("%w%s", err, text.String())
}
