package crd

import (
	"math"
	"testing"
)

const none = math.MaxInt64

const fullRun = "test/crd/testdata/full-run.yaml"

func TestAlignmentRunNumbers(t *testing.T) {
	full := document(t, fullRun, "AlignmentRun")
	testBounds(t, full, []bound{
		{"spec.prompts.train.generate.seed", 0, none},
		{"spec.prompts.evaluation.generate.seed", 0, none},
		{"spec.prompts.test.generate.seed", 0, none},
		{"spec.sampling.samplesPerPrompt", 1, 1000},
		{"spec.sampling.seed", 0, none},
		{"spec.sampling.steps", 1, 1000},
		{"spec.sampling.frames", 1, 10_000},
		{"spec.sampling.width", 1, 8192},
		{"spec.sampling.height", 1, 8192},
		{"spec.scoring.minUsableFrames", 3, 10_000},
		{"spec.pairing.maxPairsPerPrompt", 1, 1_000_000},
		{"spec.pairing.minPairs", 1, 1_000_000_000},
		{"spec.pairing.maxResampleRounds", 1, 5},
		{"spec.training.checkpointEverySteps", 1, 1_000_000},
		{"spec.training.pairsPerStep", 1, 65_536},
		{"spec.training.lora.rank", 1, 1024},
		{"spec.training.lora.alpha", 1, 4096},
		{"spec.training.nodes", 1, 64},
		{"spec.training.gpusPerNode", 1, 64},
		{"spec.evaluation.samplesPerPrompt", 1, 1000},
		{"spec.evaluation.seed", 0, none},
		{"spec.stopping.patience", 1, 10_000},
		{"spec.iterations", 1, 10_000},
		{"spec.approval.timeoutSeconds", 1, 315_360_000},
		{"spec.scheduling.sample.shards", 1, 32},
		{"spec.scheduling.track.shards", 1, 32},
		{"spec.scheduling.track.maxParallel", 1, 32},
		{"spec.scheduling.track.minParallel", 1, 32},
		{"spec.retries", 0, 10},
		{"spec.startupDeadlineSeconds", 10, 604_800},
		{"spec.activeDeadlineSeconds", 1, 315_360_000},
		{"spec.ttlSecondsAfterFinished", 0, 315_360_000},
	})
	unhurried := without(full, "spec.training.warmupSteps")
	testBounds(t, without(unhurried, "spec.training.scheduleSteps"), []bound{{"spec.training.steps", 1, 1_000_000}})
	testBounds(t, without(unhurried, "spec.training.steps"), []bound{{"spec.training.scheduleSteps", 1, 1_000_000}})
	testBounds(t, without(without(full, "spec.training.steps"), "spec.training.scheduleSteps"), []bound{{"spec.training.warmupSteps", 0, 1_000_000}})
	rerun := with(t, document(t, "config/samples/rerun.yaml", "AlignmentRun"), "spec.iterations", int64(10_000))
	testBounds(t, rerun, []bound{{"spec.rerun.iteration", 1, 10_000}})
}

func TestAlignmentRunDecimals(t *testing.T) {
	run := document(t, "config/samples/first-run.yaml", "AlignmentRun")
	for _, path := range []string{
		"spec.scoring.maxInvalidFraction", "spec.pairing.minMargin", "spec.pairing.minPromptCoverage", "spec.acceptance.minDelta", "spec.stopping.targetAccuracy",
	} {
		testValues(t, run, path, fractions, noFractions)
	}
	testValues(t, with(t, run, "spec.pairing.loserThreshold", "0"), "spec.pairing.winnerThreshold", fractions, noFractions)
	testValues(t, with(t, run, "spec.pairing.winnerThreshold", "1"), "spec.pairing.loserThreshold", fractions, noFractions)
	testValues(t, run, "spec.acceptance.confidence", []any{"0.5", "0.95", "0.999"}, append(noFractions, "0", "0.499999", "0.999001", "1"))
	testValues(t, run, "spec.training.lambda", append(decimals, "0"), noDecimals)
	testValues(t, run, "spec.training.beta", decimals, append(noDecimals, "0", "0.000"))
	testValues(t, run, "spec.training.marginClip", decimals, append(noDecimals, "0", "0.000"))
	testValues(t, run, "spec.training.learningRate", decimals, append(noDecimals, "0", "1.1"))
	testValues(t, run, "spec.sampling.guidanceScale", append(decimals, "0"), noDecimals)
	testValues(t, run, "spec.budget.gpuHours", append(decimals, "0", "999999.5"), noDecimals)
	testValues(t, with(t, run, "spec.budget.gpuHours", "100"), "spec.budget.firstIterationGPUHours", append(decimals, "0"), noDecimals)
	testValues(t, run, "spec.evaluation.headlineThreshold", []any{"0.0", "0.5", "0.9"}, []any{"", "0.70", "0.75", "1", "1.0", 0.7})
}

