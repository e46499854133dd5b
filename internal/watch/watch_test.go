package watch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/golden"
)

func TestPrinterSaysEachChangeOnce(t *testing.T) {
	var out strings.Builder
	p := &Printer{Out: &out}
	show := func(seconds int, run *v1alpha1.AlignmentRun, c children, connection string) {
		p.Show(view(run, c), begin.Add(time.Duration(seconds)*time.Second), connection)
	}
	waiting := newRun()
	waiting.Status.Conditions = []metav1.Condition{condition(v1alpha1.ConditionReconciling, v1alpha1.ReasonRuntimeNotFound, "AlignmentRuntime \"synthetic\" does not exist; waiting for it", -1)}
	show(0, waiting, children{}, "")
	show(2, stuckInPrepare(), children{}, "")
	scoring, batch := midway()
	show(31, scoring, batch, "")
	show(32, scoring, batch, "")
	show(33, scoring, batch, "API server, trying again: connection refused")
	show(34, scoring, batch, "API server, trying again: connection reset")
	show(35, scoring, batch, "")
	again, other := midway()
	other.batches["first-run-1-score"].Status.Progress.Percentage = new(int32(90))
	other.batches["first-run-1-score"].Status.Stages[0].Message = "pod first-run-1-track-1: Pulling image"
	show(41, again, other, "")
	show(141, ended(v1alpha1.ConditionComplete, v1alpha1.ReasonNoImprovement, "1 iteration did not raise the best accuracy"), children{}, "")
	golden.Check(t, "lines.txt", out.String())
}

func TestPainterRedrawsInPlace(t *testing.T) {
	var out strings.Builder
	size := Size{Columns: 60, Rows: 30}
	p := &Painter{Out: &out, Size: func() Size { return size }}
	run := newRun()
	show := func() string {
		out.Reset()
		p.Show(view(run, children{}), begin, "")
		return out.String()
	}
	if first := show(); strings.Contains(first, "\x1b[2A") || !strings.HasPrefix(first, beginUpdate+hideCursor) {
		t.Errorf("the first picture moves up: %q", first)
	}
	if second := show(); !strings.Contains(second, fmt.Sprintf("\x1b[%dA\r", p.drawn)) {
		t.Errorf("the second picture is not drawn over the first: %q", second)
	}
	size.Columns = 40
	if third := show(); !strings.Contains(third, clearAll) {
		t.Errorf("a resized terminal is not cleared: %q", third)
	}
	out.Reset()
	p.Close()
	if out.String() != showCursor {
		t.Errorf("Close: %q", out.String())
	}
}

// apiServer is a fake one that can be told to break its watches.
type apiServer struct {
	client.WithWatch
	watches chan apiwatch.Interface // of runs, as they begin; what happens before is not replayed to them
	refuse  atomic.Int32            // how many more watches to refuse
}

func newServer(t *testing.T, objects ...client.Object) *apiServer {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	inner := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithStatusSubresource(&v1alpha1.AlignmentRun{}).
		WithIndex(&v1alpha1.AlignmentRun{}, "metadata.name", func(o client.Object) []string { return []string{o.GetName()} }).Build()
	return &apiServer{WithWatch: inner, watches: make(chan apiwatch.Interface, 100)}
}

// IsWatchListSemanticsUnSupported makes the reflector list first: the fake client sends no initial events.
func (s *apiServer) IsWatchListSemanticsUnSupported() bool { return true }

func (s *apiServer) Watch(ctx context.Context, list client.ObjectList, opts ...client.ListOption) (apiwatch.Interface, error) {
	if _, ofRuns := list.(*v1alpha1.AlignmentRunList); ofRuns && s.refuse.Add(-1) >= 0 {
		return nil, errors.New("connection refused")
	}
	w, err := s.WithWatch.Watch(ctx, list, opts...)
	if _, ofRuns := list.(*v1alpha1.AlignmentRunList); ofRuns && err == nil {
		s.watches <- w
	}
	return w, err
}

