//go:build faults

package faults

import (
	"testing"
	"time"
)

// Item 3: each watched kind is frozen for a while, and once more while the operator restarts and fills its caches with the
// past.
func TestFrozenWatches(t *testing.T) {
	t.Parallel()
	u, d := references[3].get(t), sized(10*time.Second, time.Minute)
	report.describe(3, "%d watched kinds frozen for %s each, and again across a restart that sees the past", len(u.watches), d)
	for _, resource := range u.watches {
		t.Run(resource, func(t *testing.T) {
			t.Parallel()
			c, namespace := shared, shared.namespace(t, "frozen-"+resource)
			o := c.operate(t, namespace, []string{namespace})
			run := alignmentRun(namespace, runName, 3)
			c.create(t, run)
			freeze := func(afterWrites int, meanwhile func()) error {
				if err := o.wrote(t, afterWrites); err != nil {
					return err
				}
				thaw, err := o.proxy.freeze(t.Context(), resource)
				if err != nil {
					return err
				}
				meanwhile()
				thaw()
				return nil
			}
			pass := func(d time.Duration) { <-time.After(d) }
			err := freeze(u.writes/5, func() { pass(d) })
			if err == nil {
				err = freeze(u.writes/2, func() { pass(d / 2); o.kill(); pass(d / 2) })
			}
			if err == nil {
				err = c.ends(t.Context(), run)
			}
			if err == nil {
				err = c.same(t.Context(), run, u.end)
			}
			report.tried(t, 3, 2, err)
		})
	}
}
