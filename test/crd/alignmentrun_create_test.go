package crd

import (
	"fmt"
	"strings"
	"testing"

	"github.com/spatialalign/operator/internal/prompts"
)

func TestAlignmentRunCreate(t *testing.T) {
	create(t, document(t, "config/samples/first-run.yaml", "AlignmentRun"), []creation{
		{"as it is", `{}`, ""},
		{"empty blocks", `spec: {sampling: {}, scoring: {}, pairing: {}, training: {}, evaluation: {}, acceptance: {}}`, ""},
		{"an unknown field", `spec: {iteratons: 3}`, `unknown field "spec.iteratons"`},
		{"an unknown field further down", `spec: {training: {lerningRate: "0.1"}}`, `unknown field "spec.training.lerningRate"`},
		{"a field of another type", `spec: {suspend: "yes"}`, "spec.suspend"},

		{"a bucket of its own", `spec: {store: {s3: {bucket: team, secretName: access}}}`, ""},
		{"a store of no kind", `spec: {store: {}}`, "exactly one of pvc and s3 must be set"},
		{"a store of two kinds", `spec: {store: {pvc: {claimName: a}, s3: {bucket: team, secretName: access}}}`, "exactly one of pvc and s3 must be set"},
	})
}

func TestAlignmentRunPrompts(t *testing.T) {
	create(t, document(t, "config/samples/first-run.yaml", "AlignmentRun"), []creation{
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
		{"test prompts", `spec: {prompts: {test: {artifact: {key: test.jsonl}}}}`, ""},
		{"test prompts of no source", `spec: {prompts: {test: {}}}`, "exactly one of generate, configMapRef and artifact must be set"},
	})
}

// TestGeneratedPrompts: a set has at most as many prompts as the grammar offers of its relations and split. The rules' numbers
// are those of internal/prompts.
func TestGeneratedPrompts(t *testing.T) {
	run := document(t, "config/samples/first-run.yaml", "AlignmentRun")
	for _, split := range []string{prompts.SplitTrain, prompts.SplitEvaluation, prompts.SplitTest} {
		path := "spec.prompts." + split + ".generate"
		all, err := prompts.Most(nil, split)
		if err != nil {
			t.Fatal(err)
		}
		for _, relations := range [][]string{nil, {"LR", "LT", "RL", "RT", "TL", "TR"}, {"LR"}, {"LT"}, {"RL"}, {"RT"}, {"TL"}, {"TR"}, {"TL", "RL"}, {"LR", "TR", "RT"}} {
			t.Run(split+" "+strings.Join(relations, ","), func(t *testing.T) {
				most, err := prompts.Most(relations, split)
				if err != nil {
					t.Fatal(err)
				}
				generate := map[string]any{"count": int64(most)}
				if relations != nil {
					list := []any{}
					for _, r := range relations {
						list = append(list, r)
					}
					generate["relations"] = list
				}
				check(t, answer(with(t, run, path, generate)), "")
				generate["count"] = int64(0)
				check(t, answer(with(t, run, path, generate)), path+".count in body should be greater than or equal to 1")
				generate["count"] = int64(most) + 1
				check(t, answer(with(t, run, path, generate)), fmt.Sprintf(
					"%s.count: Invalid value: must be at most what the grammar offers of the relations for %s prompts; of all six that is %d", path, split, all))
			})
		}
	}
}

