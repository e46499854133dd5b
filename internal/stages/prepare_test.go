package stages_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spatialalign/operator/internal/artifact/storetest"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/stage"
)

var (
	model    = contract.Model{Name: "m", Digest: contract.Digest([]byte("m"))}
	sampling = contract.Sampling{Model: model, NumericsRevision: "1", Steps: 12}
	promptA  = contract.PromptLine{PromptID: "a", Type: "LR", Subject: "rabbit", Object: "stone", Prompt: "a rabbit jumps over a stone"}
	promptB  = contract.PromptLine{PromptID: "b", Type: "TL", Subject: "cat", Object: "box", Prompt: "a cat leaves a box"}
)

func prepare(spec contract.PrepareSpec) contract.Spec {
	return contract.Spec{Stage: contract.Prepare, Prepare: &spec}
}

func generated(name string, count int, seed uint64) contract.PromptSource {
	return contract.PromptSource{Name: name, Generate: &contract.Generate{Count: count, Seed: seed, Split: name}}
}

func TestPrepare(t *testing.T) {
	w := newWorld(t)
	spec := prepare(contract.PrepareSpec{
		Prompts: []contract.PromptSource{generated("train", 12, 1), generated("evaluation", 6, 2)},
		Sets: []contract.SampleSet{
			{Name: "train", SamplesPerPrompt: 5, Sampling: sampling, Seeds: contract.SeedRule{Seed: 7, Iteration: 1}, KeepLatents: true},
			{Name: "evaluation", SamplesPerPrompt: 3, Sampling: sampling, Seeds: contract.SeedRule{Seed: 9}},
		},
	})
	done := w.done(spec)
	if diff := cmp.Diff(map[string]int64{
		"train/prompts": 12, "evaluation/prompts": 6,
		"train/total": 60, "train/missing": 60, "evaluation/total": 18, "evaluation/missing": 18,
	}, done.Counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	prompts := map[string]contract.PromptLine{}
	for _, p := range lines[contract.PromptLine](w, done.Outputs["prompts/train"]) {
		prompts[p.PromptID] = p
	}
	index := lines[contract.IndexLine](w, done.Outputs["index/train"])
	if !slices.IsSortedFunc(index, func(a, b contract.IndexLine) int { return strings.Compare(a.SampleID, b.SampleID) }) {
		t.Error("the index is not ordered by sampleID")
	}
	seeds := map[string]map[uint64]bool{}
	for _, line := range index {
		if line.SampleID != contract.SampleKey(sampling, prompts[line.PromptID].Prompt, line.Seed) {
			t.Errorf("sample %s is not the key of prompt %s and seed %d", line.SampleID, line.PromptID, line.Seed)
		}
		if seeds[line.PromptID] == nil {
			seeds[line.PromptID] = map[uint64]bool{}
		}
		seeds[line.PromptID][line.Seed] = true
	}
	for j := range 5 {
		if want := contract.Seed(contract.SeedRule{Seed: 7, Iteration: 1}, index[0].PromptID, j); !seeds[index[0].PromptID][want] {
			t.Errorf("seed %d of prompt %s is not in the index", want, index[0].PromptID)
		}
	}
}

// TestPrepareCountsMissing: what is in the store, whole and made as asked, need not be made again.
func TestPrepareCountsMissing(t *testing.T) {
	w := newWorld(t)
	prompts := storetest.PutLines(w, w.store, "in/prompts.jsonl", promptA, promptB)
	set := contract.SampleSet{Name: "train", Prompts: &prompts, SamplesPerPrompt: 2, Sampling: sampling}
	first := w.done(prepare(contract.PrepareSpec{Sets: []contract.SampleSet{set}}))
	index := lines[contract.IndexLine](w, first.Outputs["index/train"])
	for i, line := range index {
		made := &contract.Sidecar{
			SampleID: line.SampleID, PromptID: line.PromptID, Seed: line.Seed, Sampling: sampling, Width: 64, Height: 48, FrameCount: 24,
		}
		video := w.put(contract.SampleFileKey(line.SampleID, "uid", "video.gif"), []byte("GIF"))
		made.Video = contract.File{Key: video.Key, Size: 3, Digest: video.Digest}
		switch i {
		case 0: // whole, with its latent
			made.Latent = &made.Video
		case 1: // whole, without a latent
		case 2: // its sidecar says that it was made with other steps
			made.Sampling.Steps++
		case 3: // its video is cut
			if err := os.Truncate(filepath.Join(w.dir, video.Key), 1); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := stage.CommitSample(t.Context(), w.store, made); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		keepLatents bool
		want        int64
	}{{false, 2}, {true, 3}} {
		set.KeepLatents, set.Seeds.Round = c.keepLatents, 0
		if err := os.RemoveAll(filepath.Join(w.dir, "out")); err != nil { // nothing to adopt
			t.Fatal(err)
		}
		done := w.done(prepare(contract.PrepareSpec{Sets: []contract.SampleSet{set}}))
		if got := done.Counts["train/missing"]; got != c.want {
			t.Errorf("keepLatents %v: %d samples are missing, want %d", c.keepLatents, got, c.want)
		}
	}
}

func TestPrepareSources(t *testing.T) {
	w := newWorld(t)
	csv := filepath.Join(t.TempDir(), "prompts.csv")
	if err := os.WriteFile(csv, []byte("type,prompt_id,animal,object,scene,initial_SR,final_SR,prompt\nLR,7,rabbit,stone,a field,L,R,a rabbit jumps\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	theirs := storetest.PutLines(w, w.store, "team/prompts.jsonl", promptB)
	done := w.done(prepare(contract.PrepareSpec{Prompts: []contract.PromptSource{
		{Name: "train", File: csv}, {Name: "evaluation", Artifact: &contract.Artifact{Key: theirs.Key}},
	}}))
	train := lines[contract.PromptLine](w, done.Outputs["prompts/train"])
	if len(train) != 1 || train[0].Subject != "rabbit" || train[0].Type != "LR" {
		t.Errorf("train prompts from CSV: %+v", train)
	}
	if diff := cmp.Diff([]contract.PromptLine{promptB}, lines[contract.PromptLine](w, done.Outputs["prompts/evaluation"])); diff != "" {
		t.Errorf("evaluation prompts from the store (-want +got):\n%s", diff)
	}
	m, err := w.store.ReadManifest(t.Context(), *done.Manifest)
	if err != nil || m.Inputs[theirs.Key] != theirs.Digest {
		t.Errorf("the digest of the unpinned input is not in the manifest: %v, %v", m.Inputs, err)
	}
}

func TestPrepareRefuses(t *testing.T) {
	reworded := promptA
	reworded.PromptID, reworded.Scene = "z", "elsewhere"
	// Each case has the train prompts in a.jsonl, and these evaluation prompts.
	for name, c := range map[string]struct {
		evaluation func(w *world) contract.PromptSource
		code       contract.ExitCode
		want       []string
	}{
		"overlapping sets, naming both sets and prompts": {
			func(w *world) contract.PromptSource {
				return stored(storetest.PutLines(w, w.store, "z.jsonl", promptB, reworded))
			},
			contract.ExitBadSpec, []string{"a in train", "z in evaluation", "rabbit", "stone"},
		},
		"an unknown relation, naming file and line": {
			func(w *world) contract.PromptSource {
				return stored(w.put("bad.jsonl", []byte(`{"promptID":"a","type":"LU","subject":"x","object":"y","prompt":"p"}`)))
			},
			contract.ExitBadSpec, []string{"bad.jsonl:1", "LU"},
		},
		"a prompt file that is not mounted": {
			func(*world) contract.PromptSource { return contract.PromptSource{File: "/nowhere.csv"} },
			contract.ExitBadSpec, []string{"evaluation prompts", "/nowhere.csv"},
		},
		"more prompts than there are": {
			func(*world) contract.PromptSource { return generated("evaluation", 1e6, 1) },
			contract.ExitBadSpec, []string{"evaluation prompts"},
		},
		"a prompt file that is not in the store": {
			func(*world) contract.PromptSource { return stored(contract.Artifact{Key: "nowhere.jsonl"}) },
			contract.ExitBadInput, []string{"nowhere.jsonl"},
		},
		"a prompt file with another digest": {
			func(w *world) contract.PromptSource {
				a := storetest.PutLines(w, w.store, "z.jsonl", promptB)
				a.Digest = contract.Digest(nil)
				return stored(a)
			},
			contract.ExitBadInput, []string{"z.jsonl", changed},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			train, evaluation := stored(storetest.PutLines(w, w.store, "a.jsonl", promptA)), c.evaluation(w)
			train.Name, evaluation.Name = "train", "evaluation"
			w.fails(prepare(contract.PrepareSpec{Prompts: []contract.PromptSource{train, evaluation}}), c.code, c.want...)
		})
	}
}

func stored(a contract.Artifact) contract.PromptSource { return contract.PromptSource{Artifact: &a} }

// changed is how the message about a file with another digest ends.
const changed = "truncated or was changed"
