package contract_test

import (
	"fmt"
	"path"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/spatialalign/operator/internal/contract"
)

func TestValidKey(t *testing.T) {
	tests := []struct {
		key   string
		valid bool
	}{
		{"prompts.jsonl", true},
		{"runs/5f9a-run/0001/train/0-pod/0/adapter.safetensors", true},
		{"a..b", true},
		{"..a", true},
		{"-", true},
		{strings.Repeat("k", contract.MaxKey), true},

		{"", false},
		{strings.Repeat("k", contract.MaxKey+1), false},
		{".", false},
		{"..", false},
		{"...", false},
		{"a/.../b", false},
		{"../secret", false},
		{"a/../../secret", false},
		{"a/..", false},
		{"a/./b", false},
		{"/etc/passwd", false},
		{"//host/share", false},
		{"a//b", false},
		{"a/", false},
		{`..\secret`, false},
		{`C:\secret`, false},
		{"%2e%2e/secret", false},
		{"a\x00b", false},
		{"a\nb", false},
		{"a b", false},
		{"~root", false},
		{"s3:bucket", false},
		{"a?b", false},
		{"ä", false},
		{"\xff", false},
		{"a/\u2025/b", false},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%.40q", tt.key), func(t *testing.T) {
			if err := contract.ValidKey(tt.key); (err == nil) != tt.valid {
				t.Errorf("ValidKey says %v, want valid = %v", err, tt.valid)
			}
		})
	}
}

// FuzzValidKey: no key that passes leaves the root that it is joined to, or names the root itself.
func FuzzValidKey(f *testing.F) {
	for _, key := range []string{"a/b", "../a", "a/../../b", "/a", ".", "a//b", "a/..b"} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if contract.ValidKey(key) != nil {
			return
		}
		if joined := path.Join("/store", key); joined != "/store/"+key || path.Clean(key) != key {
			t.Errorf("%q becomes %q", key, joined)
		}
	})
}

// What samples are stored under must never change: a run that goes on after an upgrade would make them all again.
func TestKeysNeverChange(t *testing.T) {
	base := contract.Sampling{Model: contract.Model{Name: "m", Digest: "sha256:aa"}, NumericsRevision: "1", Steps: 12}
	adapted := base
	adapted.Adapter = &contract.Artifact{Key: "runs/x/adapter", Digest: "sha256:bb"}
	onDevice := base
	onDevice.Device = "NVIDIA H100 80GB HBM3"
	detector := contract.Detector{Name: "d", Digest: "sha256:cc", Revision: "2"}
	tests := []struct {
		name, got, want string
	}{
		{"sample of the base model", contract.SampleKey(base, "a cat left of a box", 7), "92ca7d934a4c0496fc2e27534311ea3c27b53e6c06ca39cb055e3dcad3da0dd3"},
		{"sample of an adapter", contract.SampleKey(adapted, "a cat left of a box", 7), "809d90104c891d89fea91223a0b020ec6fd594ba83baa932af42e0be371c04dd"},
		{"sample of a GPU model", contract.SampleKey(onDevice, "a cat left of a box", 7), "00fa47e4035e79c16a6eec9d63a1e288ab173bdb48b9872197de1384c2f387ed"},
		{"tracks", contract.TrackKey("sha256:dd", detector, "cat", "box"), "13d918fe559eb8a85d6b3fb623e570b151958650713f0e07bc986b7f4447de14"},
		{"training seed", fmt.Sprint(contract.Seed(contract.SeedRule{Seed: 1, Iteration: 2, Round: 0}, "p-1", 3)), "4786754682627392752"},
		{"evaluation seed", fmt.Sprint(contract.Seed(contract.SeedRule{}, "p-1", 0)), "7617673770402349389"},
		{"hash of nothing", fmt.Sprint(contract.Hash64()), "16406829232824261652"},
		{"sidecar", contract.SidecarKey("abcdef"), "samples/ab/abcdef/sample.json"},
		{"sidecar of a short id", contract.SidecarKey("a"), "samples/a/a/sample.json"},
		{"file of a sample", contract.SampleFileKey("abcdef", "pod-1", "video.gif"), "samples/ab/abcdef/pod-1/video.gif"},
		{"file of tracks", contract.TrackFileKey("abcdef"), "tracks/ab/abcdef.json"},
		{"part of a track shard", contract.TrackPart(3), "tracks/part-3.jsonl"},
		{"digest of nothing", contract.Digest(nil), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.got != tt.want {
				t.Errorf("is %s, want %s", tt.got, tt.want)
			}
		})
	}
}

// Everything that a sample's content depends on enters its key; what it is called does not.
func TestSampleKeySeparates(t *testing.T) {
	base := contract.Sampling{
		Model: contract.Model{Name: "m", Digest: "sha256:aa"}, NumericsRevision: "1", Steps: 12,
		Adapter: &contract.Artifact{Key: "a", Digest: "sha256:bb"},
	}
	key := contract.SampleKey(base, "p", 7)
	edits := map[string]struct {
		edit func(*contract.Sampling)
		same bool
	}{
		"model digest":      {func(s *contract.Sampling) { s.Model.Digest = "sha256:ab" }, false},
		"numerics revision": {func(s *contract.Sampling) { s.NumericsRevision = "2" }, false},
		"steps":             {func(s *contract.Sampling) { s.Steps = 13 }, false},
		"adapter digest":    {func(s *contract.Sampling) { s.Adapter = &contract.Artifact{Key: "a", Digest: "sha256:bc"} }, false},
		"no adapter":        {func(s *contract.Sampling) { s.Adapter = nil }, false},
		"GPU model":         {func(s *contract.Sampling) { s.Device = "A100" }, false},
		"adapter key":       {func(s *contract.Sampling) { s.Adapter = &contract.Artifact{Key: "b", Digest: "sha256:bb"} }, true},
		"model name":        {func(s *contract.Sampling) { s.Model.Name = "n" }, true},
	}
	for name, e := range edits {
		t.Run(name, func(t *testing.T) {
			s := base
			e.edit(&s)
			if got := contract.SampleKey(s, "p", 7); (got == key) != e.same {
				t.Errorf("the key stays the same: %v, want %v", got == key, e.same)
			}
		})
	}
	if contract.SampleKey(base, "q", 7) == key || contract.SampleKey(base, "p", 8) == key {
		t.Error("prompt or seed does not enter the key")
	}
}

// Parts are separated by length: moving a character from one to the next is another hash.
func TestHash64SeparatesItsParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.SliceOfN(rapid.StringN(0, 4, 8), 0, 4).Draw(t, "a")
		b := rapid.SliceOfN(rapid.StringN(0, 4, 8), 0, 4).Draw(t, "b")
		same := len(a) == len(b)
		for i := range a {
			same = same && a[i] == b[i]
		}
		if (contract.Hash64(a...) == contract.Hash64(b...)) != same {
			t.Fatalf("%q and %q", a, b)
		}
	})
}

// Every item belongs to exactly one shard, and the shards differ by one item at most.
func TestShard(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		items, shards := rapid.IntRange(0, 500).Draw(t, "items"), rapid.IntRange(1, 32).Draw(t, "shards")
		sizes := make([]int, shards)
		for i := range items {
			sizes[contract.Shard(i, shards)]++
		}
		for _, n := range sizes {
			if n < items/shards || n > (items+shards-1)/shards {
				t.Fatalf("%d items over %d shards: %v", items, shards, sizes)
			}
		}
	})
}
