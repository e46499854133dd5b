package stages

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jsonl"
	"github.com/spatialalign/operator/internal/stage"
	"github.com/spatialalign/operator/worker/synthetic/base"
	"github.com/spatialalign/operator/worker/synthetic/model"
	"github.com/spatialalign/operator/worker/synthetic/scene"
	"github.com/spatialalign/operator/worker/synthetic/video"
)

// sampleBatch is how many samples are generated together; it changes no bit of them.
const sampleBatch = 64

// sampler works on the missing samples of one shard.
type sampler struct {
	*stage.Task
	spec    *contract.SampleSpec
	size    scene.Size
	base    *base.Model
	adapter *model.Adapter
	pace    Pacer
	// sidecars of the shard's samples by id, made or found.
	sidecars map[string]*contract.Sidecar
}

// missing is a sample to make. Damaged ones have a sidecar whose files are not what it says, or no longer there.
type missing struct {
	item
	damaged bool
}

// sample makes the samples of its shard that the store lacks. Whatever it ends with, the samples
// committed so far stay: the next attempt skips them.
func sample(ctx context.Context, t *stage.Task, pace Pacer) error {
	s := sampler{Task: t, spec: t.Spec.Sample, pace: pace, sidecars: map[string]*contract.Sidecar{}}
	if err := checkGuidance(s.spec.Sampling); err != nil {
		return err
	}
	var err error
	if s.size, err = videoSize(s.spec.Sampling); err != nil {
		return err
	}
	if s.base, err = loadBase(s.spec.Sampling.Model, s.spec.Sampling.NumericsRevision); err != nil {
		return err
	}
	if s.adapter, err = loadAdapter(ctx, t, s.base, s.spec.Sampling.Adapter); err != nil {
		return err
	}
	byID, err := readPrompts(ctx, t, s.base.Vocabulary, s.spec.Prompts)
	if err != nil {
		return err
	}
	items, err := readMine(ctx, t, byID, s.spec.Index)
	if err != nil {
		return err
	}
	t.Progress.Total(int64(len(items)), "samples")
	t.Metric("paceMilliseconds", float64(pace.Milliseconds))
	todo, err := s.findMissing(ctx, items)
	if err != nil {
		return err
	}
	for first := 0; first < len(todo); first += sampleBatch {
		if err := s.make(ctx, todo[first:min(first+sampleBatch, len(todo))]); err != nil {
			return err
		}
	}
	if err := s.list(ctx, items); err != nil {
		return err
	}
	t.Counts(map[string]int64{"total": int64(len(items)), "generated": int64(len(todo)), "reused": int64(len(items) - len(todo))})
	return nil
}

// list writes samples.jsonl, so that the manifest vouches for every sample of the shard.
func (s *sampler) list(ctx context.Context, items []item) error {
	var lines bytes.Buffer
	encoder := jsonl.NewEncoder[contract.Sidecar](&lines)
	for _, it := range items {
		if err := encoder.Write(s.sidecars[it.SampleID]); err != nil {
			return err
		}
	}
	_, err := s.Write(ctx, "samples.jsonl", lines.Bytes())
	return err
}

// findMissing verifies what is there already, every byte of it.
func (s *sampler) findMissing(ctx context.Context, items []item) ([]missing, error) {
	var todo []missing
	for _, it := range items {
		if want := contract.SampleKey(s.spec.Sampling, it.prompt.Prompt, it.Seed); it.SampleID != want {
			return nil, stage.Errorf(contract.ExitBadInput, "%s: sample %s of prompt %q, seed %d is not the %s that the spec's sampling makes", s.spec.Index.Key, it.SampleID, it.PromptID, it.Seed, want)
		}
		switch complete, err := s.complete(ctx, it); {
		case artifact.IsCorrupt(err), artifact.IsMissing(err):
			s.Log.Warn("sample is damaged and made again", "sample", it.SampleID, "error", err.Error())
			todo = append(todo, missing{it, true})
		case err != nil:
			return nil, err
		case complete:
			s.Progress.Skip(1)
		default:
			todo = append(todo, missing{it, false})
		}
	}
	return todo, nil
}

// complete reports whether a sample is there with all that the spec wants. The error tells one whose sidecar or
// files are damaged, or whose files are lost.
func (s *sampler) complete(ctx context.Context, it item) (bool, error) {
	sidecar, err := stage.ResolveSample(ctx, s.Store, it.IndexLine)
	if artifact.IsMissing(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if made := contract.SampleKey(sidecar.Sampling, it.prompt.Prompt, sidecar.Seed); made != it.SampleID {
		return false, &artifact.Error{Kind: artifact.Corrupt, Op: "verify", Key: contract.SidecarKey(it.SampleID), Err: fmt.Errorf("it describes sample %s", made)}
	}
	files := []contract.File{sidecar.Video}
	if s.spec.KeepLatents {
		if sidecar.Latent == nil {
			return false, nil
		}
		files = append(files, *sidecar.Latent)
	}
	for _, file := range files {
		if err := s.Store.Verify(ctx, file); err != nil {
			return false, err
		}
	}
	s.sidecars[it.SampleID] = sidecar
	return true, nil
}

func (s *sampler) make(ctx context.Context, batch []missing) error {
	requests := make([]model.Request, len(batch))
	for i, m := range batch {
		requests[i] = model.Request{Text: m.prompt.text, Seed: m.Seed}
	}
	for i, latent := range s.base.Generate(s.adapter, requests, s.spec.Sampling.Steps) {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%w: %w", stage.ErrInterrupted, err)
		}
		if err := s.store(ctx, batch[i], latent); err != nil {
			return err
		}
		s.Progress.Add(1)
		if err := s.pace.wait(ctx); err != nil {
			return fmt.Errorf("%w: %w", stage.ErrInterrupted, err)
		}
	}
	return nil
}

// store writes the files of a sample, then its sidecar.
func (s *sampler) store(ctx context.Context, m missing, latent []float32) error {
	data, err := video.Encode(scene.Render(scene.Decode(latent), s.size))
	if err != nil {
		return err
	}
	sidecar := &contract.Sidecar{
		SampleID: m.SampleID, PromptID: m.PromptID, Seed: m.Seed, Sampling: s.spec.Sampling,
		Width: s.size.Width, Height: s.size.Height, FrameCount: s.size.Frames,
		Provenance: map[string]string{"runtime": "synthetic " + s.Version, "architecture": runtime.GOARCH},
	}
	if s.Image != "" {
		sidecar.Provenance["image"] = s.Image
	}
	if sidecar.Video, err = s.write(ctx, m, "video.gif", data); err != nil {
		return err
	}
	if s.spec.KeepLatents {
		data, err := model.EncodeLatent(latent)
		if err != nil {
			return err
		}
		file, err := s.write(ctx, m, "latent.safetensors", data)
		if err != nil {
			return err
		}
		sidecar.Latent = &file
	}
	if !m.damaged {
		s.sidecars[m.SampleID], err = stage.CommitSample(ctx, s.Store, sidecar)
		return err
	}
	s.sidecars[m.SampleID] = sidecar
	data, err = json.Marshal(sidecar)
	if err != nil {
		return err
	}
	_, err = s.Store.Write(ctx, contract.SidecarKey(m.SampleID), bytes.NewReader(data))
	return err
}

func (s *sampler) write(ctx context.Context, m missing, name string, data []byte) (contract.File, error) {
	return s.Store.Write(ctx, contract.SampleFileKey(m.SampleID, s.PodUID, name), bytes.NewReader(data))
}