// recorder tells the test what was shown.
type recorder struct{ views chan View }

func (r recorder) Show(v View, _ time.Time, _ string) { r.views <- v }
func (r recorder) Every() time.Duration               { return 0 }
func (r recorder) Close()                             { close(r.views) }

// follow runs a watcher; the result arrives when it has ended.
func follow(ctx context.Context, s *apiServer) (recorder, chan error) {
	show := recorder{make(chan View, 100)}
	result := make(chan error, 1)
	w := &Watcher{Client: s, Run: types.NamespacedName{Namespace: "team-a", Name: "first-run"}, Show: show, Clock: testingclock.NewFakeClock(begin)}
	go func() {
		_, err := w.Follow(ctx)
		result <- err
	}()
	return show, result
}

func setStatus(t *testing.T, s *apiServer, status v1alpha1.AlignmentRunStatus) {
	t.Helper()
	var run v1alpha1.AlignmentRun
	if err := s.Get(t.Context(), types.NamespacedName{Namespace: "team-a", Name: "first-run"}, &run); err != nil {
		t.Fatal(err)
	}
	run.Status = status
	if err := s.Status().Update(t.Context(), &run); err != nil {
		t.Fatal(err)
	}
}

func TestFollow(t *testing.T) {
	t.Run("until it is complete", func(t *testing.T) {
		s := newServer(t, started())
		show, result := follow(t.Context(), s)
		<-show.views
		<-s.watches
		setStatus(t, s, ended(v1alpha1.ConditionComplete, v1alpha1.ReasonTargetReached, "0.9").Status)
		if err := <-result; err != nil {
			t.Error(err)
		}
	})
	t.Run("until it has failed, with the reason", func(t *testing.T) {
		s := newServer(t, ended(v1alpha1.ConditionFailed, v1alpha1.ReasonCollapsed, "every sample lost"))
		_, result := follow(t.Context(), s)
		var failed *FailedError
		if err := <-result; !errors.As(err, &failed) || failed.Error() != "run team-a/first-run failed: Collapsed: every sample lost" {
			t.Errorf("got %v", err)
		}
	})
	t.Run("through broken watches", func(t *testing.T) {
		s := newServer(t, started())
		show, result := follow(t.Context(), s)
		<-show.views
		broken := <-s.watches
		s.refuse.Store(1)
		broken.Stop()
		<-s.watches // the watch was taken up again
		setStatus(t, s, ended(v1alpha1.ConditionComplete, v1alpha1.ReasonTargetReached, "0.9").Status)
		if err := <-result; err != nil {
			t.Error(err)
		}
	})
	t.Run("until it is deleted", func(t *testing.T) {
		s := newServer(t, started())
		show, result := follow(t.Context(), s)
		<-show.views
		<-s.watches
		if err := s.Delete(t.Context(), started()); err != nil {
			t.Fatal(err)
		}
		if err := <-result; err == nil || !strings.Contains(err.Error(), "was deleted") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("until the context ends, with its cause", func(t *testing.T) {
		cause := errors.New("not complete after 1m")
		ctx, cancel := context.WithCancelCause(t.Context())
		show, result := follow(ctx, newServer(t, started()))
		<-show.views
		cancel(cause)
		if err := <-result; !errors.Is(err, cause) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("with the progress of children", func(t *testing.T) {
		run, c := midway()
		batch := c.batches["first-run-1-score"]
		show, _ := follow(t.Context(), newServer(t, run, batch))
		for v := range show.views {
			if p := v.Iterations[1].Stages[1].Progress; p != nil {
				if p.Step != v1alpha1.StageTrack || p.Percentage != 55 {
					t.Errorf("got %+v", p)
				}
				return
			}
		}
	})
	t.Run("not at all when there is none", func(t *testing.T) {
		_, result := follow(t.Context(), newServer(t))
		if err := <-result; err == nil {
			t.Error("a run that does not exist is followed")
		}
	})
}