func TestAlignmentRunMethod(t *testing.T) {
	create(t, document(t, "config/samples/first-run.yaml", "AlignmentRun"), []creation{
		{"winner equal to loser", `spec: {pairing: {winnerThreshold: "0.5", loserThreshold: "0.50"}}`, ""},
		{"winner below loser", `spec: {pairing: {winnerThreshold: "0.6", loserThreshold: "0.8"}}`, "spec.pairing: Invalid value: winnerThreshold must be at least loserThreshold"},
		{"winner below the default loser", `spec: {pairing: {winnerThreshold: "0.6"}}`, "winnerThreshold must be at least loserThreshold"},
		{"loser above the default winner", `spec: {pairing: {loserThreshold: "0.8"}}`, "winnerThreshold must be at least loserThreshold"},

		{"a schedule as long as the training", `spec: {training: {steps: 100, scheduleSteps: 100}}`, ""},
		{"a schedule shorter than the training", `spec: {training: {steps: 100, scheduleSteps: 99}}`, "spec.training: Invalid value: scheduleSteps must be at least steps"},
		{"a warm-up as long as the training", `spec: {training: {steps: 100, warmupSteps: 100}}`, ""},
		{"a warm-up longer than the training", `spec: {training: {steps: 100, warmupSteps: 101}}`, "spec.training: Invalid value: warmupSteps must be at most scheduleSteps, or steps where that is absent"},
		{"a warm-up as long as the schedule", `spec: {training: {steps: 100, scheduleSteps: 200, warmupSteps: 200}}`, ""},
		{"a warm-up longer than the schedule", `spec: {training: {steps: null, scheduleSteps: 200, warmupSteps: 201}}`, "warmupSteps must be at most scheduleSteps"},
		{"a warm-up of steps that the runtime says", `spec: {training: {steps: null, warmupSteps: 1000000}}`, ""},
		{"no warm-up", `spec: {training: {warmupSteps: 0}}`, ""},

		{"all guard metrics", `spec: {acceptance: {guardMetrics: [{name: validFraction, maxDrop: "0"}, {name: subjectJump, maxDrop: "1"}, {name: objectDrift, maxDrop: "2.5"}, {name: areaRatio, maxDrop: "0.1"}]}}`, ""},
		{"guard metrics that the tracker measures", `spec: {acceptance: {guardMetrics: [{name: clipIQAQuality, maxDrop: "0.1"}, {name: clipIQANatural, maxDrop: "0.1"}, {name: identityConsistency, maxDrop: "0.05"}]}}`, ""},
		{"no guard metrics", `spec: {acceptance: {guardMetrics: []}}`, "spec.acceptance.guardMetrics in body should have at least 1 items"},
		{"a guard metric twice", `spec: {acceptance: {guardMetrics: [{name: areaRatio, maxDrop: "0.1"}, {name: areaRatio, maxDrop: "0.2"}]}}`, "spec.acceptance.guardMetrics[1]: Duplicate value"},
		{"an unknown guard metric", `spec: {acceptance: {guardMetrics: [{name: beauty, maxDrop: "0.1"}]}}`, `spec.acceptance.guardMetrics[0].name: Unsupported value: "beauty"`},
		{"a guard metric without a bound", `spec: {acceptance: {guardMetrics: [{name: areaRatio}]}}`, "spec.acceptance.guardMetrics[0].maxDrop: Required value"},
		{"a guard metric without a name", `spec: {acceptance: {guardMetrics: [{maxDrop: "0.1"}]}}`, "spec.acceptance.guardMetrics[0].name: Required value"},
		{"a negative bound", `spec: {acceptance: {guardMetrics: [{name: areaRatio, maxDrop: "-0.1"}]}}`, "spec.acceptance.guardMetrics[0].maxDrop"},
	})
}

func TestAlignmentRunPolicies(t *testing.T) {
	create(t, document(t, "config/samples/first-run.yaml", "AlignmentRun"), []creation{
		{"stopping for nothing", `spec: {stopping: {}}`, "spec.stopping in body should have at least 1 properties"},
		{"a budget of nothing", `spec: {budget: {gpuHours: "0"}}`, ""},
		{"a budget without hours", `spec: {budget: {onExceeded: Stop}}`, "spec.budget.gpuHours: Required value"},

		{"approval after both", `spec: {approval: {after: [Pair, Evaluate]}}`, ""},
		{"approval after nothing", `spec: {approval: {after: []}}`, "spec.approval.after in body should have at least 1 items"},
		{"approval twice after the same", `spec: {approval: {after: [Pair, Pair]}}`, `spec.approval.after[1]: Duplicate value: "Pair"`},
		{"approval after another stage", `spec: {approval: {after: [Train]}}`, `spec.approval.after[0]: Unsupported value: "Train": supported values: "Pair", "Evaluate"`},

		{"a rerun", `spec: {iterations: 3, rerun: {runName: other, iteration: 2}}`, ""},
		{"a rerun of the last iteration", `spec: {iterations: 2, rerun: {runName: other, iteration: 2}}`, ""},
		{"a rerun of an iteration beyond the last", `spec: {iterations: 2, rerun: {runName: other, iteration: 3}}`, "spec: Invalid value: rerun.iteration must be at most iterations"},
		{"a rerun with an adapter of its own", `spec: {rerun: {runName: other, iteration: 2}, initialAdapter: {key: a}}`, "leave initialAdapter and initialDataset out"},
		{"a rerun with a dataset of its own", `spec: {rerun: {runName: other, iteration: 2}, initialDataset: {name: a}}`, "leave initialAdapter and initialDataset out"},
		{"both an adapter and a dataset", `spec: {initialAdapter: {key: a, digest: "sha256:60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"}, initialDataset: {name: a}}`, ""},
		{"an adapter without its digest", `spec: {initialAdapter: {key: a}}`, "spec.initialAdapter: Invalid value: digest must be set"},

		{"deleted at once", `spec: {ttlSecondsAfterFinished: 0, ttlTarget: Run, cleanup: Always}`, ""},
	})
}

