package base

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/worker/synthetic/model"
)

// shortDigest is that of the weights after 12 steps of the published recipe, on amd64.
const shortDigest = "sha256:ebc4f3b6d5eb15ce4b2996cf10b8168d1612c4e8032dd7ee4492aeb455e9c79b"

// A short version of the pre-training gives the same bits as ever, whatever the processors. When it
// does not, the embedded weights can no longer be reproduced: make them anew.
func TestPretrainingIsReproducible(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Logf("on %s the compiler fuses multiplications and additions: only the sameness of two runs is checked", runtime.GOARCH)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	recipe := Published
	recipe.Steps = 12
	for _, processors := range []int{1, 3} {
		runtime.GOMAXPROCS(processors)
		var losses []float64
		weights, err := Pretrain(t.Context(), recipe, func(_ int, loss float64) { losses = append(losses, loss) })
		if err != nil {
			t.Fatal(err)
		}
		data, err := model.EncodeWeights(weights, Vocabulary())
		if err != nil {
			t.Fatal(err)
		}
		if got := contract.Digest(data); runtime.GOARCH == "amd64" && got != shortDigest {
			t.Errorf("on %d processors the weights are %s, want %s", processors, got, shortDigest)
		}
		if first, last := losses[0], losses[len(losses)-1]; last > 0.95*first {
			t.Errorf("the loss went from %.3f to %.3f only", first, last)
		}
	}
}

func TestPretrainingEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	recipe := Published
	_, err := Pretrain(ctx, recipe, func(step int, _ float64) {
		if step == 1 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

func TestTheEmbeddedModelKnowsTheVocabulary(t *testing.T) {
	m, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range Vocabulary().Subjects {
		for _, object := range Vocabulary().Objects {
			if _, err := m.Encode(subject, object, "LR"); err != nil {
				t.Error(err)
			}
		}
	}
	if n := len(embedded); n < 500_000 || n > 1_000_000 {
		t.Errorf("the embedded weights have %d bytes", n)
	}
}
