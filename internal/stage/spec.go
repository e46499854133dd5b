package stage

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/contract"
)

// maxSpec is the largest spec, in bytes: it travels in an annotation, and Kubernetes allows 256 KiB
// of those.
const maxSpec = 256 << 10

// readSpec reads the spec's file and refuses any other than the one that the arguments name.
func readSpec(file, digest string, stage contract.Stage) (*contract.Spec, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", contract.FlagSpec, err)
	}
	if info.Size() > maxSpec {
		return nil, fmt.Errorf("%s %s: %d bytes, at most %d are allowed", contract.FlagSpec, file, info.Size(), maxSpec)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", contract.FlagSpec, err)
	}
	if got := contract.Digest(data); got != digest {
		return nil, fmt.Errorf("%s %s has digest %s, not %s as %s says", contract.FlagSpec, file, got, digest, contract.FlagSpecDigest)
	}
	spec, err := DecodeSpec(data, stage)
	if err != nil {
		return nil, fmt.Errorf("spec %s: %w", file, err)
	}
	return spec, nil
}

// DecodeSpec decodes and validates the spec of a stage. An unknown field or another contract version
// is an error: a stage must not skip an instruction that it does not know.
func DecodeSpec(data []byte, stage contract.Stage) (*contract.Spec, error) {
	// The version comes first, so that a newer spec is refused for its version and not for its fields.
	spec := &contract.Spec{}
	err := artifact.DecodeStrict(data, spec)
	if spec.ContractVersion != "" && spec.ContractVersion != contract.Version {
		return nil, fmt.Errorf("contractVersion is %q, this program knows %s", spec.ContractVersion, contract.Version)
	}
	if err != nil {
		return nil, err
	}
	if spec.ContractVersion == "" {
		return nil, errors.New("contractVersion is not set")
	}
	if spec.Stage != stage {
		return nil, fmt.Errorf("stage is %q, but the program was called as %q", spec.Stage, stage)
	}
	if err := contract.ValidKey(spec.Output); err != nil {
		return nil, fmt.Errorf("output: %w", err)
	}
	blocks := map[contract.Stage]func() error{}
	if spec.Prepare != nil {
		blocks[contract.Prepare] = func() error { return checkPrepare(spec.Prepare) }
	}
	if spec.Sample != nil {
		blocks[contract.Sample] = func() error { return checkSample(spec.Sample) }
	}
	if spec.Track != nil {
		blocks[contract.Track] = func() error { return checkTrack(spec.Track) }
	}
	if spec.Score != nil {
		blocks[contract.Score] = func() error { return checkScore(spec.Score) }
	}
	if spec.Pair != nil {
		blocks[contract.Pair] = func() error { return checkPair(spec.Pair) }
	}
	if spec.Train != nil {
		blocks[contract.Train] = func() error { return checkTrain(spec.Train) }
	}
	if spec.Compare != nil {
		blocks[contract.Compare] = func() error { return checkCompare(spec.Compare) }
	}
	if spec.Lineage != nil {
		blocks[contract.Lineage] = func() error { return checkLineage(&spec.Lineage.Record) }
	}
	check, ok := blocks[stage]
	if !ok || len(blocks) != 1 {
		return nil, fmt.Errorf("exactly the block %q must be set", stage)
	}
	if err := check(); err != nil {
		return nil, fmt.Errorf("%s.%w", stage, err)
	}
	return spec, nil
}

func checkPrepare(s *contract.PrepareSpec) error {
	if len(s.Prompts)+len(s.Sets) == 0 {
		return errors.New("prompts and sets are both empty: there is nothing to do")
	}
	names := map[string]bool{}
	for i, p := range s.Prompts {
		field := fmt.Sprintf("prompts[%d]", i)
		sources := 0
		if p.Generate != nil {
			sources++
			if p.Generate.Count < 1 {
				return fmt.Errorf("%s.generate.count is %d, want at least 1", field, p.Generate.Count)
			}
		}
		if p.File != "" {
			sources++
		}
		if p.Artifact != nil {
			sources++
			if err := checkInput(field+".artifact", *p.Artifact); err != nil {
				return err
			}
		}
		if sources != 1 {
			return fmt.Errorf("%s: exactly one of generate, file and artifact must be set", field)
		}
		if err := contract.ValidKey(p.Name); err != nil || names[p.Name] {
			return fmt.Errorf("%s.name %q is no valid name or is used twice", field, p.Name)
		}
		names[p.Name] = true
	}
	sets := map[string]bool{}
	for i, set := range s.Sets {
		field := fmt.Sprintf("sets[%d]", i)
		if err := contract.ValidKey(set.Name); err != nil || sets[set.Name] {
			return fmt.Errorf("%s.name %q is no valid name or is used twice", field, set.Name)
		}
		sets[set.Name] = true
		if set.Prompts == nil && !names[set.Name] {
			return fmt.Errorf("%s.prompts is not set, and no source of prompts is named %q", field, set.Name)
		}
		if set.Prompts != nil {
			if err := checkInput(field+".prompts", *set.Prompts); err != nil {
				return err
			}
		}
		if set.SamplesPerPrompt < 1 {
			return fmt.Errorf("%s.samplesPerPrompt is %d, want at least 1", field, set.SamplesPerPrompt)
		}
		if err := errors.Join(checkSampling(field+".sampling", set.Sampling), checkDetector(field+".detector", set.Detector)); err != nil {
			return err
		}
	}
	return nil
}

