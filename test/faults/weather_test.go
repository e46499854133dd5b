//go:build faults

package faults

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// Item 12: an API server that fails often. All runs finish as they would, with at most three times the usual requests.
func TestFailingRequests(t *testing.T) {
	t.Parallel()
	u, d := references[3].get(t), sized(2*time.Minute, 30*time.Minute)
	report.describe(12, "runs finished while for %s 10 %% of writes met 409, 5 %% of requests 429 and 5 %% 500, 504 or a lost answer", d)
	c, namespace := shared, shared.namespace(t, "weather")
	o := c.operate(t, namespace, []string{namespace})
	if err := eventually(t.Context(), time.Minute, "the operator watches", func() bool { return len(o.proxy.watches()) >= len(u.watches) }); err != nil {
		t.Fatal(err)
	}
	o.proxy.follow(weather(1))
	over := time.Now().Add(d)
	before, _ := o.proxy.requests()
	var lanes errgroup.Group
	counts := make([]int, 2)
	for lane := range counts {
		lanes.Go(func() error {
			for time.Now().Before(over) {
				run := alignmentRun(namespace, fmt.Sprintf("run-%d-%d", lane, counts[lane]), 3)
				c.create(t, run)
				if err := c.ends(t.Context(), run); err != nil {
					return err
				}
				if err := c.same(t.Context(), run, u.end); err != nil {
					return err
				}
				counts[lane]++
			}
			return nil
		})
	}
	err := lanes.Wait()
	runs := 0
	for _, n := range counts {
		runs += n
	}
	total, _ := o.proxy.requests()
	usual := float64(total-before) / float64(runs*u.requests)
	if err == nil && usual > 3 {
		err = fmt.Errorf("%d requests for %d runs are %.2f times the usual %d a run", total-before, runs, usual, u.requests)
	}
	report.note(12, "%.2f times the usual requests", usual)
	report.tried(t, 12, runs, err)
}
