// Package conformance runs any runtime executable against the stage contract (docs/contract.md): as
// processes, over a folder store, from sampling through tracking to training.
//
//	func TestConformance(t *testing.T) {
//		conformance.Run(t, conformance.Runtime{Command: []string{"bin/my-runtime"}, ...})
//	}
package conformance

import (
	"testing"

	"github.com/spatialalign/operator/internal/contract"
)

// Runtime is what the tests need to know of an executable.
type Runtime struct {
	// Command is the entrypoint; the stage and the flags follow it.
	Command []string
	// Model, NumericsRevision and Detector are the runtime's own.
	Model            contract.Model
	NumericsRevision string
	Detector         contract.Detector
	// SamplingSteps and Training are as small as the runtime allows.
	SamplingSteps int
	Training      contract.Training
	// Prompts are two or more that the runtime understands.
	Prompts []contract.PromptLine
	// Slowly is environment ("NAME=value") that makes every sample and training step last long enough
	// to interrupt the stage in between. Without it the tests of interruptions race with the end.
	Slowly []string
	// Reproducible says that the same spec gives the same bytes, also when interrupted.
	Reproducible bool
	// OneNode says that a training runs in one pod only: NNODES above 1 is refused with code 64.
	OneNode bool
}

// Run runs all tests against the runtime.
func Run(t *testing.T, r Runtime) {
	s := newSuite(t, r)
	t.Run("sample", func(t *testing.T) { s.with(t).sample() })
	t.Run("track", func(t *testing.T) { s.with(t).track() })
	t.Run("train", func(t *testing.T) { s.with(t).train() })
	t.Run("settings", func(t *testing.T) { s.settings(t) })
	t.Run("refusals", func(t *testing.T) { s.refusals(t) })
	t.Run("interruptions", func(t *testing.T) { s.interruptions(t) })
	if r.OneNode {
		t.Run("several nodes", func(t *testing.T) { s.with(t).refusesSeveralNodes() })
	} else {
		t.Run("several nodes", func(t *testing.T) { s.gang(t) })
	}
}