func checkSample(s *contract.SampleSpec) error {
	return errors.Join(
		checkPinned("prompts", s.Prompts),
		checkPinned("index", s.Index),
		checkSampling("sampling", s.Sampling),
	)
}

func checkTrack(s *contract.TrackSpec) error {
	return errors.Join(checkDetector("detector", &s.Detector), checkInput("prompts", s.Prompts), checkInput("index", s.Index))
}

func checkTrain(s *contract.TrainSpec) error {
	t := s.Training
	if t.Steps < 1 || t.PairsPerStep < 1 || t.LoRARank < 1 || t.LoRAAlpha < 1 {
		return fmt.Errorf("training: steps %d, pairsPerStep %d, loraRank %d, loraAlpha %d: want at least 1 each", t.Steps, t.PairsPerStep, t.LoRARank, t.LoRAAlpha)
	}
	if t.ScheduleSteps < t.Steps {
		return fmt.Errorf("training.scheduleSteps is %d, want at least the %d of steps", t.ScheduleSteps, t.Steps)
	}
	if t.WarmupSteps < 0 || t.WarmupSteps > t.ScheduleSteps {
		return fmt.Errorf("training.warmupSteps is %d, want 0 to the %d of scheduleSteps", t.WarmupSteps, t.ScheduleSteps)
	}
	return errors.Join(
		checkPinned("prompts", s.Prompts),
		checkPinned("pairs", s.Pairs),
		checkOptional("startAdapter", s.StartAdapter),
		checkOptional("referenceAdapter", s.ReferenceAdapter),
		checkModel("model", s.Model),
		checkDecimal("training.learningRate", t.LearningRate, 0, 1),
		checkDecimal("training.beta", t.Beta, 0, 1e6),
		checkDecimal("training.lambda", t.Lambda, 0, 1e6),
		checkDecimal("training.marginClip", t.MarginClip, 0, 1e6),
	)
}

func checkSampling(field string, s contract.Sampling) error {
	if s.Steps < 1 {
		return fmt.Errorf("%s.steps is %d, want at least 1", field, s.Steps)
	}
	if s.Frames < 0 || s.Width < 0 || s.Height < 0 {
		return fmt.Errorf("%s: frames %d, width %d, height %d: want at least 1, or 0 for the runtime's own", field, s.Frames, s.Width, s.Height)
	}
	if s.GuidanceScale != "" {
		if err := checkDecimal(field+".guidanceScale", s.GuidanceScale, 0, 1e6); err != nil {
			return err
		}
	}
	if s.Device != "" && !contract.ValidDevice(s.Device) {
		return fmt.Errorf("%s.device is %q, want a GPU model of 1 to 64 printable characters", field, s.Device)
	}
	return errors.Join(checkOptional(field+".adapter", s.Adapter), checkModel(field+".model", s.Model))
}

func checkModel(field string, m contract.Model) error {
	if m.Name == "" || !artifact.ValidDigest(m.Digest) {
		return fmt.Errorf("%s: name %q and digest %q must both be set", field, m.Name, m.Digest)
	}
	return nil
}

// checkDetector accepts none, or one with a name and a digest.
func checkDetector(field string, d *contract.Detector) error {
	if d != nil && (d.Name == "" || !artifact.ValidDigest(d.Digest)) {
		return fmt.Errorf("%s: name %q and digest %q must both be set", field, d.Name, d.Digest)
	}
	return nil
}

// checkInput accepts an artifact that a user may have named without a digest.
func checkInput(field string, a contract.Artifact) error {
	if err := contract.ValidKey(a.Key); err != nil {
		return fmt.Errorf("%s.key: %w", field, err)
	}
	if a.Digest != "" && !artifact.ValidDigest(a.Digest) {
		return fmt.Errorf("%s.digest %q: want sha256: and 64 hex digits", field, a.Digest)
	}
	return nil
}

// checkPinned accepts only an artifact with a digest.
func checkPinned(field string, a contract.Artifact) error {
	if a.Digest == "" {
		return fmt.Errorf("%s.digest is not set", field)
	}
	return checkInput(field, a)
}

// checkOptional accepts none, or an artifact with a digest.
func checkOptional(field string, a *contract.Artifact) error {
	if a == nil {
		return nil
	}
	return checkPinned(field, *a)
}

func checkDecimal(field, value string, low, high float64) error {
	x, err := strconv.ParseFloat(value, 64)
	if err != nil || !(x >= low && x <= high) {
		return fmt.Errorf("%s is %q, want a decimal from %v to %v", field, value, low, high)
	}
	return nil
}
