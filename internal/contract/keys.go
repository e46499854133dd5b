package contract

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
	"strings"
)

// Digest of bytes, as "sha256:<hex>".
func Digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Encode gives the spec's canonical bytes and their digest. The same spec always encodes the same.
func (s *Spec) Encode() (data []byte, digest string) {
	data, err := json.Marshal(s)
	if err != nil {
		panic(err) // plain data: strings, integers, slices
	}
	return data, Digest(data)
}

// SampleKey addresses a sample by its inputs: 64 hex digits. The adapter enters by digest, its key does not.
func SampleKey(s Sampling, prompt string, seed uint64) string {
	adapter := ""
	if s.Adapter != nil {
		adapter = s.Adapter.Digest
	}
	parts := []string{"sample", s.Model.Digest, s.NumericsRevision, adapter, fmt.Sprint(s.Steps)}
	if s.GuidanceScale != "" || s.NegativePrompt != "" || s.Frames != 0 || s.Width != 0 || s.Height != 0 {
		// Only where one is set, so that no sample stored before they existed is made again.
		parts = append(parts, s.GuidanceScale, s.NegativePrompt, fmt.Sprint(s.Frames), fmt.Sprint(s.Width), fmt.Sprint(s.Height))
	}
	if s.Device != "" {
		parts = append(parts, "device", s.Device)
	}
	return hash(append(parts, prompt, fmt.Sprint(seed))...)
}

// TrackKey addresses the tracks of a video by its digest, the detector and what it looks for.
func TrackKey(videoDigest string, d Detector, subject, object string) string {
	return hash("track", videoDigest, d.Name, d.Digest, d.Revision, subject, object)
}

// SidecarKey is where the sidecar of a sample stands.
func SidecarKey(sampleID string) string {
	return path.Join("samples", prefix(sampleID), sampleID, "sample.json")
}

// SampleFileKey is where a pod puts a file of a sample; the sidecar names the one that counts.
func SampleFileKey(sampleID, podUID, name string) string {
	return path.Join("samples", prefix(sampleID), sampleID, podUID, name)
}

// TrackFileKey is where the tracks of a TrackKey stand.
func TrackFileKey(trackKey string) string {
	return path.Join("tracks", prefix(trackKey), trackKey+".json")
}

// Seed of sample j of a prompt. Training sets pass their iteration (>= 1) and resampling round;
// evaluation sets pass iteration 0, so that their seeds never change.
func Seed(rule SeedRule, promptID string, j int) uint64 {
	return Hash64("seed", fmt.Sprint(rule.Seed), fmt.Sprint(rule.Iteration), fmt.Sprint(rule.Round), promptID, fmt.Sprint(j))
}

// Hash64 is the counter-based hash behind every random draw: no state, so that neither the world
// size nor a restart changes a draw.
func Hash64(parts ...string) uint64 {
	sum := digestParts(parts)
	return binary.BigEndian.Uint64(sum[:8])
}

// TrackPart is the name, below the pod's own prefix, of the file with a track shard's lines.
func TrackPart(shard int) string { return fmt.Sprintf("tracks/part-%d.jsonl", shard) }

// Shard that the item at a position of the (hash-ordered) index belongs to. Completion is per item,
// so a changed number of shards is harmless.
func Shard(position, shards int) int { return position % shards }

// MaxKey is the most that an artifact key may have, in bytes: what the API's status holds of one.
const MaxKey = 512

// ValidKey refuses keys that could leave the store's root.
func ValidKey(key string) error {
	if key == "" || len(key) > MaxKey {
		return fmt.Errorf("artifact key has %d characters, not 1 to %d", len(key), MaxKey)
	}
	for _, r := range key {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("._/-", r):
		default:
			return fmt.Errorf("artifact key %q: character %q is not one of A-Z a-z 0-9 . _ / -", key, r)
		}
	}
	for _, part := range strings.Split(key, "/") {
		if strings.Trim(part, ".") == "" {
			return fmt.Errorf("artifact key %q: an element of dots alone, or an empty one, is no path element", key)
		}
	}
	return nil
}

func prefix(id string) string {
	if len(id) < 2 {
		return id
	}
	return id[:2]
}

func hash(parts ...string) string {
	sum := digestParts(parts)
	return hex.EncodeToString(sum[:])
}

// digestParts separates by length, so that ("ab","c") and ("a","bc") differ.
func digestParts(parts []string) [sha256.Size]byte {
	h := sha256.New()
	var n [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	return [sha256.Size]byte(h.Sum(nil))
}
