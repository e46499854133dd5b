package artifact

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/spatialalign/operator/internal/contract"
)

const (
	// MaxManifest is the largest manifest, in bytes.
	MaxManifest = 1 << 20
	// MaxManifestFiles is how many files a manifest may vouch for.
	MaxManifestFiles = 1000

	manifestName = "manifest.json"
	// checksumSuffix names a manifest's companion, in the format of sha256sum.
	checksumSuffix = ".sha256"
)

// ManifestDir is the prefix below which one pod of one attempt writes.
func ManifestDir(output string, attempt int, podUID string, shard int) string {
	return path.Join(output, fmt.Sprintf("%d-%s", attempt, podUID), strconv.Itoa(shard))
}

// CommitManifest writes a manifest, the last file of a stage. Everything written before is made
// durable first. Its checksum file precedes it, so that another attempt, which knows no digest, can
// still tell a whole manifest from a damaged one.
func (s *Store) CommitManifest(ctx context.Context, output string, m *contract.Manifest) (contract.Artifact, error) {
	key := path.Join(ManifestDir(output, m.Attempt, m.PodUID, m.Shard), manifestName)
	if err := checkManifest(m); err != nil {
		return contract.Artifact{}, fmt.Errorf("manifest %s: %w", key, err)
	}
	data, err := json.Marshal(m)
	if err != nil {
		return contract.Artifact{}, fmt.Errorf("manifest %s: %w", key, err)
	}
	if len(data) > MaxManifest {
		return contract.Artifact{}, fmt.Errorf("manifest %s: %d bytes, at most %d are allowed", key, len(data), MaxManifest)
	}
	if err := s.Sync(); err != nil {
		return contract.Artifact{}, err
	}
	digest := contract.Digest(data)
	checksum := fmt.Sprintf("%s  %s\n", strings.TrimPrefix(digest, "sha256:"), manifestName)
	if _, err := s.Write(ctx, key+checksumSuffix, strings.NewReader(checksum)); err != nil {
		return contract.Artifact{}, err
	}
	if _, err := s.Write(ctx, key, bytes.NewReader(data)); err != nil {
		return contract.Artifact{}, err
	}
	return contract.Artifact{Key: key, Digest: digest}, s.Sync()
}

// ReadManifest reads a manifest that is pinned by its digest.
func (s *Store) ReadManifest(ctx context.Context, a contract.Artifact) (*contract.Manifest, error) {
	if a.Digest == "" {
		return nil, corrupt("read", a.Key, "a manifest must be named with its digest")
	}
	data, err := s.ReadVerified(ctx, a, MaxManifest)
	if err != nil {
		return nil, err
	}
	m := &contract.Manifest{}
	if err := DecodeStrict(data, m); err != nil {
		return nil, corrupt("read", a.Key, "not a manifest: %w", err)
	}
	if err := checkManifest(m); err != nil {
		return nil, corrupt("read", a.Key, "not a valid manifest: %w", err)
	}
	return m, nil
}

