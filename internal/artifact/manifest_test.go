package artifact_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/contract"
)

const output = "runs/r1/1/train"

var specDigest = contract.Digest([]byte("spec"))

// manifestOf stores a file and gives a manifest that vouches for it.
func manifestOf(t *testing.T, s *artifact.Store, attempt int, podUID string) *contract.Manifest {
	t.Helper()
	f := write(t, s, artifact.ManifestDir(output, attempt, podUID, 0)+"/adapter.safetensors", "weights of "+podUID)
	return &contract.Manifest{
		ContractVersion: contract.Version, Stage: contract.Train, SpecDigest: specDigest,
		Attempt: attempt, PodUID: podUID, Shard: 0, Shards: 1,
		Inputs:  map[string]string{"pairs.jsonl": contract.Digest([]byte("pairs"))},
		Outputs: map[string]contract.Artifact{"adapter": {Key: f.Key, Digest: f.Digest}},
		Counts:  map[string]int64{"steps": 120},
		Metrics: map[string]string{"loss": "0.61"},
		Files:   []contract.File{f},
	}
}

func commit(t *testing.T, s *artifact.Store, m *contract.Manifest) contract.Artifact {
	t.Helper()
	a, err := s.CommitManifest(t.Context(), output, m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// wanted is the work that attempt 3 has to do.
func wanted() contract.Manifest {
	return contract.Manifest{Stage: contract.Train, SpecDigest: specDigest, Attempt: 3, PodUID: "me", Shard: 0, Shards: 1}
}

func find(t *testing.T, s *artifact.Store) (*artifact.Done, []string) {
	t.Helper()
	var rejected []string
	done, err := s.FindManifest(t.Context(), output, wanted(), func(key string, err error) { rejected = append(rejected, fmt.Sprint(key, ": ", err)) })
	if err != nil {
		t.Fatal(err)
	}
	return done, rejected
}

func findsManifest(t *testing.T, s *artifact.Store) {
	m := manifestOf(t, s, 1, "uid-a")
	a := commit(t, s, m)
	read, err := s.ReadManifest(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, read); diff != "" {
		t.Errorf("ReadManifest (-want +got):\n%s", diff)
	}
	done, _ := find(t, s)
	if done == nil || done.Artifact != a {
		t.Fatalf("found %+v, want %v", done, a)
	}
	for _, damage := range []struct{ name, key string }{
		{"the file it vouches for", m.Files[0].Key},
		{"the manifest", a.Key},
		{"the checksum", a.Key + ".sha256"},
	} {
		original, err := s.ReadVerified(t.Context(), contract.Artifact{Key: damage.key}, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		write(t, s, damage.key, string(original[:len(original)-1]))
		if done, rejected := find(t, s); done != nil || len(rejected) != 1 {
			t.Errorf("%s is truncated: found %v, rejected %q", damage.name, done, rejected)
		}
		write(t, s, damage.key, string(original))
	}
	if done, _ := find(t, s); done == nil {
		t.Error("it is intact again and not found")
	}
}

func foreignManifests(t *testing.T, s *artifact.Store) {
	for name, change := range map[string]func(m *contract.Manifest){
		"another spec":    func(m *contract.Manifest) { m.SpecDigest = contract.Digest([]byte("other")) },
		"another stage":   func(m *contract.Manifest) { m.Stage = contract.Pair },
		"other sharding":  func(m *contract.Manifest) { m.Shards = 2 },
		"another shard":   func(m *contract.Manifest) { m.Shard, m.Shards = 1, 2 },
		"a later attempt": func(m *contract.Manifest) { m.Attempt = 4 },
	} {
		m := manifestOf(t, s, 1, "uid-"+strings.ReplaceAll(name, " ", "-"))
		change(m)
		commit(t, s, m)
		if done, _ := find(t, s); done != nil {
			t.Errorf("adopted a manifest of %s", name)
		}
	}
	// A whole manifest that was moved to the place of another pod or attempt.
	a := commit(t, s, manifestOf(t, s, 5, "uid-late"))
	for _, place := range []string{"2-uid-late", "5-uid-other", "1-uid-other"} {
		for _, name := range []string{"manifest.json", "manifest.json.sha256"} {
			data, err := s.ReadVerified(t.Context(), contract.Artifact{Key: strings.Replace(a.Key, "manifest.json", name, 1)}, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			write(t, s, output+"/"+place+"/0/"+name, string(data))
		}
		if done, _ := find(t, s); done != nil {
			t.Errorf("adopted a manifest that was moved to %s", place)
		}
	}
}

func newestAttempt(t *testing.T, s *artifact.Store) {
	commit(t, s, manifestOf(t, s, 0, "uid-a"))
	newest := commit(t, s, manifestOf(t, s, 2, "uid-b"))
	commit(t, s, manifestOf(t, s, 1, "uid-c"))
	write(t, s, output+"/01-uid-d/0/manifest.json", "{}") // not how an attempt is written
	write(t, s, output+"/notes.txt", "hello")
	if done, rejected := find(t, s); done == nil || done.Artifact != newest || len(rejected) != 0 {
		t.Errorf("found %+v, rejected %q; want %v", done, rejected, newest)
	}
}

// TestManifestTampering: a manifest truncated at any byte, or with any bit flipped, is rejected, both
// when its digest is known and when another attempt comes across it.
func TestManifestTampering(t *testing.T) {
	dir := t.TempDir()
	s := open(t, "file://"+dir)
	a := commit(t, s, manifestOf(t, s, 1, "uid-a"))
	path := filepath.Join(dir, filepath.FromSlash(a.Key))
	original, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	place := func(data []byte) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	byDigest := func(what string) {
		t.Helper()
		if _, err := s.ReadManifest(t.Context(), a); !artifact.IsCorrupt(err) {
			t.Errorf("%s: read by digest: %v", what, err)
		}
	}
	byChance := func(what string) {
		t.Helper()
		if done, _ := find(t, s); done != nil {
			t.Errorf("%s: adopted", what)
		}
	}
	for n := range original {
		what := fmt.Sprintf("cut after %d bytes", n)
		place(original[:n])
		byDigest(what)
		byChance(what)
		for bit := range 8 {
			flipped := slices.Clone(original)
			flipped[n] ^= 1 << bit
			what := fmt.Sprintf("bit %d of byte %d flipped", bit, n)
			place(flipped)
			byDigest(what)
			if bit == n%8 { // the search is slow, and looks at the digest in the same way
				byChance(what)
			}
		}
	}
	place(append(slices.Clone(original), ' '))
	byDigest("a byte more")
	byChance("a byte more")
}

// TestManifestRules: a manifest that breaks a rule is refused when written and, with a right digest,
// when read.
func TestManifestRules(t *testing.T) {
	s := open(t, "file://"+t.TempDir())
	good, err := json.Marshal(manifestOf(t, s, 1, "uid-a"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ edit, want string }{
		"another contract version":    {`"contractVersion":"v1"=>"contractVersion":"v2"`, "contractVersion"},
		"an unknown field":            {`"attempt":1=>"attempt":1,"approved":true`, "approved"},
		"a duplicate key":             {`"attempt":1=>"attempt":1,"attempt":2`, "duplicate"},
		"a key in another case":       {`"attempt":1=>"Attempt":1`, "Attempt"},
		"a number that is none":       {`"steps":120=>"steps":NaN`, "invalid"},
		"a GPU model that is none":    {`"metrics"=>"devices":{"best":["A100",""]},"metrics"`, "devices[best]"},
		"a metric that is none":       {`"0.61"=>"NaN"`, "metrics[loss]"},
		"a negative count":            {`"steps":120=>"steps":-1`, "counts[steps]"},
		"a negative size":             {`"size":16=>"size":-16`, "files[0]"},
		"a file outside the root":     {`{"key":"runs/r1/1/train/1-uid-a/0/adapter.safetensors","size"=>{"key":"../x","size"`, "files[0]"},
		"an output not in files":      {`"adapter":{"key":"runs=>"adapter":{"key":"elsewhere`, "outputs[adapter]"},
		"no spec digest":              {specDigest + `=>`, "specDigest"},
		"no pod":                      {`"podUID":"uid-a"=>"podUID":""`, "podUID"},
		"a shard beyond the last":     {`"shard":0=>"shard":1`, "shard"},
		"an attempt before the first": {`"attempt":1=>"attempt":-1`, "attempt"},
		"a second document":           {`]}=>]}{}`, "after top-level"},
		"deep nesting":                {`"attempt":1=>"attempt":` + strings.Repeat("[", 100) + strings.Repeat("]", 100), "nested deeper"},
	} {
		t.Run(name, func(t *testing.T) {
			before, after, _ := strings.Cut(c.edit, "=>")
			i := strings.LastIndex(string(good), before)
			if i < 0 {
				t.Fatalf("%s is not in %s", before, good)
			}
			bad := string(good[:i]) + after + string(good[i+len(before):])
			f := write(t, s, "manifest.json", bad)
			_, err := s.ReadManifest(t.Context(), contract.Artifact{Key: f.Key, Digest: f.Digest})
			if !artifact.IsCorrupt(err) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want one about %s", err, c.want)
			}
		})
	}
	t.Run("no digest", func(t *testing.T) {
		if _, err := s.ReadManifest(t.Context(), contract.Artifact{Key: "manifest.json"}); !artifact.IsCorrupt(err) {
			t.Error(err)
		}
	})
	t.Run("too many files", func(t *testing.T) {
		m := manifestOf(t, s, 1, "uid-a")
		for i := range artifact.MaxManifestFiles {
			m.Files = append(m.Files, contract.File{Key: fmt.Sprint("f", i), Digest: specDigest})
		}
		if _, err := s.CommitManifest(t.Context(), output, m); err == nil || !strings.Contains(err.Error(), "1001") {
			t.Error(err)
		}
	})
	t.Run("too many bytes", func(t *testing.T) {
		m := manifestOf(t, s, 1, "uid-a")
		m.Inputs[strings.Repeat("x", artifact.MaxManifest)] = ""
		if _, err := s.CommitManifest(t.Context(), output, m); err == nil || !strings.Contains(err.Error(), "bytes") {
			t.Error(err)
		}
	})
}

// TestManifestRoundTrip: every manifest that may be written is read back as it was.
func TestManifestRoundTrip(t *testing.T) {
	s := open(t, "file://"+t.TempDir())
	rapid.Check(t, func(rt *rapid.T) {
		m := manifestOf(t, s, rapid.IntRange(0, 9).Draw(rt, "attempt"), rapid.StringMatching(`[a-z0-9]([a-z0-9-]{0,20})`).Draw(rt, "podUID"))
		m.Counts = rapid.MapOf(rapid.String(), rapid.Int64Min(0)).Draw(rt, "counts")
		for name, value := range rapid.MapOf(rapid.String(), rapid.Float64()).Draw(rt, "metrics") {
			m.Metrics[name] = fmt.Sprint(value)
		}
		// JSON has no invalid UTF-8: such names come back as another string.
		maps.DeleteFunc(m.Counts, func(name string, _ int64) bool { return strings.ToValidUTF8(name, "") != name })
		maps.DeleteFunc(m.Metrics, func(name, value string) bool {
			return strings.ToValidUTF8(name, "") != name || strings.ContainsAny(value, "Nn")
		})
		a, err := s.CommitManifest(t.Context(), output, m)
		if err != nil {
			rt.Fatal(err)
		}
		read, err := s.ReadManifest(t.Context(), a)
		if err != nil {
			rt.Fatal(err)
		}
		if len(m.Counts) == 0 {
			m.Counts = nil
		}
		if diff := cmp.Diff(m, read); diff != "" {
			rt.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

// FuzzReadManifest: whatever bytes stand at a manifest's key, reading them never panics, and what is
// accepted can be written again.
func FuzzReadManifest(f *testing.F) {
	good, err := json.Marshal(&contract.Manifest{
		ContractVersion: contract.Version, Stage: contract.Train, SpecDigest: specDigest, PodUID: "u", Shards: 1,
		Outputs: map[string]contract.Artifact{"adapter": {Key: "a", Digest: specDigest}},
		Counts:  map[string]int64{"steps": 1}, Metrics: map[string]string{"loss": "1e-3"},
		Files: []contract.File{{Key: "a", Size: 1, Digest: specDigest}},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"a":[[[[{"b":"\"}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		s := open(t, "file://"+dir)
		file := write(t, s, "manifest.json", string(data))
		m, err := s.ReadManifest(t.Context(), contract.Artifact{Key: file.Key, Digest: file.Digest})
		if err != nil {
			return
		}
		if _, err := s.CommitManifest(t.Context(), "out", m); err != nil {
			t.Errorf("read %q and cannot write it again: %v", data, err)
		}
	})
}
