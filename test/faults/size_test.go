//go:build faults

package faults

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/spatialalign/operator/api/v1alpha1"
)

const (
	// mostBytes is what any object may take.
	mostBytes      = 256 << 10
	mostIterations = 10_000
)

// Item 20: no object outgrows 256 KiB, however long a run goes on and however large a batch is. Ten thousand iterations
// are planned in memory; the operator takes the run over where its status was largest, and ends it.
func TestSizes(t *testing.T) {
	t.Parallel()
	report.describe(20, "%d iterations planned in memory, the last ones by the operator, and a batch of %d samples: every object at most 256 KiB", mostIterations, hugeSamples)
	c, namespace := shared, shared.namespace(t, "sizes")
	run := alignmentRun(namespace, runName, mostIterations)
	c.create(t, run)
	status, err := c.longestRun(t, run)
	report.tried(t, 20, mostIterations, err)

	run.Status = *status
	if err := c.Status().Update(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	batch := scoringBatch(namespace, "huge", hugeIndex)
	c.operate(t, "sizes", []string{namespace})
	c.create(t, batch)
	err = c.ends(t.Context(), batch)
	if err == nil && (batch.Status.Summary == nil || *batch.Status.Summary.Total != hugeSamples) {
		err = fmt.Errorf("the batch ends with %+v", batch.Status)
	}
	report.tried(t, 20, 1, err)
	err = c.ends(t.Context(), run)
	if err == nil && (run.Status.Phase != v1alpha1.PhaseSucceeded || *run.Status.Iterations[len(run.Status.Iterations)-1].Iteration != mostIterations) {
		err = fmt.Errorf("the run ends with %+v", run.Status.Conditions)
	}
	report.tried(t, 20, 1, err)
}

// longestRun plans a run up to its last iteration but one, and returns its status there.
func (c *cluster) longestRun(t *testing.T, run *v1alpha1.AlignmentRun) (*v1alpha1.AlignmentRunStatus, error) {
	t.Helper()
	w := &world{run: run.DeepCopy(), runtime: alignmentRuntime(run.Namespace), now: time.Now().Add(-mostIterations * time.Minute)}
	w.runtime.Generation = 1
	largest, k := 0, int32(0)
	for k < mostIterations-1 {
		if err := w.step(); err != nil {
			return nil, err
		}
		if hasEnded(w.run) {
			return nil, fmt.Errorf("the run ends after iteration %d: %+v", k, w.run.Status.Conditions)
		}
		if its := w.run.Status.Iterations; *its[len(its)-1].Iteration > k {
			k = *its[len(its)-1].Iteration
			w.forget(k - 1)
		}
		if k%100 != 0 {
			continue // status hardly changes from one iteration to the next
		}
		data, err := json.Marshal(w.run)
		if err != nil {
			return nil, err
		}
		largest = max(largest, len(data))
	}
	report.note(20, "a run at most %d KiB, a child of it at most %d KiB (%s)", largest>>10, w.largest>>10, w.largestName)
	if largest > mostBytes || w.largest > mostBytes {
		return &w.run.Status, fmt.Errorf("a run of %d bytes, a child (%s) of %d", largest, w.largestName, w.largest)
	}
	return &w.run.Status, nil
}

// judgeSizes holds all objects that were ever seen, of all items, against the bar.
func (h *history) judgeSizes() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for kind, size := range h.largest {
		if size > mostBytes {
			return fmt.Errorf("a %s of %d bytes was seen", kind, size)
		}
	}
	return nil
}
