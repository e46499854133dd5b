package main

import (
	"os"
	"testing"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/prompts"
	"github.com/spatialalign/operator/internal/stage/conformance"
	"github.com/spatialalign/operator/worker/synthetic/stages"
)

// envProgram makes the test binary be the program, so that its processes are what is tested.
const envProgram = "SYNTHETIC_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(envProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestConformance runs the program against the stage contract.
func TestConformance(t *testing.T) {
	t.Setenv(envProgram, "yes")
	about, err := stages.Describe()
	if err != nil {
		t.Fatal(err)
	}
	lines, err := prompts.Generate(contract.Generate{Count: 3, Seed: 1, Split: prompts.SplitTrain})
	if err != nil {
		t.Fatal(err)
	}
	conformance.Run(t, conformance.Runtime{
		Command:          []string{os.Args[0]},
		Model:            about.Model,
		NumericsRevision: about.NumericsRevision,
		Detector:         about.Detector,
		SamplingSteps:    2,
		Training: contract.Training{
			Steps: 6, ScheduleSteps: 8, WarmupSteps: 1, CheckpointEverySteps: 2, PairsPerStep: 2, LearningRate: "0.001", Beta: "1", Lambda: "0.5", MarginClip: "5", LoRARank: 2, LoRAAlpha: 2,
		},
		Prompts:      lines,
		Slowly:       []string{stages.EnvPace + "=200"},
		Reproducible: true,
	})
}
