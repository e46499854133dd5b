package model

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spatialalign/operator/worker/synthetic/nn"
	"github.com/spatialalign/operator/worker/synthetic/safetensors"
	"github.com/spatialalign/operator/worker/synthetic/scene"
)

// Keys of the files' metadata.
const (
	metaSubjects = "subjects"
	metaObjects  = "objects"
	metaBase     = "base_model_digest"
	metaRank     = "rank"
	metaAlpha    = "alpha"
)

// EncodeWeights as safetensors, with the vocabulary in the metadata.
func EncodeWeights(w *Weights, v *Vocabulary) ([]byte, error) {
	file := safetensors.File{
		Metadata: map[string]string{metaSubjects: strings.Join(v.Subjects, " "), metaObjects: strings.Join(v.Objects, " ")},
		Tensors:  map[string]safetensors.Tensor{},
	}
	names, layers := w.named()
	for i, l := range layers {
		file.Tensors[names[i]+".weight"] = safetensors.Tensor{Shape: []int{l.In, l.Out}, Data: l.W}
		file.Tensors[names[i]+".bias"] = safetensors.Tensor{Shape: []int{l.Out}, Data: l.B}
	}
	return file.Encode()
}

// DecodeWeights reads what EncodeWeights wrote.
func DecodeWeights(data []byte) (*Weights, *Vocabulary, error) {
	file, err := safetensors.Decode(data)
	if err != nil {
		return nil, nil, err
	}
	v := &Vocabulary{Subjects: strings.Fields(file.Metadata[metaSubjects]), Objects: strings.Fields(file.Metadata[metaObjects])}
	w := NewWeights(v.Words())
	names, layers := w.named()
	if want := 2 * len(names); len(file.Tensors) != want {
		return nil, nil, fmt.Errorf("weights: %d tensors instead of %d", len(file.Tensors), want)
	}
	for i, l := range layers {
		if err := fill(file, names[i]+".weight", l.W, l.In, l.Out); err != nil {
			return nil, nil, err
		}
		if err := fill(file, names[i]+".bias", l.B, l.Out); err != nil {
			return nil, nil, err
		}
	}
	return w, v, nil
}

// EncodeAdapter as safetensors; its metadata name rank, alpha and the digest of the base model.
func EncodeAdapter(a *Adapter, baseDigest string) ([]byte, error) {
	file := safetensors.File{
		Metadata: map[string]string{metaBase: baseDigest, metaRank: strconv.Itoa(a.Rank),
			metaAlpha: strconv.FormatFloat(float64(a.Alpha), 'g', -1, 32)},
		Tensors: map[string]safetensors.Tensor{},
	}
	names, loras := a.named()
	for i, l := range loras {
		file.Tensors[names[i]+".lora_A"] = safetensors.Tensor{Shape: []int{l.In, l.Rank}, Data: l.A}
		file.Tensors[names[i]+".lora_B"] = safetensors.Tensor{Shape: []int{l.Rank, l.Out}, Data: l.B}
	}
	return file.Encode()
}

// MaxRank bounds the adapters that are read; no layer has a larger side that could use more.
const MaxRank = 2 * Width

// DecodeAdapter reads what EncodeAdapter wrote, for the base model of that digest and text inputs.
func DecodeAdapter(data []byte, words int, baseDigest string) (*Adapter, error) {
	file, err := safetensors.Decode(data)
	if err != nil {
		return nil, err
	}
	if got := file.Metadata[metaBase]; got != baseDigest {
		return nil, fmt.Errorf("adapter: made for base model %q, not %q", got, baseDigest)
	}
	rank, err := strconv.Atoi(file.Metadata[metaRank])
	if err != nil || rank < 1 || rank > MaxRank {
		return nil, fmt.Errorf("adapter: rank %q is not in 1..%d", file.Metadata[metaRank], MaxRank)
	}
	alpha, err := strconv.ParseFloat(file.Metadata[metaAlpha], 32)
	if err != nil || !(alpha > 0) || math.IsInf(alpha, 0) {
		return nil, fmt.Errorf("adapter: alpha %q is not a positive number", file.Metadata[metaAlpha])
	}
	a := NewAdapter(words, rank, float32(alpha))
	names, loras := a.named()
	if want := 2 * len(names); len(file.Tensors) != want {
		return nil, fmt.Errorf("adapter: %d tensors instead of %d", len(file.Tensors), want)
	}
	for i, l := range loras {
		if err := fill(file, names[i]+".lora_A", l.A, l.In, l.Rank); err != nil {
			return nil, err
		}
		if err := fill(file, names[i]+".lora_B", l.B, l.Rank, l.Out); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// EncodeLatent as safetensors.
func EncodeLatent(latent []float32) ([]byte, error) {
	shape := []int{scene.KeyFrames, scene.LatentSize / scene.KeyFrames}
	file := safetensors.File{Tensors: map[string]safetensors.Tensor{"latent": {Shape: shape, Data: latent}}}
	return file.Encode()
}

// DecodeLatent reads what EncodeLatent wrote.
func DecodeLatent(data []byte) ([]float32, error) {
	file, err := safetensors.Decode(data)
	if err != nil {
		return nil, err
	}
	latent := make([]float32, scene.LatentSize)
	if err := fill(file, "latent", latent, scene.KeyFrames, scene.LatentSize/scene.KeyFrames); err != nil {
		return nil, err
	}
	return latent, nil
}

// fill dst from a tensor that must have the shape and finite values.
func fill(file *safetensors.File, name string, dst []float32, shape ...int) error {
	t, ok := file.Tensors[name]
	if !ok {
		return fmt.Errorf("tensor %q is missing; there are %v", name, slices.Sorted(maps.Keys(file.Tensors)))
	}
	if !slices.Equal(t.Shape, shape) {
		return fmt.Errorf("tensor %q has shape %v, not %v", name, t.Shape, shape)
	}
	if !nn.Finite(t.Data) {
		return fmt.Errorf("tensor %q holds a value that is not finite", name)
	}
	copy(dst, t.Data)
	return nil
}
