package align

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/spatialalign/operator/worker/synthetic/nn"
	"github.com/spatialalign/operator/worker/synthetic/safetensors"
)

// Names in a checkpoint. Parameters and moments are one tensor each, in the adapter's order.
const (
	tensorParameters = "parameters"
	tensorFirst      = "first_moments"
	tensorSecond     = "second_moments"
	tensorHistory    = "history"
	metaStep         = "step"
	metaKey          = "key"
)

// historyWidth is the numbers of a step's Stats in the history.
const historyWidth = 4

// Checkpoint encodes the state of the training under a key that says of what training it is.
// history are the Stats of all steps so far; they come back in single precision.
func (t *Trainer) Checkpoint(key string, history []Stats) ([]byte, error) {
	var flat []float32
	for _, s := range history {
		flat = append(flat, float32(s.Loss), float32(s.Margin), float32(s.Regularizer), float32(s.GradNorm))
	}
	vector := func(x []float32) safetensors.Tensor { return safetensors.Tensor{Shape: []int{len(x)}, Data: x} }
	file := safetensors.File{
		Metadata: map[string]string{metaKey: key, metaStep: strconv.Itoa(t.adam.Step)},
		Tensors: map[string]safetensors.Tensor{
			tensorParameters: vector(slices.Concat(t.adapter.Slices()...)),
			tensorFirst:      vector(t.adam.M),
			tensorSecond:     vector(t.adam.V),
			tensorHistory:    {Shape: []int{len(history), historyWidth}, Data: flat},
		},
	}
	return file.Encode()
}

// Restore takes up a training where a checkpoint of the same key left it and gives the history. The
// steps that follow are bit for bit those of a training that was never interrupted. On an error
// nothing has changed.
func (t *Trainer) Restore(data []byte, key string) ([]Stats, error) {
	file, err := safetensors.Decode(data)
	if err != nil {
		return nil, err
	}
	if got := file.Metadata[metaKey]; got != key {
		return nil, fmt.Errorf("checkpoint is of training %q, not %q", got, key)
	}
	step, err := strconv.Atoi(file.Metadata[metaStep])
	if err != nil || step < 1 || step > t.options.Steps {
		return nil, fmt.Errorf("checkpoint is of step %q, want 1 to %d", file.Metadata[metaStep], t.options.Steps)
	}
	sizes := map[string]int{tensorParameters: len(t.adam.M), tensorFirst: len(t.adam.M), tensorSecond: len(t.adam.M), tensorHistory: step * historyWidth}
	for name, size := range sizes {
		if got := file.Tensors[name].Data; len(got) != size || !nn.Finite(got) {
			return nil, fmt.Errorf("checkpoint: %s has %d values, want %d finite ones", name, len(got), size)
		}
	}
	parameters := file.Tensors[tensorParameters].Data
	for _, slice := range t.adapter.Slices() {
		parameters = parameters[copy(slice, parameters):]
	}
	t.adam.Step = step
	copy(t.adam.M, file.Tensors[tensorFirst].Data)
	copy(t.adam.V, file.Tensors[tensorSecond].Data)
	history := make([]Stats, step)
	for i, h := range slices.Collect(slices.Chunk(file.Tensors[tensorHistory].Data, historyWidth)) {
		history[i] = Stats{Step: i, GradNorm: float64(h[3]),
			Terms: Terms{Loss: float64(h[0]), Margin: float64(h[1]), Regularizer: float64(h[2])}}
	}
	return history, nil
}
