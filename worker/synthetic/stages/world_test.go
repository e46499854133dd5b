package stages_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jsonl"
	"github.com/spatialalign/operator/internal/prompts"
	"github.com/spatialalign/operator/internal/stage"
	operator "github.com/spatialalign/operator/internal/stages"
	"github.com/spatialalign/operator/worker/synthetic/stages"
)

// world is a store with prompts, and the calls of stages on it.
type world struct {
	*testing.T
	dir     string
	store   *artifact.Store
	info    stages.Info
	prompts []contract.PromptLine
	// promptsAt is where they stand in the store.
	promptsAt contract.Artifact
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, dir: t.TempDir()}
	var err error
	if w.store, err = artifact.Open(t.Context(), "file://"+w.dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.store.Close() })
	if w.info, err = stages.Describe(); err != nil {
		t.Fatal(err)
	}
	if w.prompts, err = prompts.Generate(contract.Generate{Count: 4, Seed: 3}); err != nil {
		t.Fatal(err)
	}
	w.promptsAt = w.writePrompts("prompts.jsonl", w.prompts)
	return w
}

func (w *world) write(key string, data []byte) contract.Artifact {
	w.Helper()
	f, err := w.store.Write(w.Context(), key, bytes.NewReader(data))
	if err != nil {
		w.Fatal(err)
	}
	return contract.Artifact{Key: f.Key, Digest: f.Digest}
}

func (w *world) read(a contract.Artifact) []byte {
	w.Helper()
	data, err := w.store.ReadVerified(w.Context(), a, 1<<30)
	if err != nil {
		w.Fatal(err)
	}
	return data
}

func (w *world) writePrompts(key string, lines []contract.PromptLine) contract.Artifact {
	w.Helper()
	var b bytes.Buffer
	if err := prompts.Write(&b, lines); err != nil {
		w.Fatal(err)
	}
	return w.write(key, b.Bytes())
}

func writeLines[T any](w *world, key string, lines []T) contract.Artifact {
	w.Helper()
	var b bytes.Buffer
	encoder := jsonl.NewEncoder[T](&b)
	for i := range lines {
		if err := encoder.Write(&lines[i]); err != nil {
			w.Fatal(err)
		}
	}
	return w.write(key, b.Bytes())
}

func (w *world) sampling() contract.Sampling {
	return contract.Sampling{Model: w.info.Model, NumericsRevision: w.info.NumericsRevision, Steps: 12}
}

// index of three samples per prompt.
func (w *world) index(s contract.Sampling) []contract.IndexLine {
	var lines []contract.IndexLine
	for _, p := range w.prompts {
		for j := range 3 {
			seed := contract.Seed(contract.SeedRule{Seed: 1, Iteration: 1}, p.PromptID, j)
			lines = append(lines, contract.IndexLine{SampleID: contract.SampleKey(s, p.Prompt, seed), PromptID: p.PromptID, Seed: seed})
		}
	}
	slices.SortFunc(lines, func(a, b contract.IndexLine) int { return strings.Compare(a.SampleID, b.SampleID) })
	return lines
}

func (w *world) sampleSpec(index contract.Artifact) *contract.Spec {
	return &contract.Spec{ContractVersion: contract.Version, Stage: contract.Sample, Output: "run/sample",
		Sample: &contract.SampleSpec{Prompts: w.promptsAt, Index: index, Sampling: w.sampling(), KeepLatents: true}}
}

func (w *world) trackSpec(index contract.Artifact) *contract.Spec {
	return &contract.Spec{ContractVersion: contract.Version, Stage: contract.Track, Output: "run/track",
		Track: &contract.TrackSpec{Prompts: w.promptsAt, Index: index, Detector: w.info.Detector}}
}

// call says how a stage is called; the zero call is the first attempt of the only shard.
type call struct {
	pod           string
	attempt       int
	shard, shards int
	pace          func(context.Context) error
	ctx           context.Context
	wantCode      contract.ExitCode
	wantMessage   string
	wantCounts    map[string]int64
}

// run a stage and give its termination message.
func (w *world) run(spec *contract.Spec, c call) contract.Termination {
	w.Helper()
	data, digest := spec.Encode()
	dir := w.TempDir()
	file, last := filepath.Join(dir, "spec.json"), filepath.Join(dir, "termination")
	for _, f := range []struct {
		name string
		data []byte
	}{{file, data}, {last, nil}} {
		if err := os.WriteFile(f.name, f.data, 0o600); err != nil {
			w.Fatal(err)
		}
	}
	if c.pod == "" {
		c.pod = "pod-" + strconv.Itoa(c.attempt) + "-" + strconv.Itoa(c.shard)
	}
	if c.ctx == nil {
		c.ctx = w.Context()
	}
	env := map[string]string{
		contract.EnvStore: "file://" + w.dir, contract.EnvAttempt: strconv.Itoa(c.attempt), contract.EnvPodUID: c.pod,
		contract.EnvShards: strconv.Itoa(max(1, c.shards)), contract.EnvShard: strconv.Itoa(c.shard),
		stage.EnvProgressAddress: "127.0.0.1:0",
	}
	var log bytes.Buffer
	all := operator.All()
	maps.Copy(all, stages.All(stages.Pacer{Pause: c.pace}))
	code := stage.Run(c.ctx, []string{string(spec.Stage), contract.FlagSpec, file, contract.FlagSpecDigest, digest},
		all, stage.Deps{Getenv: func(k string) string { return env[k] },
			Stdout: io.Discard, Stderr: &log, TerminationPath: last, Now: time.Now, Version: "test"})
	var termination contract.Termination
	if data, err := os.ReadFile(last); err != nil || json.Unmarshal(data, &termination) != nil {
		w.Fatalf("termination message %q: %v", data, err)
	}
	if code != c.wantCode || !strings.Contains(termination.Message, c.wantMessage) {
		w.Fatalf("exit code %d, message %q; want %d and one about %q\n%s", code, termination.Message, c.wantCode, c.wantMessage, log.String())
	}
	for name, want := range c.wantCounts {
		if got := termination.Counts[name]; got != want {
			w.Errorf("%s is %d, want %d (all: %v)", name, got, want, termination.Counts)
		}
	}
	return termination
}

func (w *world) sidecar(line contract.IndexLine) *contract.Sidecar {
	w.Helper()
	sidecar, err := stage.ResolveSample(w.Context(), w.store, line)
	if err != nil {
		w.Fatal(err)
	}
	return sidecar
}
