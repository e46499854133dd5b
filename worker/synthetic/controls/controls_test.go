package controls

import (
	"fmt"
	"strings"
	"testing"

	"github.com/spatialalign/operator/worker/synthetic/align"
)

// The experiments of docs/synthetic.md. They need about a minute of two processors, and several times
// that under the race detector.
func TestControls(t *testing.T) {
	w := newWorld(t)
	dpo := align.ZODPO(beta, lambda, cut)
	results := map[string][]outcome{}
	experiments := []experiment{
		{name: "DPO", seed: 1, objective: dpo},
		{name: "DPO", seed: 2, objective: dpo},
		{name: "DPO", seed: 3, objective: dpo},
		{name: "winners only", seed: 1, objective: winnersOnly},
		{name: "shuffled labels", seed: 1, objective: dpo, relabel: shuffle},
		{name: "lambda 0", seed: 1, objective: align.ZODPO(beta, 0, cut)},
	}
	var table strings.Builder
	fmt.Fprintf(&table, "\nbase                    %v\n", w.baseline)
	for _, e := range experiments {
		results[e.String()] = w.run(t, e)
		for i, o := range results[e.String()] {
			fmt.Fprintf(&table, "%-23s %v  (iteration %d)\n", e, o, i+1)
		}
	}
	t.Log(table.String())

	last := func(name string) outcome { return results[name][iterations-1] }
	if a := w.baseline.accuracy; a < 0.3 || a > 0.4 {
		t.Errorf("the base model has Acc@0.7 %.3f, want about 0.35: spatially clueless, but not hopeless", a)
	}
	if v := w.baseline.valid; v < 0.9 || v > 0.97 {
		t.Errorf("%.3f of the base model's samples are valid, want 3 to 10 %% INVALID through the pixels", v)
	}
	for _, seed := range []string{"1", "2", "3"} {
		if o := last("DPO seed " + seed); o.accuracy < 0.75 {
			t.Errorf("DPO seed %s ends at %v, want Acc@0.7 >= 0.75", seed, o)
		}
		if o := last("DPO seed " + seed); o.heldOut < 0.6 {
			t.Errorf("DPO seed %s ends at %v, want held-out classes to follow", seed, o)
		}
	}
	for i, o := range results["shuffled labels seed 1"] {
		if o.accuracy > w.baseline.accuracy+0.05 {
			t.Errorf("shuffled labels, iteration %d: %v improves on the base's %v: something but the labels teaches", i+1, o, w.baseline)
		}
	}
	if o := last("lambda 0 seed 1"); o.accuracy > w.baseline.accuracy/2 || o.valid > w.baseline.valid/2 {
		t.Errorf("lambda 0 ends at %v, want a collapse: the regularizer would be without use", o)
	}
	if o := last("winners only seed 1"); o.accuracy > last("DPO seed 1").accuracy {
		t.Errorf("winners only ends at %v, above DPO's %v", o, last("DPO seed 1"))
	}
}
