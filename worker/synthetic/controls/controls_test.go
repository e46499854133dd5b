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
		{name: "lambda 0", seed: 1, objective: align.ZODPO(beta, 0, cut)},
		{name: "shuffled", seed: 1, objective: align.ZODPO(beta, lambda, cut), relabel: shuffle},
		{name: "winners", seed: 1, objective: winnersOnly},
	} {
		for i, o := range w.run(t, e) {
			t.Logf("%v iteration %d: %v", e, i+1, o)
		}
	}
}
