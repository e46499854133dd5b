package export

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/contract"
)

func file(name, data string) File {
	return File{Name: name, Artifact: contract.Artifact{Key: "runs/uid/" + name, Digest: contract.Digest([]byte(data))}}
}

// TestUnpackTrustsNothing: whatever a pod answers, only what was asked for is written, or nothing at all.
func TestUnpackTrustsNothing(t *testing.T) {
	q := Question{Files: []File{file("adapter.safetensors", "weights"), file("pairs.jsonl", "pairs")}}
	type entry struct{ name, data string }
	for name, entries := range map[string][]entry{
		"nothing":             {},
		"one is missing":      {{"adapter.safetensors", "weights"}},
		"other bytes":         {{"adapter.safetensors", "weights"}, {"pairs.jsonl", "other"}},
		"another name":        {{"adapter.safetensors", "weights"}, {"../pairs.jsonl", "pairs"}},
		"another order":       {{"pairs.jsonl", "pairs"}, {"adapter.safetensors", "weights"}},
		"more than asked for": {{"adapter.safetensors", "weights"}, {"pairs.jsonl", "pairs"}, {"more", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			var answer bytes.Buffer
			archive := tar.NewWriter(&answer)
			for _, e := range entries {
				if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: e.name, Size: int64(len(e.data))}); err != nil {
					t.Fatal(err)
				}
				if _, err := archive.Write([]byte(e.data)); err != nil {
					t.Fatal(err)
				}
			}
			if err := archive.Close(); err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(t.TempDir(), "made")
			if paths, err := Unpack(answer.Bytes(), q, dir); err == nil {
				t.Errorf("wrote %q", paths)
			}
			if _, err := os.Stat(dir); !os.IsNotExist(err) {
				t.Errorf("a folder was made: %v", err)
			}
		})
	}
	if _, err := Unpack([]byte("no archive"), q, t.TempDir()); err == nil {
		t.Error("took what is no archive")
	}
}

// TestAnswer gives what Unpack takes, and refuses what is damaged.
func TestAnswer(t *testing.T) {
	store, err := artifact.Open(t.Context(), "file://"+t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	q := Question{Files: []File{file("adapter.safetensors", "weights"), file("pairs.jsonl", "")}}
	for key, data := range map[string]string{"adapter.safetensors": "weights", "pairs.jsonl": ""} {
		if _, err := store.Write(t.Context(), "runs/uid/"+key, strings.NewReader(data)); err != nil {
			t.Fatal(err)
		}
	}
	question, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := Answer(t.Context(), store, question, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if paths, err := Unpack(answer, q, dir); err != nil || len(paths) != 2 {
		t.Errorf("%q, %v", paths, err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "adapter.safetensors")); err != nil || string(data) != "weights" {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := store.Write(t.Context(), "runs/uid/adapter.safetensors", strings.NewReader("changed")); err != nil {
		t.Fatal(err)
	}
	if _, err := Answer(t.Context(), store, question, t.Logf); !artifact.IsCorrupt(err) {
		t.Errorf("a damaged adapter: %v", err)
	}
	if _, err := Answer(t.Context(), store, []byte(`{"files":[],"more":1}`), t.Logf); err == nil {
		t.Error("took an unknown field")
	}
}
