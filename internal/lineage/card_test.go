package lineage

import (
	"encoding/json"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/golden"
)

func named(name string) contract.Artifact {
	return contract.Artifact{Key: "runs/uid-1/" + name, Digest: contract.Digest([]byte(name))}
}

func full() (*contract.LineageRecord, Facts) {
	return &contract.LineageRecord{
			ContractVersion: contract.Version, Namespace: "team-a", Run: "first-run", UID: "uid-1", Iteration: 2, CodeVersion: "v0.2.0",
			Spec: json.RawMessage(`{"iterations":3}`), Runtime: json.RawMessage(`{}`),
			Images: map[string]string{"Sample": "example/runtime@sha256:aa", "Train": "example/runtime@sha256:aa"},
			Sampling: contract.Sampling{
				Model: contract.Model{Name: "Wan-AI/Wan2.1-T2V-1.3B", Digest: contract.Digest([]byte("base"))}, NumericsRevision: "1",
				Steps: 50, GuidanceScale: "5", NegativePrompt: "blurry | dark\nstatic", Frames: 81, Width: 832, Height: 480,
			},
			Training: &contract.Training{
				Steps: 2400, ScheduleSteps: 3000, WarmupSteps: 300, CheckpointEverySteps: 100, PairsPerStep: 48, LearningRate: "0.0001",
				Beta: "1", Lambda: "0.5", MarginClip: "5", LoRARank: 16, LoRAAlpha: 16,
			},
			TrainingSeeds: contract.SeedRule{Seed: 1, Iteration: 2}, EvaluationSeed: 42, Rounds: 2,
			Artifacts: map[string]contract.Artifact{
				"prompts/train": named("prompts-train.jsonl"), "prompts/evaluation": named("prompts-evaluation.jsonl"),
				"pairs": named("pairs.jsonl"), "adapter": named("adapter.safetensors"), "verdict": named("verdict.json"),
			},
			Results:  map[string]string{"accuracy": "0.675", "pairs": "1200", "guard/validFraction": "0.97", "guard/subjectJump": "0.4"},
			Accepted: true, Reason: "Acc@0.7 is 0.675, the best one's 0.307; a gain of 0 is asked for.",
		}, Facts{
			Prompts: map[string]int{"train": 600, "evaluation": 120},
			Verdict: &contract.Verdict{
				Threshold: "0.7", Confidence: "0.95", Resamples: 10000, Seed: 3, Prompts: 120, Samples: 600,
				Best: contract.VerdictSide{Successes: 184, Accuracy: "0.306667"}, Candidate: contract.VerdictSide{Successes: 405, Accuracy: "0.675"},
				Delta: "0.368333", LowerBound: "0.311667", UpperBound: "0.425",
			},
		}
}

// TestCard compares with golden files: a whole record, and one of an iteration that made nothing.
func TestCard(t *testing.T) {
	record, facts := full()
	for name, c := range map[string]struct {
		record *contract.LineageRecord
		facts  Facts
	}{
		"full": {record, facts},
		"empty": {&contract.LineageRecord{
			ContractVersion: contract.Version, Namespace: "team-a", Run: "first-run", UID: "uid-1", CodeVersion: "dev",
			Sampling: contract.Sampling{Model: contract.Model{Name: "synthetic-base", Digest: contract.Digest(nil)}, NumericsRevision: "1", Steps: 12},
			Reason:   "No prompt has a winner and a loser.",
		}, Facts{}},
	} {
		got, err := Card(c.record, c.facts)
		if err != nil {
			t.Fatal(err)
		}
		golden.Check(t, "card-"+name+".md", string(got))
	}
}

// TestFrontMatter is what a model hub reads: it must parse, whatever the names are.
func TestFrontMatter(t *testing.T) {
	record, facts := full()
	record.Sampling.Model.Name = "odd: \"name\"\n# of 'a' model"
	card, err := Card(record, facts)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.SplitN(string(card), "---\n", 3)
	var front struct {
		BaseModel   string   `json:"base_model"`
		LibraryName string   `json:"library_name"`
		Tags        []string `json:"tags"`
	}
	if err := yaml.Unmarshal([]byte(parts[1]), &front); err != nil {
		t.Fatal(err)
	}
	if front.BaseModel != record.Sampling.Model.Name || front.LibraryName != "spatialalign" || len(front.Tags) == 0 {
		t.Errorf("front matter %+v", front)
	}
}
