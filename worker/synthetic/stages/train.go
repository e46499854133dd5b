package stages

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jsonl"
	"github.com/spatialalign/operator/internal/stage"
	"github.com/spatialalign/operator/worker/synthetic/align"
	"github.com/spatialalign/operator/worker/synthetic/base"
	"github.com/spatialalign/operator/worker/synthetic/gang"
	"github.com/spatialalign/operator/worker/synthetic/model"
)

// checkpointEvery is how many steps lie between checkpoints when the spec does not say.
const checkpointEvery = 20

// metricsLine is a line of metrics.jsonl.
type metricsLine struct {
	Step        int     `json:"step"`
	Loss        float32 `json:"loss"`
	Margin      float32 `json:"margin"`
	Regularizer float32 `json:"regularizer"`
	GradNorm    float32 `json:"gradNorm"`
}

// train fine-tunes the adapter: see package align. It goes on from the newest checkpoint of the same
// spec, of whatever attempt, and ends with the same bits as if it had never stopped.
func train(ctx context.Context, t *stage.Task, pace Pacer) error {
	spec := t.Spec.Train
	options, err := options(spec)
	if err != nil {
		return err
	}
	m, err := loadBase(spec.Model, spec.NumericsRevision)
	if err != nil {
		return err
	}
	adapter, err := startAdapter(ctx, t, m)
	if err != nil {
		return err
	}
	reference, err := loadAdapter(ctx, t, m, spec.ReferenceAdapter)
	if err != nil {
		return err
	}
	byID, err := readPrompts(ctx, t, m.Vocabulary, spec.Prompts)
	if err != nil {
		return err
	}
	pairs, err := readPairs(ctx, t, byID, spec.Pairs)
	if err != nil {
		return err
	}
	t.Progress.Total(int64(spec.Training.Steps), "steps")
	t.Metric("paceMilliseconds", float64(pace.Milliseconds))
	return together(ctx, t, &options, func(team *gang.Gang) error {
		trainer, err := align.New(m.Weights, adapter, reference, pairs, options)
		if err != nil {
			return stage.Errorf(contract.ExitBadInput, "pairs %s: %w", spec.Pairs.Key, err)
		}
		history, err := takeUp(ctx, t, trainer, team)
		if err != nil {
			return err
		}
		if history, err = steps(ctx, t, trainer, history, pace, team); err != nil || t.Rank > 0 {
			return err
		}
		return finish(ctx, t, m, adapter, history)
	})
}

// steps takes the steps that are left. When the context of any pod ends, the first pod saves a checkpoint before all end.
func steps(ctx context.Context, t *stage.Task, trainer *align.Trainer, history []align.Stats, pace Pacer, team *gang.Gang) ([]align.Stats, error) {
	every := cmp.Or(t.Spec.Train.Training.CheckpointEverySteps, checkpointEvery)
	for trainer.Done() < t.Spec.Train.Training.Steps {
		stats, err := trainer.Step()
		if errors.Is(err, align.ErrDiverged) {
			return nil, stage.Errorf(contract.ExitDiverged, "%w: lower training.learningRate or raise training.lambda", err)
		}
		if err != nil {
			return nil, err
		}
		history = append(history, stats)
		t.Progress.Add(1)
		t.Progress.Metric("loss", stats.Loss)
		interrupted, err := agree(team, pace.wait(ctx) != nil)
		if err != nil {
			return nil, err
		}
		if t.Rank == 0 && (interrupted || trainer.Done()%every == 0) {
			// The context may have ended; what was learnt must still be saved.
			if err := save(context.WithoutCancel(ctx), t, trainer, history); err != nil {
				return nil, err
			}
		}
		if interrupted {
			if _, err := agree(team, true); err != nil { // the others wait until it is saved
				return nil, err
			}
			return nil, fmt.Errorf("%w: after step %d of %d", stage.ErrInterrupted, trainer.Done(), t.Spec.Train.Training.Steps)
		}
	}
	return history, nil
}

