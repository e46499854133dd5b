package plan

import (
	"math/rand/v2"
	"reflect"
	"runtime/debug"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

// vandal spoils objects: what is there goes, what is not appears, lists repeat themselves, words and numbers change.
type vandal struct {
	*rand.Rand
	// rate is how often a field is spoilt.
	rate float64
}

var words = []string{"", "x", "Succeeded", "Running", "Failed", "Prepare", "Train", "Compare", "0.7", "-1", "sha256:00", "a/b", "True", "Complete"}

func (v vandal) strikes() bool { return v.Float64() < v.rate }

func (v vandal) spoil(x reflect.Value) {
	if x.Type() == reflect.TypeFor[metav1.Time]() {
		return
	}
	switch x.Kind() {
	case reflect.Pointer:
		switch {
		case v.strikes() && x.IsNil():
			x.Set(reflect.New(x.Type().Elem()))
		case v.strikes():
			x.SetZero()
		}
		if !x.IsNil() {
			v.spoil(x.Elem())
		}
	case reflect.Slice:
		v.spoilList(x)
		for i := range x.Len() {
			v.spoil(x.Index(i))
		}
	case reflect.Struct:
		for i := range x.NumField() {
			if x.Field(i).CanSet() {
				v.spoil(x.Field(i))
			}
		}
	case reflect.String:
		if v.strikes() {
			x.SetString(words[v.IntN(len(words))])
		}
	case reflect.Int32, reflect.Int64:
		if v.strikes() {
			x.SetInt([]int64{-1, 0, 1, 2, 3, 1<<31 - 1}[v.IntN(6)])
		}
	case reflect.Bool:
		if v.strikes() {
			x.SetBool(!x.Bool())
		}
	}
}

func (v vandal) spoilList(x reflect.Value) {
	if !v.strikes() {
		return
	}
	n := x.Len()
	switch v.IntN(4) {
	case 0:
		x.SetZero()
	case 1:
		if n > 0 {
			x.Set(reflect.Append(x, x.Index(v.IntN(n))))
		}
	case 2:
		if n > 1 {
			reflect.Swapper(x.Interface())(v.IntN(n), v.IntN(n))
		}
	case 3:
		if n > 0 {
			i := v.IntN(n)
			x.Set(reflect.AppendSlice(x.Slice(0, i), x.Slice(i+1, n)))
		}
	}
}

// stolen are worlds in every state that a run comes through.
func stolen(t *testing.T) []*world {
	t.Helper()
	var states []*world
	keep := func(w *world) {
		c := newWorld(t, w.script)
		c.run, c.now, c.related = w.run.DeepCopy(), w.now, w.related
		for _, child := range w.children {
			seen := *child
			c.children = append(c.children, &seen)
		}
		states = append(states, c)
	}
	w := newWorld(t, everything)
	everyPolicy(&w.run.Spec)
	w.settleWhile(func() bool {
		keep(w)
		if w.run.Status.PendingApproval != nil {
			w.answer("yes", v1alpha1.DecisionApprove)
		}
		return !Ended(w.run.Status.Conditions)
	})
	keep(w)
	return states
}

// sound runs what must not panic, and tells what was planned if it does.
func sound(t *testing.T, seed uint64, what string, plan func()) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			t.Fatalf("seed %d: %s panics: %v\n%s", seed, what, r, debug.Stack())
		}
	}()
	plan()
}

// TestHostileRuns: whatever somebody wrote into the status of a run, its children or approvals, planning never panics, and goes
// on from what it makes of it: reliability.md, item 13.
func TestHostileRuns(t *testing.T) {
	states := stolen(t)
	for seed := range uint64(1200) {
		hostileRun(t, states, seed)
	}
}

// FuzzHostileRuns looks for more of them.
func FuzzHostileRuns(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { hostileRun(t, stolen(t), seed) })
}

