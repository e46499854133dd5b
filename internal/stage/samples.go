package stage

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/contract"
)

// maxSidecar is the largest sidecar, in bytes.
const maxSidecar = 64 << 10

// ReadSidecar reads the sidecar of a sample and checks that it is well-formed and of that sample.
// IsMissing of package artifact tells a sample that is not there yet, IsCorrupt one that is damaged and
// must be made again.
func ReadSidecar(ctx context.Context, store *artifact.Store, sampleID string) (*contract.Sidecar, error) {
	key := contract.SidecarKey(sampleID)
	data, err := store.ReadVerified(ctx, contract.Artifact{Key: key}, maxSidecar)
	if err != nil {
		return nil, err
	}
	sidecar := &contract.Sidecar{}
	if err := artifact.DecodeStrict(data, sidecar); err != nil {
		return nil, damaged(key, "not a sidecar: %w", err)
	}
	if err := checkSidecar(sidecar); err != nil {
		return nil, damaged(key, "not a valid sidecar: %w", err)
	}
	if sidecar.SampleID != sampleID {
		return nil, damaged(key, "it is of sample %s", sidecar.SampleID)
	}
	return sidecar, nil
}

// ResolveSample reads the sidecar of a sample of an index (see ReadSidecar) and checks that it has the
// index's prompt and seed, and that its files exist with the right size (their digests are checked by
// whoever reads them).
func ResolveSample(ctx context.Context, store *artifact.Store, line contract.IndexLine) (*contract.Sidecar, error) {
	sidecar, err := ReadSidecar(ctx, store, line.SampleID)
	if err != nil {
		return nil, err
	}
	key := contract.SidecarKey(line.SampleID)
	if sidecar.PromptID != line.PromptID || sidecar.Seed != line.Seed {
		return nil, damaged(key, "it is of prompt %s and seed %d; the index says %s and %d", sidecar.PromptID, sidecar.Seed, line.PromptID, line.Seed)
	}
	for _, f := range sidecarFiles(sidecar) {
		size, err := store.Size(ctx, f.Key)
		if artifact.IsMissing(err) || (err == nil && size != f.Size) {
			return nil, damaged(key, "its file %s is not there with %d bytes", f.Key, f.Size)
		}
		if err != nil {
			return nil, err
		}
	}
	return sidecar, nil
}

// ResolveVideo says where the video of a line is: in the line itself for videos that users bring, in
// the sample's sidecar otherwise.
func ResolveVideo(ctx context.Context, store *artifact.Store, line contract.IndexLine) (contract.Artifact, error) {
	if line.Video != nil {
		return *line.Video, nil
	}
	sidecar, err := ResolveSample(ctx, store, line)
	if err != nil {
		return contract.Artifact{}, err
	}
	return contract.Artifact{Key: sidecar.Video.Key, Digest: sidecar.Video.Digest}, nil
}

// CommitSample makes a sample official: the sidecar is written last, create-if-absent, so that the
// first of several pods wins. It returns the sidecar that counts, which may be another pod's. One
// that is damaged, or has no latent where this one does, is replaced.
func CommitSample(ctx context.Context, store *artifact.Store, sidecar *contract.Sidecar) (*contract.Sidecar, error) {
	key := contract.SidecarKey(sidecar.SampleID)
	if err := checkSidecar(sidecar); err != nil {
		return nil, fmt.Errorf("sidecar %s: %w", key, err)
	}
	data, err := json.Marshal(sidecar)
	if err != nil {
		return nil, fmt.Errorf("sidecar %s: %w", key, err)
	}
	committed, err := store.WriteIfAbsent(ctx, key, data)
	if err != nil {
		return nil, err
	}
	if committed {
		return sidecar, nil
	}
	line := contract.IndexLine{SampleID: sidecar.SampleID, PromptID: sidecar.PromptID, Seed: sidecar.Seed}
	winner, err := ResolveSample(ctx, store, line)
	if err != nil && !artifact.IsCorrupt(err) {
		return nil, err
	}
	if err == nil && (winner.Latent != nil || sidecar.Latent == nil) {
		return winner, nil
	}
	if _, err := store.Write(ctx, key, bytes.NewReader(data)); err != nil {
		return nil, err
	}
	return sidecar, nil
}

func sidecarFiles(s *contract.Sidecar) []contract.File {
	if s.Latent == nil {
		return []contract.File{s.Video}
	}
	return []contract.File{s.Video, *s.Latent}
}

func checkSidecar(s *contract.Sidecar) error {
	if s.Width < 1 || s.Height < 1 || s.FrameCount < 1 {
		return fmt.Errorf("width %d, height %d, frameCount %d: want at least 1 each", s.Width, s.Height, s.FrameCount)
	}
	for _, f := range sidecarFiles(s) {
		if err := contract.ValidKey(f.Key); err != nil {
			return err
		}
		if f.Size < 0 || !artifact.ValidDigest(f.Digest) {
			return fmt.Errorf("file %s: size %d, digest %q are not valid", f.Key, f.Size, f.Digest)
		}
	}
	return checkSampling("sampling", s.Sampling)
}

func damaged(key, format string, args ...any) error {
	return &artifact.Error{Kind: artifact.Corrupt, Op: "resolve sample", Key: key, Err: fmt.Errorf(format, args...)}
}
