package export

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
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
	var sent bytes.Buffer
	if err := answer(&sent); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if paths, err := Unpack(sent.Bytes(), q, dir); err != nil || len(paths) != 2 {
		t.Errorf("%q, %v", paths, err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "adapter.safetensors")); err != nil || string(data) != "weights" {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := store.Write(t.Context(), "runs/uid/adapter.safetensors", strings.NewReader("changed")); err != nil {
		t.Fatal(err)
	}
	if err := answer(&sent); !artifact.IsCorrupt(err) {
		t.Errorf("a damaged adapter: %v", err)
	}
	if err := store.Delete(t.Context(), "runs/uid/adapter.safetensors"); err != nil {
		t.Fatal(err)
	}
	if _, err := Answer(t.Context(), store, question, t.Logf); !artifact.IsMissing(err) {
		t.Errorf("an adapter that is not there: %v", err)
	}
	if _, err := Answer(t.Context(), store, []byte(`{"files":[],"more":1}`), t.Logf); err == nil {
		t.Error("took an unknown field")
	}
}

// TestAnswerStreams: what a pod answers may be larger than its memory.
func TestAnswerStreams(t *testing.T) {
	store, err := artifact.Open(t.Context(), "file://"+t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	const size = 64 << 20
	written, err := store.Write(t.Context(), "runs/uid/pairs.jsonl", io.LimitReader(zeros{}, size))
	if err != nil {
		t.Fatal(err)
	}
	question, err := json.Marshal(Question{Files: []File{{Name: "pairs.jsonl", Artifact: contract.Artifact{Key: written.Key, Digest: written.Digest}}}})
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	answer, err := Answer(t.Context(), store, question, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	var sent counter
	if err := answer(&sent); err != nil || sent < size {
		t.Errorf("%d bytes, %v", sent, err)
	}
	runtime.ReadMemStats(&after)
	if taken := after.TotalAlloc - before.TotalAlloc; taken > size/8 {
		t.Errorf("%d bytes of memory were taken to send %d", taken, size)
	}
}

// TestAnswerIsBounded: too much is refused before anything is sent.
func TestAnswerIsBounded(t *testing.T) {
	dir := t.TempDir()
	store, err := artifact.Open(t.Context(), "file://"+dir)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var q Question
	for _, name := range []string{"adapter.safetensors", "pairs.jsonl"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, maxBytes/2+1)); err != nil { // a hole
			t.Fatal(err)
		}
		q.Files = append(q.Files, File{Name: name, Artifact: contract.Artifact{Key: name, Digest: contract.Digest(nil)}})
	}
	question, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Answer(t.Context(), store, question, t.Logf); err == nil || !strings.Contains(err.Error(), "pairs.jsonl: all files together have more than 512 MiB") {
		t.Errorf("more than may be sent: %v", err)
	}
}

// zeros are read without end.
type zeros struct{}

// Read implements io.Reader.
func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// counter counts what is written.
type counter int

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
