package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/golden"
	"github.com/spatialalign/operator/internal/jobs"
)

// yard is a cluster in memory with one ScoringBatch or PreferenceDataset: a smaller world.
type yard[Status any] struct {
	t        *testing.T
	now      time.Time
	runtime  *v1alpha1.AlignmentRuntime
	children []*Child
	ever     map[string]bool
	status   *Status
	plan     func(Base) Next[Status]
	// records and conditions of a status.
	records    func(*Status) []v1alpha1.StageStatus
	conditions func(*Status) []metav1.Condition
	trace      strings.Builder
}

func newYard[Status any](t *testing.T) *yard[Status] {
	return &yard[Status]{t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), runtime: newWorld(t, script{}).runtime, ever: map[string]bool{}}
}

func (y *yard[Status]) log(format string, args ...any) { fmt.Fprintf(&y.trace, format+"\n", args...) }

func (y *yard[Status]) base() Base {
	b := Base{Now: metav1.NewTime(y.now), Config: Config{Images: jobs.Images{Stage: "operator:1"}, ProgressInterval: 10 * time.Second}, Runtime: y.runtime}
	for _, c := range y.children {
		b.Children = append(b.Children, *c)
	}
	return b
}

// step plans once, applies the plan and tells it; planning again must change nothing.
func (y *yard[Status]) step() Next[Status] {
	y.t.Helper()
	y.now = y.now.Add(time.Second)
	before := *y.status
	next := y.plan(y.base())
	for i, rec := range y.records(&next.Status) {
		var was v1alpha1.StageStatus
		if i < len(y.records(&before)) {
			was = y.records(&before)[i]
		}
		switch {
		case rec.State == v1alpha1.StageSucceeded && was.State != rec.State:
			y.log("record %s", rec.Name)
		case rec.Failures != was.Failures:
			y.log("failed %s, %d time(s): %s", rec.Name, rec.Failures, rec.Message)
		case rec.Message != was.Message:
			y.log("says   %s: %s", rec.Name, rec.Message)
		}
	}
	for _, o := range next.Create {
		if y.ever[o.GetName()] {
			y.t.Fatalf("the name %s is used twice", o.GetName())
		}
		y.ever[o.GetName()] = true
		p := placeOf(o)
		y.log("create %s/%d", p.Stage, p.Attempt)
		y.children = append(y.children, &Child{Object: o, Place: p})
	}
	for _, o := range next.Delete {
		if i := indexOf(y.children, o); y.children[i].Outcome.Endless {
			y.log("delete %s/%d", placeOf(o).Stage, placeOf(o).Attempt)
			y.children[i].Deleting = true // its pods take their time
			continue
		}
		y.remove(placeOf(o).Stage)
	}
	for _, kind := range []string{v1alpha1.ConditionComplete, v1alpha1.ConditionFailed, v1alpha1.ConditionReconciling} {
		is, was := meta.FindStatusCondition(y.conditions(&next.Status), kind), meta.FindStatusCondition(y.conditions(&before), kind)
		if is != nil && (was == nil || was.Status != is.Status || was.Reason != is.Reason || was.Message != is.Message) {
			y.log("status %s=%s %s: %s", kind, is.Status, is.Reason, is.Message)
		}
		if is != nil && is.ObservedGeneration != 3 {
			y.t.Errorf("condition %s is of generation %d, not 3", kind, is.ObservedGeneration)
		}
	}
	*y.status = next.Status
	if again := y.plan(y.base()); len(again.Create)+len(again.Delete) > 0 || !equality.Semantic.DeepEqual(again.Status, next.Status) {
		y.t.Fatalf("a second plan from the same world changes something: %s", cmp.Diff(next.Status, again.Status))
	}
	return next
}

// gone lets the deletions end, and plans.
func (y *yard[Status]) gone() {
	y.t.Helper()
	y.children = slices.DeleteFunc(y.children, func(c *Child) bool { return c.Deleting })
	y.step()
}

func indexOf(children []*Child, o Object) int {
	return slices.IndexFunc(children, func(c *Child) bool { return c.Object.GetName() == o.GetName() })
}

// active is the child of a stage that has not ended.
func (y *yard[Status]) active(stage v1alpha1.StageName) *Child {
	y.t.Helper()
	for _, c := range y.children {
		if c.Place.Stage == stage && c.Outcome.State == jobs.Active {
			return c
		}
	}
	y.t.Fatalf("no active child of stage %s:\n%s", stage, y.trace.String())
	return nil
}

func (y *yard[Status]) remove(stage v1alpha1.StageName) {
	c := y.active(stage)
	y.log("delete %s/%d", stage, c.Place.Attempt)
	for i := range y.children {
		if y.children[i] == c {
			y.children = append(y.children[:i:i], y.children[i+1:]...)
			return
		}
	}
}

func (y *yard[Status]) fail(stage v1alpha1.StageName, class string, final bool) {
	y.t.Helper()
	y.active(stage).Outcome = jobs.Outcome{State: jobs.Failed, Class: class, Message: "its last lines", Final: final}
	y.step()
}

func (y *yard[Status]) succeed(stage v1alpha1.StageName, o jobs.Outcome) {
	y.t.Helper()
	o.State = jobs.Succeeded
	y.active(stage).Outcome = o
	y.step()
}

// done compares the trace with the golden file of the test.
func (y *yard[Status]) done(name string) {
	y.t.Helper()
	golden.Check(y.t, name+".trace", y.trace.String())
}

func file(key string) contract.Artifact {
	return contract.Artifact{Key: key, Digest: contract.Digest([]byte(key))}
}