func TestAlignmentRunNames(t *testing.T) {
	run := document(t, "config/samples/first-run.yaml", "AlignmentRun")
	testNames(t, run)
	testValues(t, run, "spec.runtimeRef.name", subdomains, noSubdomains)
	testValues(t, run, "spec.store.pvc.claimName", subdomains, noSubdomains)
	testValues(t, with(t, run, "spec.initialAdapter.digest", "sha256:60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"), "spec.initialAdapter.key", keys, noKeys)
	testValues(t, with(t, run, "spec.initialAdapter.key", "a"), "spec.initialAdapter.digest", digests, noDigests)
	testValues(t, run, "spec.initialDataset.name", labels, noLabels)
	testValues(t, with(t, run, "spec.rerun.iteration", int64(1)), "spec.rerun.runName", labels, noLabels)
	testValues(t, run, "spec.sampling.negativePrompt", []any{"a", "模糊, verzerrt", long(2048)}, []any{"", long(2049)})
	testValues(t, run, "spec.scheduling.priorityClassName", subdomains, noSubdomains)
	for _, path := range []string{"spec.scheduling.queueName", "spec.scheduling.sample.queueName", "spec.scheduling.track.queueName", "spec.scheduling.train.queueName"} {
		testValues(t, run, path, labels, noLabels)
	}
	queued := with(t, run, "spec.scheduling.queueName", "team")
	testValues(t, queued, "spec.scheduling.workloadPriorityClassName", []any{"a", "urgent.team-a", long(63)}, []any{"", "Urgent", "a_b", "-a", "a-", long(64)})
	for _, level := range []string{"required", "preferred"} {
		testValues(t, queued, "spec.scheduling.train.topology."+level,
			[]any{"rack", "kubernetes.io/hostname", "cloud.example.com/topology-block", long(63)}, []any{"", "a/b/c", "/rack", "rack/", "a b", "-rack", long(64)})
	}
	testValues(t, queued, "spec.scheduling.reservation", []any{"Stage", "Run"}, noChoices)

	artifact := changed(t, run, `spec: {prompts: {train: {generate: null, artifact: {key: a.jsonl}}}}`)
	testValues(t, artifact, "spec.prompts.train.artifact.key", keys, noKeys)
	testValues(t, artifact, "spec.prompts.train.artifact.digest", digests, noDigests)
	config := changed(t, run, `spec: {prompts: {train: {generate: null, configMapRef: {name: prompts, key: a.csv}}}}`)
	testValues(t, config, "spec.prompts.train.configMapRef.name", subdomains, noSubdomains)
	testValues(t, config, "spec.prompts.train.configMapRef.key",
		[]any{"a.jsonl", "a.csv", "A_b-1.csv", long(249) + ".csv"}, []any{"", "a.txt", "csv", "a/b.csv", "a b.csv", long(250) + ".csv"})
}

func TestAlignmentRunChoices(t *testing.T) {
	run := document(t, "config/samples/first-run.yaml", "AlignmentRun")
	for path, choices := range map[string][]any{
		"spec.pairing.history":          {"Cumulative", "Latest"},
		"spec.pairing.onShortfall":      {"Resample", "Stop", "Fail"},
		"spec.training.referencePolicy": {"Base", "Previous"},
		"spec.training.start":           {"Best", "Fresh"},
		"spec.acceptance.onReject":      {"Rollback", "Stop"},
		"spec.ttlTarget":                {"Children", "Run"},
		"spec.cleanup":                  {"OnSuccess", "Always", "Never"},
	} {
		testValues(t, run, path, choices, noChoices)
	}
	testValues(t, with(t, run, "spec.budget.gpuHours", "1"), "spec.budget.onExceeded", []any{"Suspend", "Stop"}, noChoices)
	rerun := document(t, "config/samples/rerun.yaml", "AlignmentRun")
	testValues(t, rerun, "spec.rerun.stage", []any{"Sample", "Pair", "Train", "Evaluate"}, append(noChoices, "Prepare", "Score", "Compare"))
}

func TestAlignmentRunRequired(t *testing.T) {
	testRequired(t, document(t, fullRun, "AlignmentRun"), "spec", "spec.runtimeRef", "spec.runtimeRef.name", "spec.prompts", "spec.prompts.train",
		"spec.prompts.evaluation", "spec.prompts.train.generate.count", "spec.iterations", "spec.training.lora.rank", "spec.training.lora.alpha",
		"spec.store.pvc.claimName", "spec.initialAdapter.key", "spec.initialDataset.name", "spec.budget.gpuHours", "spec.approval.after")
	testRequired(t, document(t, "config/samples/rerun.yaml", "AlignmentRun"), "spec.rerun.runName", "spec.rerun.iteration")
}
