//go:build faults

package faults

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/plan"
)

// Item 24: runs that have ended cost nothing, also when the operator restarts above them; and one more run on top of them
// starts at once.
func TestIdleRuns(t *testing.T) {
	const idle = 1000
	u, c, namespace := references[1].get(t), shared, shared.namespace(t, "idle")
	d := sized(time.Minute, 10*time.Minute)
	report.describe(24, "no write in %s beside %d finished runs, the operator's start among it; one more run started its first Job within 1 s", d, idle)
	finished := settled(u.status)
	var creators errgroup.Group
	creators.SetLimit(16)
	for i := range idle {
		creators.Go(func() error {
			run := alignmentRun(namespace, fmt.Sprintf("finished-%04d", i), 1)
			if err := c.make(t.Context(), run); err != nil {
				return err
			}
			return untilAnswered(func() error {
				// Created or updated by a call that timed out, it has another version by now.
				if err := c.live.Get(t.Context(), client.ObjectKeyFromObject(run), run); err != nil {
					return err
				}
				finished.DeepCopyInto(&run.Status)
				return c.Status().Update(t.Context(), run)
			}, func(error) bool { return false })
		})
	}
	if err := creators.Wait(); err != nil {
		t.Fatal(err)
	}
	o := c.operate(t, "idle", []string{namespace})
	if err := eventually(t.Context(), time.Minute, "the operator watches", func() bool { return len(o.proxy.watches()) >= len(u.watches) }); err != nil {
		t.Fatal(err)
	}
	<-time.After(5 * time.Second) // its caches fill, and every run is looked at
	_, startWrites := o.proxy.requests()
	err := c.oneMore(t, namespace)
	report.tried(t, 24, 1, err)

	t.Parallel() // the long silence disturbs nobody
	quiet := c.operate(t, "idle-again", []string{namespace})
	<-time.After(d)
	_, writes := quiet.proxy.requests()
	if n := startWrites + writes; n > 0 {
		err = fmt.Errorf("%d writes beside idle runs: %v", n, quiet.proxy.asked)
	} else {
		err = nil
	}
	report.tried(t, 24, idle, err)
}

// settled is the status of a finished run as the operator leaves it when the run's children are gone.
func settled(status v1alpha1.AlignmentRunStatus) v1alpha1.AlignmentRunStatus {
	run := &v1alpha1.AlignmentRun{Status: status}
	return plan.Run(plan.Base{Now: metav1.Now()}, run, plan.Related{}).Status
}

// oneMore creates a run and measures how long its first Job takes; then it takes the run away again. The quickest of three counts:
// the machine may have something else to do.
func (c *cluster) oneMore(t *testing.T, namespace string) error {
	t.Helper()
	var quickest, limit time.Duration
	for i := range 3 {
		limit = time.Duration(float64(time.Second) * slowness.now())
		run := alignmentRun(namespace, fmt.Sprintf("one-more-%d", i), 1)
		since := time.Now()
		c.create(t, run)
		err := eventually(t.Context(), time.Minute, "its first Job", func() bool { return len(c.history.family(run)) > 0 })
		if took := time.Since(since); i == 0 || took < quickest {
			quickest = took
		}
		err = errors.Join(err, c.Delete(t.Context(), run), eventually(t.Context(), patience, "it is gone", func() bool { return c.gone(t.Context(), run) }))
		if err != nil {
			return err
		}
		if quickest <= limit {
			break
		}
	}
	report.longest(24, "first Job after", quickest)
	if quickest > limit {
		return fmt.Errorf("the first Job of one more run took %s", quickest)
	}
	return nil
}