func TestAlignmentRunScheduling(t *testing.T) {
	create(t, document(t, "config/samples/first-run.yaml", "AlignmentRun"), []creation{
		{"scheduling of nothing", `spec: {scheduling: {}}`, "spec.scheduling in body should have at least 1 properties"},
		{"scheduling of nothing in a stage", `spec: {scheduling: {sample: {}}}`, "spec.scheduling.sample in body should have at least 1 properties"},
		{"at least as many as at most", `spec: {scheduling: {sample: {maxParallel: 2, minParallel: 2}}}`, ""},
		{"at least more than at most", `spec: {scheduling: {sample: {maxParallel: 2, minParallel: 3}}}`, "spec.scheduling.sample: Invalid value: minParallel must not exceed maxParallel"},
		{"one shard of training", `spec: {scheduling: {train: {shards: 1}}}`, ""},
		{"training in shards", `spec: {scheduling: {train: {shards: 2}}}`, "spec.scheduling.train: Invalid value: training has one shard"},
		{"training in parallel", `spec: {scheduling: {train: {maxParallel: 1}}}`, "training has one shard"},
		{"training with a least number", `spec: {scheduling: {train: {minParallel: 1}}}`, "training has one shard"},
		{"a workload priority of the run's queue", `spec: {scheduling: {queueName: a, workloadPriorityClassName: urgent}}`, ""},
		{"a workload priority of a stage's queue", `spec: {scheduling: {workloadPriorityClassName: urgent, track: {queueName: a}}}`, ""},
		{"a workload priority without a queue", `spec: {scheduling: {workloadPriorityClassName: urgent, sample: {shards: 2}}}`, "workloadPriorityClassName is Kueue's: set queueName, too"},
		{"training within a rack", `spec: {scheduling: {queueName: a, train: {topology: {required: topology.example.com/rack}}}}`, ""},
		{"sampling close together", `spec: {scheduling: {sample: {queueName: a, topology: {preferred: kubernetes.io/hostname}}}}`, ""},
		{"a topology without a queue", `spec: {scheduling: {train: {topology: {required: rack}}}}`, "train.topology is Kueue's: set queueName, too"},
		{"a topology with another stage's queue", `spec: {scheduling: {train: {queueName: a}, track: {topology: {required: rack}}}}`, "track.topology is Kueue's: set queueName, too"},
		{"two topologies", `spec: {scheduling: {queueName: a, train: {topology: {required: rack, preferred: block}}}}`, "set required or preferred"},
		{"no topology", `spec: {scheduling: {queueName: a, train: {topology: {}}}}`, "set required or preferred"},
		{"a topology that is no label", `spec: {scheduling: {queueName: a, train: {topology: {required: "a/b/c"}}}}`, "spec.scheduling.train.topology.required"},
		{"a reservation for the whole run", `spec: {scheduling: {queueName: a, reservation: Run, workloadPriorityClassName: urgent, sample: {minParallel: 2}}}`, ""},
		{"a reservation by stage", `spec: {scheduling: {reservation: Stage, train: {queueName: a}}}`, ""},
		{"a reservation of neither", `spec: {scheduling: {queueName: a, reservation: Iteration}}`, "spec.scheduling.reservation"},
		{"a reservation of no queue", `spec: {scheduling: {reservation: Run}}`, "reservation Run is one of a queue: set queueName, too"},
		{"a reservation of a stage's queue", `spec: {scheduling: {queueName: a, reservation: Run, train: {queueName: b}}}`, "reservation Run is one for all stages: leave their queueName out"},
		{"a reservation with a topology", `spec: {scheduling: {queueName: a, reservation: Run, track: {topology: {required: rack}}}}`, "reservation Run reserves no places: leave topology out"},
		{"resources of a stage", `spec: {scheduling: {train: {resources: {limits: {nvidia.com/gpu: 8}}}}}`, ""},
		{"a quantity that is none", `spec: {scheduling: {train: {resources: {limits: {memory: lots}}}}}`, "spec.scheduling.train.resources.limits.memory"},
		{"resource claims", `spec: {scheduling: {train: {resources: {claims: [{name: gpu}]}}}}`, "claims are the runtime's"},
		{"too many limits", `spec: {scheduling: {train: {resources: {limits: {` + repeated(17, "example.com/r%d: 1") + `}}}}}`, "must not have more than 16 limits or requests"},
		{"a queue of a stage that needs none", `spec: {scheduling: {score: {queueName: a}}}`, `unknown field "spec.scheduling.score"`},
	})
}
