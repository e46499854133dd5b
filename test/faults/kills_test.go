//go:build faults

package faults

import (
	"fmt"
	"testing"
	"time"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// perRun is how many of an undisturbed run's writes a disturbed run suffers at: evenly spread, and each is reached only if
// the run goes on after the one before, so that none can hide another's damage. Together the runs cover every write.
var perRun = sized(30, 1)

// Item 1: the operator is killed before and after each of its writes.
func TestKills(t *testing.T) {
	t.Parallel()
	u := references[3].get(t)
	report.describe(1, "operator killed before and after each of the %d writes of a 3-iteration run, %d kill(s) a run", u.writes, perRun)
	for name, fault := range map[string]func(*operator) effect{"kill-before": killBefore, "kill-after": killAfter} {
		atEveryWrite(t, u, 1, name, fault)
	}
}

// Item 2: every write is done, and its answer lost.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	u := references[3].get(t)
	report.describe(2, "answer lost of each of the %d writes of a 3-iteration run, %d a run", u.writes, perRun)
	atEveryWrite(t, u, 2, "lost", func(*operator) effect { return lost })
}

// atEveryWrite disturbs runs until each write of an undisturbed run was disturbed once.
func atEveryWrite(t *testing.T, u undisturbed, item int, name string, fault func(*operator) effect) {
	t.Helper()
	stride := (u.writes + perRun - 1) / perRun
	for first := 1; first <= stride; first++ {
		t.Run(fmt.Sprintf("%s/%d", name, first), func(t *testing.T) {
			t.Parallel()
			c, namespace := shared, shared.namespace(t, fmt.Sprintf("%s-%d", name, first))
			o := c.operate(t, namespace, []string{namespace})
			writes := every(first, stride, u.writes)
			n := writes.left()
			o.proxy.follow(at(writes, fault(o)))
			run := alignmentRun(namespace, runName, 3)
			c.create(t, run)
			err := c.ends(t.Context(), run)
			if err == nil {
				err = c.suffersLate(t, o, writes, run)
			}
			if err == nil {
				err = c.same(t.Context(), run, u.end)
			}
			report.tried(t, item, n, err)
		})
	}
}

// suffersLate waits for the events behind a run's end. A run may need fewer writes than the undisturbed one, where two
// became one: what is left of the points then disturbs the ended run.
func (c *cluster) suffersLate(t *testing.T, o *operator, writes *points, run *v1alpha1.AlignmentRun) error {
	if eventually(t.Context(), 5*time.Second, "all points are reached", func() bool { return writes.left() == 0 }) == nil {
		return nil
	}
	for range writes.left() {
		asked, _ := o.proxy.requests()
		o.kill()
		err := eventually(t.Context(), patience, "the operator is back", func() bool {
			now, _ := o.proxy.requests()
			return now > asked
		})
		if err != nil {
			return err
		}
	}
	return c.ends(t.Context(), run)
}
