package crd

import (
	"math"
	"testing"
)

const none = math.MaxInt64

func TestAlignmentRunNumbers(t *testing.T) {
	testBounds(t, document(t, "test/crd/testdata/full-run.yaml", "AlignmentRun"), []bound{
		{"spec.iterations", 1, 100},
		{"spec.retries", 0, 10},
		{"spec.prompts.train.generate.count", 1, 10_000},
		{"spec.prompts.train.generate.seed", 0, none},
		{"spec.prompts.evaluation.generate.count", 1, 10_000},
		{"spec.prompts.evaluation.generate.seed", 0, none},
		{"spec.sampling.samplesPerPrompt", 1, 1000},
		{"spec.sampling.seed", 0, none},
		{"spec.sampling.steps", 1, 1000},
		{"spec.scoring.minUsableFrames", 3, 10_000},
		{"spec.training.steps", 1, 1_000_000},
		{"spec.training.pairsPerStep", 1, 65_536},
		{"spec.training.lora.rank", 1, 1024},
		{"spec.training.lora.alpha", 1, 4096},
		{"spec.evaluation.samplesPerPrompt", 1, 1000},
		{"spec.evaluation.seed", 0, none},
		{"spec.stopping.patience", 1, 100},
	})
}

func TestAlignmentRunValues(t *testing.T) {
	run := document(t, "config/samples/first-run.yaml", "AlignmentRun")
	testNames(t, run)
	testValues(t, run, "spec.runtimeRef.name", subdomains, noSubdomains)
	for _, path := range []string{"spec.scoring.maxInvalidFraction", "spec.acceptance.minDelta", "spec.stopping.targetAccuracy"} {
		testValues(t, run, path, fractions, noFractions)
	}
	testValues(t, with(t, run, "spec.pairing.loserThreshold", "0"), "spec.pairing.winnerThreshold", fractions, noFractions)
	testValues(t, with(t, run, "spec.pairing.winnerThreshold", "1"), "spec.pairing.loserThreshold", fractions, noFractions)
	testValues(t, run, "spec.training.lambda", append(decimals, "0"), noDecimals)
	testValues(t, run, "spec.training.beta", decimals, append(noDecimals, "0", "0.000"))
	testValues(t, run, "spec.training.marginClip", decimals, append(noDecimals, "0", "0.000"))
	testValues(t, run, "spec.training.learningRate", decimals, append(noDecimals, "0", "1.1"))
	testValues(t, run, "spec.evaluation.headlineThreshold", []any{"0.0", "0.5", "0.9"}, []any{"", "0.70", "0.75", "1", "1.0", 0.7})

	artifact := changed(t, run, `spec: {prompts: {train: {generate: null, artifact: {key: a.jsonl}}}}`)
	testValues(t, artifact, "spec.prompts.train.artifact.key", keys, noKeys)
	testValues(t, artifact, "spec.prompts.train.artifact.digest", digests, noDigests)
	config := changed(t, run, `spec: {prompts: {train: {generate: null, configMapRef: {name: prompts, key: a.csv}}}}`)
	testValues(t, config, "spec.prompts.train.configMapRef.name", subdomains, noSubdomains)
	testValues(t, config, "spec.prompts.train.configMapRef.key",
		[]any{"a.jsonl", "a.csv", "A_b-1.csv", long(249) + ".csv"}, []any{"", "a.txt", "csv", "a/b.csv", "a b.csv", long(250) + ".csv"})
}

func TestAlignmentRunRequired(t *testing.T) {
	run := document(t, "test/crd/testdata/full-run.yaml", "AlignmentRun")
	testRequired(t, run, "spec", "spec.runtimeRef", "spec.runtimeRef.name", "spec.prompts", "spec.prompts.train",
		"spec.prompts.evaluation", "spec.prompts.train.generate.count", "spec.iterations", "spec.training.lora.rank", "spec.training.lora.alpha")
}

func TestAlignmentRunCreate(t *testing.T) {
	create(t, document(t, "config/samples/first-run.yaml", "AlignmentRun"), []creation{
		{"as it is", `{}`, ""},
		{"every field", `spec: {sampling: {samplesPerPrompt: 5}, stopping: {patience: 2}, retries: 0, suspend: true}`, ""},
		{"empty blocks", `spec: {sampling: {}, scoring: {}, pairing: {}, training: {}, evaluation: {}, acceptance: {}}`, ""},

		{"all relations", `spec: {prompts: {train: {generate: {relations: [LR, LT, RL, RT, TL, TR]}}}}`, ""},
		{"an unknown relation", `spec: {prompts: {train: {generate: {relations: [LX]}}}}`, `spec.prompts.train.generate.relations[0]: Unsupported value: "LX": supported values: "LR", "LT", "RL", "RT", "TL", "TR"`},
		{"equal relations", `spec: {prompts: {train: {generate: {relations: [LL]}}}}`, `spec.prompts.train.generate.relations[0]: Unsupported value: "LL"`},
		{"a relation twice", `spec: {prompts: {train: {generate: {relations: [LR, LR]}}}}`, `spec.prompts.train.generate.relations[1]: Duplicate value: "LR"`},
		{"no relations", `spec: {prompts: {train: {generate: {relations: []}}}}`, "spec.prompts.train.generate.relations in body should have at least 1 items"},

		{"no prompt source", `spec: {prompts: {train: {generate: null}}}`, "exactly one of generate, configMapRef and artifact must be set"},
		{"two prompt sources", `spec: {prompts: {evaluation: {artifact: {key: a.jsonl}}}}`, "exactly one of generate, configMapRef and artifact must be set"},
		{"three prompt sources", `spec: {prompts: {train: {artifact: {key: a.jsonl}, configMapRef: {name: c, key: a.csv}}}}`, "exactly one of generate, configMapRef and artifact must be set"},
		{"prompts from an artifact", `spec: {prompts: {train: {generate: null, artifact: {key: prompts/a.csv}}}}`, ""},
		{"prompts of another format", `spec: {prompts: {train: {generate: null, artifact: {key: prompts/a.xlsx}}}}`, "spec.prompts.train.artifact.key: Invalid value: must end in .jsonl or .csv"},
		{"a ConfigMap key of another format", `spec: {prompts: {train: {generate: null, configMapRef: {name: c, key: a.txt}}}}`, "spec.prompts.train.configMapRef.key: Invalid value: must end in .jsonl or .csv"},

		{"winner equal to loser", `spec: {pairing: {winnerThreshold: "0.5", loserThreshold: "0.50"}}`, ""},
		{"winner below loser", `spec: {pairing: {winnerThreshold: "0.6", loserThreshold: "0.8"}}`, "spec.pairing: Invalid value: winnerThreshold must be at least loserThreshold"},
		{"winner below the default loser", `spec: {pairing: {winnerThreshold: "0.6"}}`, "winnerThreshold must be at least loserThreshold"},
		{"loser above the default winner", `spec: {pairing: {loserThreshold: "0.8"}}`, "winnerThreshold must be at least loserThreshold"},

		{"stopping for nothing", `spec: {stopping: {}}`, "spec.stopping in body should have at least 1 properties"},
		{"an unknown field", `spec: {iteratons: 3}`, `unknown field "spec.iteratons"`},
		{"an unknown field further down", `spec: {training: {lerningRate: "0.1"}}`, `unknown field "spec.training.lerningRate"`},
		{"a field of another type", `spec: {suspend: "yes"}`, "spec.suspend"},
	})
}
