package base

import (
	_ "embed"
	"fmt"
	"sync"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/worker/synthetic/model"
)

//go:embed base.safetensors
var embedded []byte

// NumericsRevision names how samples are computed from weights and seed. It is raised whenever the
// bits of a sample may change while the weights stay.
const NumericsRevision = "1"

// Name of the model in specs.
const Name = "synthetic"

// Model is the embedded base model.
type Model struct {
	*model.Weights
	*model.Vocabulary
	// Digest of the weights file: the model's identity in specs and sample keys.
	Digest string
}

// Load decodes the embedded weights, once.
var Load = sync.OnceValues(func() (*Model, error) {
	weights, vocabulary, err := model.DecodeWeights(embedded)
	if err != nil {
		return nil, fmt.Errorf("embedded base model: %w", err)
	}
	return &Model{weights, vocabulary, contract.Digest(embedded)}, nil
})
