// Package storetest puts into a store what tests want to find there.
package storetest

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jsonl"
	"github.com/spatialalign/operator/internal/stage"
)

// Put stores a file.
func Put(t testing.TB, store *artifact.Store, key, data string) contract.Artifact {
	t.Helper()
	f, err := store.Write(t.Context(), key, strings.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return contract.Artifact{Key: f.Key, Digest: f.Digest}
}

// PutLines stores JSONL.
func PutLines[T any](t testing.TB, store *artifact.Store, key string, lines ...T) contract.Artifact {
	t.Helper()
	var data bytes.Buffer
	encoder := jsonl.NewEncoder[T](&data)
	for i := range lines {
		if err := encoder.Write(&lines[i]); err != nil {
			t.Fatal(err)
		}
	}
	return Put(t, store, key, data.String())
}

// Sidecar is that of a sample with a video and a latent of a few bytes, which it stores.
func Sidecar(t testing.TB, store *artifact.Store, sampling contract.Sampling, prompt contract.PromptLine, seed uint64) *contract.Sidecar {
	t.Helper()
	id := contract.SampleKey(sampling, prompt.Prompt, seed)
	file := func(name string) contract.File {
		data := fmt.Sprint(name, seed)
		a := Put(t, store, contract.SampleFileKey(id, "pod-1", name), data)
		return contract.File{Key: a.Key, Digest: a.Digest, Size: int64(len(data))}
	}
	latent := file("latent.bin")
	return &contract.Sidecar{
		SampleID: id, PromptID: prompt.PromptID, Seed: seed, Sampling: sampling, Video: file("video.gif"), Latent: &latent,
		Width: 64, Height: 48, FrameCount: 24,
	}
}

// PutSample commits such a sample.
func PutSample(t testing.TB, store *artifact.Store, sampling contract.Sampling, prompt contract.PromptLine, seed uint64) *contract.Sidecar {
	t.Helper()
	sidecar := Sidecar(t, store, sampling, prompt, seed)
	if _, err := stage.CommitSample(t.Context(), store, sidecar); err != nil {
		t.Fatal(err)
	}
	return sidecar
}