// VerifyManifest reads every file that a manifest vouches for and checks its size and digest.
func (s *Store) VerifyManifest(ctx context.Context, m *contract.Manifest) error {
	for _, f := range m.Files {
		if err := s.Verify(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// Done is a manifest and where it stands.
type Done struct {
	Artifact contract.Artifact
	Manifest *contract.Manifest
}

// FindManifest looks for the newest manifest of one shard of a stage that a present or former attempt
// (at most attempt) left behind, complete and with all its files intact. It gives nil when there is
// none; why each one it met is not good enough goes to rejected.
func (s *Store) FindManifest(ctx context.Context, output string, want contract.Manifest, rejected func(key string, err error)) (*Done, error) {
	keys, err := s.List(ctx, output+"/")
	if err != nil {
		return nil, err
	}
	var found *Done
	for _, key := range keys {
		attempt, podUID, shard, ok := parseManifestKey(output, key)
		if !ok || shard != want.Shard || attempt > want.Attempt || (found != nil && found.Manifest.Attempt >= attempt) {
			continue
		}
		expected := want
		expected.Attempt, expected.PodUID = attempt, podUID
		done, err := s.adopt(ctx, key, &expected)
		switch {
		case err == nil:
			found = done
		case isKind(err, Storage):
			return nil, err
		default:
			rejected(key, err)
		}
	}
	return found, nil
}

// adopt reads a manifest that no digest pins: its checksum file must agree, and so must its content
// with the place where it stands.
func (s *Store) adopt(ctx context.Context, key string, want *contract.Manifest) (*Done, error) {
	checksum, err := s.ReadVerified(ctx, contract.Artifact{Key: key + checksumSuffix}, 1024)
	if err != nil {
		return nil, err
	}
	digest, name, _ := strings.Cut(string(checksum), "  ")
	if name != manifestName+"\n" {
		return nil, corrupt("read", key+checksumSuffix, "not a checksum file of %s", manifestName)
	}
	a := contract.Artifact{Key: key, Digest: "sha256:" + digest}
	m, err := s.ReadManifest(ctx, a)
	if err != nil {
		return nil, err
	}
	if m.Stage != want.Stage || m.SpecDigest != want.SpecDigest || m.Shard != want.Shard || m.Shards != want.Shards ||
		m.Attempt != want.Attempt || m.PodUID != want.PodUID {
		return nil, corrupt("read", key, "it is of stage %s, spec %s, shard %d of %d, attempt %d, pod %s; want %s, %s, %d of %d, %d, %s",
			m.Stage, m.SpecDigest, m.Shard, m.Shards, m.Attempt, m.PodUID,
			want.Stage, want.SpecDigest, want.Shard, want.Shards, want.Attempt, want.PodUID)
	}
	if err := s.VerifyManifest(ctx, m); err != nil {
		return nil, err
	}
	return &Done{Artifact: a, Manifest: m}, nil
}

// parseManifestKey takes <output>/<attempt>-<podUID>/<shard>/manifest.json apart.
func parseManifestKey(output, key string) (attempt int, podUID string, shard int, ok bool) {
	parts := strings.Split(strings.TrimPrefix(key, output+"/"), "/")
	if len(parts) != 3 || parts[2] != manifestName {
		return 0, "", 0, false
	}
	number, podUID, found := strings.Cut(parts[0], "-")
	attempt, err := strconv.Atoi(number)
	if !found || err != nil {
		return 0, "", 0, false
	}
	shard, err = strconv.Atoi(parts[1])
	return attempt, podUID, shard, err == nil && ManifestDir(output, attempt, podUID, shard)+"/"+manifestName == key
}

// checkManifest checks what the types cannot say.
func checkManifest(m *contract.Manifest) error {
	if m.ContractVersion != contract.Version {
		return fmt.Errorf("contractVersion is %q, this is %s", m.ContractVersion, contract.Version)
	}
	if !ValidDigest(m.SpecDigest) {
		return fmt.Errorf("specDigest %q: want sha256: and 64 hex digits", m.SpecDigest)
	}
	if m.Stage == "" || m.PodUID == "" {
		return fmt.Errorf("stage and podUID must be set")
	}
	if m.Attempt < 0 || m.Shard < 0 || m.Shard >= m.Shards {
		return fmt.Errorf("attempt %d, shard %d of %d: want attempt >= 0 and 0 <= shard < shards", m.Attempt, m.Shard, m.Shards)
	}
	if len(m.Files) > MaxManifestFiles {
		return fmt.Errorf("files: %d, at most %d are allowed; list further ones in a file of their own", len(m.Files), MaxManifestFiles)
	}
	digests := make(map[string]string, len(m.Files))
	for i, f := range m.Files {
		if err := contract.ValidKey(f.Key); err != nil {
			return fmt.Errorf("files[%d]: %w", i, err)
		}
		if _, twice := digests[f.Key]; twice || !ValidDigest(f.Digest) || f.Size < 0 {
			return fmt.Errorf("files[%d] %s: listed twice, or without a valid digest and size", i, f.Key)
		}
		digests[f.Key] = f.Digest
	}
	for name, a := range m.Outputs {
		if digest, listed := digests[a.Key]; !listed || digest != a.Digest {
			return fmt.Errorf("outputs[%s]: %s with digest %q is not among files", name, a.Key, a.Digest)
		}
	}
	for name, n := range m.Counts {
		if n < 0 {
			return fmt.Errorf("counts[%s]: %d is negative", name, n)
		}
	}
	for name, value := range m.Metrics {
		if x, err := strconv.ParseFloat(value, 64); err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			return fmt.Errorf("metrics[%s]: %q is not a finite decimal", name, value)
		}
	}
	for name, devices := range m.Devices {
		if len(devices) > contract.MaxDevices || slices.ContainsFunc(devices, func(d string) bool { return !contract.ValidDevice(d) }) {
			return fmt.Errorf("devices[%s]: %q are not at most %d GPU models", name, devices, contract.MaxDevices)
		}
	}
	return nil
}