// finish writes the adapter and the metrics of all steps. The stage's own metrics are means over the
// last tenth of the steps.
func finish(ctx context.Context, t *stage.Task, m *base.Model, adapter *model.Adapter, history []align.Stats) error {
	data, err := model.EncodeAdapter(adapter, m.Digest)
	if err != nil {
		return err
	}
	a, err := t.Write(ctx, "adapter.safetensors", data)
	if err != nil {
		return err
	}
	t.Output("adapter", a)
	var lines bytes.Buffer
	encoder := jsonl.NewEncoder[metricsLine](&lines)
	last := history[len(history)-max(1, len(history)/10):]
	var mean align.Terms
	for _, s := range history {
		line := metricsLine{s.Step, float32(s.Loss), float32(s.Margin), float32(s.Regularizer), float32(s.GradNorm)}
		if err := encoder.Write(&line); err != nil {
			return err
		}
	}
	for _, s := range last {
		// Through single precision, as a checkpoint keeps them: an interrupted training reports the same.
		mean.Loss += float64(float32(s.Loss)) / float64(len(last))
		mean.Margin += float64(float32(s.Margin)) / float64(len(last))
		mean.Regularizer += float64(float32(s.Regularizer)) / float64(len(last))
	}
	if a, err = t.Write(ctx, "metrics.jsonl", lines.Bytes()); err != nil {
		return err
	}
	t.Output("metrics", a)
	t.Metric("loss", mean.Loss)
	t.Metric("margin", mean.Margin)
	t.Metric("regularizer", mean.Regularizer)
	t.Count("steps", int64(len(history)))
	return nil
}

// startAdapter gives the adapter to train: a copy of the spec's, or a fresh one.
func startAdapter(ctx context.Context, t *stage.Task, m *base.Model) (*model.Adapter, error) {
	spec := t.Spec.Train
	rank, alpha := spec.Training.LoRARank, float32(spec.Training.LoRAAlpha)
	adapter, err := loadAdapter(ctx, t, m, spec.StartAdapter)
	if err != nil {
		return nil, err
	}
	if adapter == nil {
		if rank > model.MaxRank {
			return nil, stage.Errorf(contract.ExitBadSpec, "training.loraRank is %d, this model takes at most %d", rank, model.MaxRank)
		}
		adapter = model.NewAdapter(m.Words(), rank, alpha)
		adapter.Randomize(spec.Seed)
		return adapter, nil
	}
	if adapter.Rank != rank || adapter.Alpha != alpha {
		return nil, stage.Errorf(contract.ExitMismatch, "%s: adapter of rank %d and alpha %g, the spec trains rank %d and alpha %g", spec.StartAdapter.Key, adapter.Rank, adapter.Alpha, rank, alpha)
	}
	return adapter, nil
}

// options of the training; the error names the field.
func options(spec *contract.TrainSpec) (align.Options, error) {
	var failed error
	decimal := func(field, value string) float64 {
		x, err := strconv.ParseFloat(value, 64)
		if err != nil || !(x >= 0) {
			failed = stage.Errorf(contract.ExitBadSpec, "train.training.%s is %q, want a decimal >= 0", field, value)
		}
		return x
	}
	o := spec.Training
	out := align.Options{
		Seed: spec.Seed, Iteration: spec.Iteration, Steps: o.Steps, PairsPerStep: o.PairsPerStep,
		Rate: decimal("learningRate", o.LearningRate), WarmupSteps: o.WarmupSteps, ScheduleSteps: o.ScheduleSteps,
		Objective: align.ZODPO(decimal("beta", o.Beta), decimal("lambda", o.Lambda), decimal("marginClip", o.MarginClip)),
	}
	if o.CheckpointEverySteps < 0 {
		failed = stage.Errorf(contract.ExitBadSpec, "train.training.checkpointEverySteps is %d, want at least 1, or 0 for %d", o.CheckpointEverySteps, checkpointEvery)
	}
	return out, failed
}