func hostileRun(t *testing.T, states []*world, seed uint64) {
	t.Helper()
	v := vandal{rand.New(rand.NewPCG(seed, 7)), []float64{0.001, 0.01, 0.1}[seed%3]}
	from := states[v.IntN(len(states))]
	w := newWorld(t, from.script)
	w.run, w.now, w.related.Approvals = from.run.DeepCopy(), from.now, slices.Clone(from.related.Approvals)
	for _, c := range from.children {
		spoilt := *c
		if c.Batch != nil {
			spoilt.Batch = c.Batch.DeepCopy()
			v.spoil(reflect.ValueOf(&spoilt.Batch.Status).Elem())
		}
		if c.Dataset != nil {
			spoilt.Dataset = c.Dataset.DeepCopy()
			v.spoil(reflect.ValueOf(&spoilt.Dataset.Status).Elem())
		}
		w.children = append(w.children, &spoilt)
	}
	v.spoil(reflect.ValueOf(&w.run.Status).Elem())
	for i := range w.related.Approvals {
		v.spoil(reflect.ValueOf(&w.related.Approvals[i].Spec).Elem())
	}
	for range 8 {
		var next Next[v1alpha1.AlignmentRunStatus]
		sound(t, seed, "a run", func() { next = Run(w.base(), w.run, w.related) })
		w.run.Status = next.Status
		for _, o := range next.Create {
			w.children = append(w.children, &Child{Object: o, Place: placeOf(o)})
		}
		for _, c := range w.active() {
			switch c.Place.Stage {
			case v1alpha1.StageCompare, v1alpha1.StageReevaluationScore, v1alpha1.StageReevaluationCompare:
				if w.run.Status.Best == nil {
					continue // the script goes by it
				}
			}
			w.succeed(c)
		}
	}
	rerunning := newWorld(t, rising)
	w.run.UID = "another"
	rerunning.related.Rerun, rerunning.run.Spec.Rerun = from.run.DeepCopy(), rerun(int32(1+v.IntN(4)), []v1alpha1.RerunStage{"Sample", "Pair", "Train", "Evaluate"}[v.IntN(4)])
	rerunning.related.Rerun.UID, rerunning.related.Rerun.Spec = "another", *rerunning.run.Spec.DeepCopy()
	v.spoil(reflect.ValueOf(&rerunning.related.Rerun.Status).Elem())
	sound(t, seed, "a rerun", func() {
		for range 5 {
			next := Run(rerunning.base(), rerunning.run, rerunning.related)
			rerunning.run.Status = next.Status
			for _, o := range next.Create {
				rerunning.children = append(rerunning.children, &Child{Object: o, Place: placeOf(o)})
			}
		}
	})
}

// TestHostileBatchesAndDatasets does the same to the other kinds.
func TestHostileBatchesAndDatasets(t *testing.T) {
	for seed := range uint64(1000) {
		v := vandal{rand.New(rand.NewPCG(seed, 7)), []float64{0.01, 0.1, 0.3}[seed%3]}
		b := newBatchYard(t)
		b.step()
		b.active(v1alpha1.StageTrack).Outcome.Usage = []jobs.PodUsage{{Pod: "p", GPUs: 1, GPUSeconds: 9, Open: true}}
		b.step()
		if v.IntN(2) == 0 {
			done := tracked
			done.Usage = b.active(v1alpha1.StageTrack).Outcome.Usage
			b.succeed(v1alpha1.StageTrack, done)
		}
		v.spoil(reflect.ValueOf(b.status).Elem())
		d := newDatasetYard(t)
		if v.IntN(2) == 0 {
			d.step()
		}
		v.spoil(reflect.ValueOf(d.status).Elem())
		for _, source := range d.sources {
			v.spoil(reflect.ValueOf(&source.Status).Elem())
		}
		sound(t, seed, "a batch", func() {
			for range 3 {
				*b.status = b.plan(b.base()).Status
				b.now = b.now.Add(1e9)
			}
		})
		sound(t, seed, "a dataset", func() { *d.status = d.plan(d.base()).Status; _ = d.plan(d.base()) })
	}
}
