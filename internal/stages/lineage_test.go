package stages_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spatialalign/operator/internal/artifact/storetest"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/lineage"
)

// record of an iteration whose artifacts are in the store.
func record(w *world) contract.LineageRecord {
	w.Helper()
	verdict := w.done(comparison(w, evaluation("b", 0.1, 0.9, 0.1, 0.1), evaluation("c", 0.9, 0.9, 0.9, 0.1)))
	return contract.LineageRecord{
		ContractVersion: contract.Version, Namespace: "team-a", Run: "first-run", UID: "uid-1", Iteration: 2, CodeVersion: "v0.2.0",
		Spec: json.RawMessage(`{"iterations":3}`), Runtime: json.RawMessage(`{"model":{"name":"m"}}`),
		Images:   map[string]string{"Train": "registry.example/runtime@sha256:aa"},
		Sampling: contract.Sampling{Model: contract.Model{Name: "base", Digest: contract.Digest([]byte("base"))}, NumericsRevision: "1", Steps: 12},
		Training: &contract.Training{Steps: 120, ScheduleSteps: 150, WarmupSteps: 12, PairsPerStep: 8, LearningRate: "0.001", Beta: "1", Lambda: "0.5", MarginClip: "5", LoRARank: 4, LoRAAlpha: 4},
		Rounds:   1,
		Artifacts: map[string]contract.Artifact{
			"prompts/train": storetest.PutLines(w, w.store, "prompts.jsonl", promptA),
			"adapter":       w.put("adapter.safetensors", []byte("weights")),
			"verdict":       verdict.Outputs["verdict"],
		},
		Results:  map[string]string{"accuracy": "0.75", "guard/areaRatio": "1.5"},
		Accepted: true, Reason: "Acc@0.7 is 0.75, the best one's 0.25.",
	}
}

func lineageOf(r contract.LineageRecord) contract.Spec {
	return contract.Spec{Stage: contract.Lineage, Lineage: &contract.LineageSpec{Record: r}}
}

// TestLineage: the record goes to the store as it is, with a card that tells what it is.
func TestLineage(t *testing.T) {
	w := newWorld(t)
	r := record(w)
	done := w.done(lineageOf(r))
	got, err := lineage.Read(t.Context(), w.store, done.Outputs["lineage"])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&r, got); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	card := string(w.read(done.Outputs["modelCard"]))
	for _, want := range []string{
		"---\nbase_model: \"base\"\n", "# first-run, iteration 2", "**Accepted** as", "| after | 0.75 | 3 |", "The difference is 0.5, with one-sided 95 % bounds",
		"| train | 1 |", "| areaRatio | 1.5 |", "| steps (of a schedule of) | 120 (150) |", r.Artifacts["adapter"].Digest, "registry.example/runtime@sha256:aa",
	} {
		if !strings.Contains(card, want) {
			t.Errorf("the model card lacks %q:\n%s", want, card)
		}
	}
	// A chain of two.
	next := r
	next.Iteration, next.Accepted, next.Previous = 3, false, new(done.Outputs["lineage"])
	newest := w.done(lineageOf(next)).Outputs["lineage"]
	chain, err := lineage.Chain(t.Context(), w.store, newest)
	if err != nil || len(chain) != 2 || chain[0].Record.Iteration != 3 || chain[1].Artifact != done.Outputs["lineage"] {
		t.Errorf("chain %+v, %v", chain, err)
	}
}

func TestLineageRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(w *world, r *contract.LineageRecord)
		code   contract.ExitCode
		want   []string
	}{
		"an artifact that is gone": {func(_ *world, r *contract.LineageRecord) {
			r.Artifacts["pairs"] = contract.Artifact{Key: "gone.jsonl", Digest: contract.Digest(nil)}
		}, contract.ExitBadInput, []string{"lineage.record.artifacts[pairs]", "gone.jsonl"}},
		"an artifact that was changed": {func(w *world, _ *contract.LineageRecord) {
			w.put("adapter.safetensors", []byte("others"))
		}, contract.ExitBadInput, []string{"lineage.record.artifacts[adapter]", "adapter.safetensors", changed}},
		"a former lineage that is none": {func(_ *world, r *contract.LineageRecord) {
			r.Previous = new(r.Artifacts["adapter"])
		}, contract.ExitBadInput, []string{"lineage.record.previous", "not a lineage record"}},
		"an artifact without a digest": {func(_ *world, r *contract.LineageRecord) {
			r.Artifacts["pairs"] = contract.Artifact{Key: "pairs.jsonl"}
		}, contract.ExitBadSpec, []string{"lineage.record.artifacts[pairs].digest"}},
		"a record of nobody":           {func(_ *world, r *contract.LineageRecord) { r.UID = "" }, contract.ExitBadSpec, []string{"uid"}},
		"a record of another contract": {func(_ *world, r *contract.LineageRecord) { r.ContractVersion = "v9" }, contract.ExitBadSpec, []string{"v9"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r := record(w)
			c.change(w, &r)
			w.fails(lineageOf(r), c.code, c.want...)
		})
	}
}

// TestLineageIsReproducible: another attempt of the same record writes the same bytes.
func TestLineageIsReproducible(t *testing.T) {
	w, again := newWorld(t), newWorld(t)
	first, second := w.done(lineageOf(record(w))), again.done(lineageOf(record(again)))
	for _, output := range []string{"lineage", "modelCard"} {
		if !bytes.Equal(w.read(first.Outputs[output]), again.read(second.Outputs[output])) {
			t.Errorf("%s differs", output)
		}
	}
}
