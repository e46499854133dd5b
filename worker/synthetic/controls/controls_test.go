package controls

import (
	"testing"

	"github.com/spatialalign/operator/worker/synthetic/align"
)

func TestTmp(t *testing.T) {
	w := newWorld(t)
	t.Logf("baseline %v", w.baseline)
	for _, e := range []experiment{
		{name: "DPO", seed: 1, objective: align.ZODPO(beta, lambda, cut)},
		{name: "DPO", seed: 2, objective: align.ZODPO(beta, lambda, cut)},
		{name: "DPO", seed: 3, objective: align.ZODPO(beta, lambda, cut)},
	} {
		for i, o := range w.run(t, e) {
			t.Logf("%v iteration %d: %v", e, i+1, o)
		}
	}
}
