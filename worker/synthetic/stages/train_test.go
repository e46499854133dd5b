package stages_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/worker/synthetic/model"
)

// stepLine is what the tests read of a line of metrics.jsonl.
type stepLine struct {
	Step                      int
	Loss, Margin, Regularizer float64
}

func (w *world) steps(termination contract.Termination) (lines []stepLine) {
	w.Helper()
	for text := range strings.Lines(string(w.read(termination.Outputs["metrics"]))) {
		var line stepLine
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			w.Fatal(err)
		}
		lines = append(lines, line)
	}
	return lines
}

func TestCheckpointsAreSavedAsOftenAsAsked(t *testing.T) {
	for every, want := range map[int][]int{0: {20}, 7: {7, 14, 21, 28}, 30: {30}, 31: nil} {
		t.Run(fmt.Sprint("every ", every), func(t *testing.T) {
			w := newWorld(t)
			spec := w.trainSpec()
			spec.Train.Training.CheckpointEverySteps = every
			w.run(spec, call{})
			keys, err := w.store.List(t.Context(), spec.Output+"/")
			if err != nil {
				t.Fatal(err)
			}
			var got []int
			for _, key := range keys {
				var step int
				if _, name, ok := strings.Cut(key, "/checkpoint-"); ok {
					if _, err := fmt.Sscanf(name, "%08d-", &step); err != nil {
						t.Fatal(err)
					}
					got = append(got, step)
				}
			}
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("checkpoints are of steps %v, want %v", got, want)
			}
		})
	}
}

// Half of a schedule trains what the whole of it has trained half-way.
func TestATrainingMayStopBeforeItsSchedule(t *testing.T) {
	w := newWorld(t)
	spec := w.trainSpec()
	whole := w.steps(w.run(spec, call{}))
	spec.Output, spec.Train.Training.Steps = "run/half", 15
	half := w.steps(w.run(spec, call{wantCounts: map[string]int64{"steps": 15}}))
	if !slices.Equal(half, whole[:15]) {
		t.Errorf("the half has %+v, the whole %+v", half, whole[:15])
	}
	spec.Output, spec.Train.Training.ScheduleSteps = "run/short", 15
	if short := w.steps(w.run(spec, call{})); slices.Equal(short, half) {
		t.Error("where the schedule ends makes no difference")
	}
	spec.Output, spec.Train.Training.WarmupSteps = "run/cold", 0
	if cold := w.steps(w.run(spec, call{})); cold[0] != half[0] || cold[1] == half[1] {
		t.Error("the warm-up makes no difference from the second step on, or one before it")
	}
}

// referencePolicy Previous: a frozen adapter is the reference in the place of the base model.
func TestTheReferenceMayBeAnAdapter(t *testing.T) {
	w := newWorld(t)
	spec := w.trainSpec()
	spec.Train.Training.LearningRate = "0.01"
	first := w.run(spec, call{}).Outputs["adapter"]

	train := func(output string, start, reference *contract.Artifact) (contract.Termination, []stepLine) {
		spec := clone(spec)
		spec.Output, spec.Train.Iteration, spec.Train.StartAdapter, spec.Train.ReferenceAdapter = output, 2, start, reference
		end := w.run(spec, call{})
		return end, w.steps(end)
	}
	_, base := train("run/base", &first, nil)
	end, previous := train("run/previous", &first, &first)
	if s := previous[0]; s.Regularizer != 0 || s.Margin != 0 {
		t.Errorf("against what it starts from, step 0 is %+v", s)
	}
	if s := base[0]; !(s.Regularizer > 0) {
		t.Errorf("against the base, step 0 is %+v", s)
	}
	manifest, err := w.store.ReadManifest(t.Context(), *end.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	if manifest.Inputs[first.Key] != first.Digest {
		t.Errorf("inputs are %v, want the reference among them", manifest.Inputs)
	}
	// How far from the base each has come: the regularizer of a training that starts there, before its first step.
	_, fromBase := train("run/drift-base", new(w.adapter("run/base")), nil)
	_, fromPrevious := train("run/drift-previous", new(w.adapter("run/previous")), nil)
	if fromPrevious[0].Regularizer <= fromBase[0].Regularizer {
		t.Errorf("drift from the base is %.5f against the previous policy, %.5f against the base", fromPrevious[0].Regularizer, fromBase[0].Regularizer)
	}

	// A fresh adapter may be held to a trained one, also of another rank.
	wide := clone(spec)
	wide.Train.Training.LoRARank = 4
	wide.Output, wide.Train.ReferenceAdapter = "run/fresh", &first
	if s := w.steps(w.run(wide, call{}))[0]; !(s.Regularizer > 0) {
		t.Errorf("a fresh adapter against a trained one starts with %+v", s)
	}
}

// adapter that the training of an output made.
func (w *world) adapter(output string) contract.Artifact {
	w.Helper()
	keys, err := w.store.List(w.Context(), output+"/")
	if err != nil {
		w.Fatal(err)
	}
	key := keys[slices.IndexFunc(keys, func(k string) bool { return strings.HasSuffix(k, "/adapter.safetensors") })]
	return contract.Artifact{Key: key, Digest: contract.Digest(w.read(contract.Artifact{Key: key}))}
}

func TestTrainingThatCannotWorkIsRefused(t *testing.T) {
	w := newWorld(t)
	train := w.trainSpec()
	foreign, err := model.EncodeAdapter(model.NewAdapter(30, 8, 8), "sha256:other")
	if err != nil {
		t.Fatal(err)
	}
	foreignAt := w.write("adapters/foreign.safetensors", foreign)
	lost := contract.Artifact{Key: "adapters/lost.safetensors", Digest: foreignAt.Digest}
	for name, c := range map[string]struct {
		change  func(*contract.TrainSpec)
		code    contract.ExitCode
		message string
	}{
		"a schedule that ends too early": {func(s *contract.TrainSpec) { s.Training.ScheduleSteps = 29 },
			contract.ExitBadSpec, "training.scheduleSteps"},
		"a warm-up beyond the schedule": {func(s *contract.TrainSpec) { s.Training.WarmupSteps = 31 },
			contract.ExitBadSpec, "training.warmupSteps"},
		"a negative warm-up": {func(s *contract.TrainSpec) { s.Training.WarmupSteps = -1 },
			contract.ExitBadSpec, "training.warmupSteps"},
		"negative checkpoints": {func(s *contract.TrainSpec) { s.Training.CheckpointEverySteps = -1 },
			contract.ExitBadSpec, "training.checkpointEverySteps"},
		"a reference of another base": {func(s *contract.TrainSpec) { s.ReferenceAdapter = &foreignAt },
			contract.ExitMismatch, "foreign.safetensors"},
		"a reference that is lost": {func(s *contract.TrainSpec) { s.ReferenceAdapter = &lost },
			contract.ExitBadInput, "lost.safetensors"},
	} {
		t.Run(name, func(t *testing.T) {
			sub := *w
			sub.T = t
			spec := clone(train)
			c.change(spec.Train)
			sub.run(spec, call{wantCode: c.code, wantMessage: c.message})
		})
	}
}
