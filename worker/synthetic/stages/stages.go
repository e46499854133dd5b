package stages

import (
	"context"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/stage"
	"github.com/spatialalign/operator/worker/synthetic/base"
	"github.com/spatialalign/operator/worker/synthetic/detect"
)

// All are the stages of the runtime, at a pace.
func All(pace Pacer) map[contract.Stage]stage.Func {
	at := func(work func(context.Context, *stage.Task, Pacer) error) stage.Func {
		return func(ctx context.Context, t *stage.Task) error { return work(ctx, t, pace) }
	}
	return map[contract.Stage]stage.Func{contract.Sample: at(sample), contract.Track: at(track), contract.Train: at(train)}
}

// Info is what an admin copies into an AlignmentRuntime.
type Info struct {
	Model            contract.Model    `json:"model"`
	NumericsRevision string            `json:"numericsRevision"`
	Detector         contract.Detector `json:"detector"`
	Classes          Classes           `json:"classes"`
}

// Classes are the words that prompts may use.
type Classes struct {
	Subjects []string `json:"subjects"`
	Objects  []string `json:"objects"`
}

// Describe this image.
func Describe() (Info, error) {
	m, err := base.Load()
	if err != nil {
		return Info{}, err
	}
	return Info{
		Model:            contract.Model{Name: base.Name, Digest: m.Digest},
		NumericsRevision: base.NumericsRevision,
		Detector:         detect.Identity(),
		Classes:          Classes{Subjects: m.Subjects, Objects: m.Objects},
	}, nil
}
