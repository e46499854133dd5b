//go:build wan

package wan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/prompts"
	"github.com/spatialalign/operator/internal/records"
	"github.com/spatialalign/operator/worker/synthetic/base"
	"github.com/spatialalign/operator/worker/synthetic/detect"
	"github.com/spatialalign/operator/worker/synthetic/model"
	"github.com/spatialalign/operator/worker/synthetic/scene"
	"github.com/spatialalign/operator/worker/synthetic/video"
)

// TestSyntheticVideos: the colour-blob detector finds in the synthetic runtime's videos what that runtime's own finds.
func TestSyntheticVideos(t *testing.T) {
	python := os.Getenv(envPython)
	if python == "" {
		t.Fatalf("%s is not set: run this by `make test-worker`", envPython)
	}
	dir := t.TempDir()
	lines, err := prompts.Generate(contract.Generate{Count: 30, Seed: 7, Split: prompts.SplitTrain})
	if err != nil {
		t.Fatal(err)
	}
	m, err := base.Load()
	if err != nil {
		t.Fatal(err)
	}
	var index []contract.IndexLine
	want := map[string]contract.TrackLine{}
	for i, line := range lines {
		text, err := m.Encode(line.Subject, line.Object, line.Type)
		if err != nil {
			t.Fatal(err)
		}
		latent := m.Generate(nil, []model.Request{{Text: text, Seed: uint64(i)}}, 12)[0]
		data, err := video.Encode(scene.Render(scene.Decode(latent), scene.OwnSize))
		if err != nil {
			t.Fatal(err)
		}
		id := fmt.Sprintf("sample-%02d", i)
		key := "in/" + id + ".gif"
		put(t, dir, key, data)
		index = append(index, contract.IndexLine{SampleID: id, PromptID: line.PromptID, Seed: uint64(i), Video: &contract.Artifact{Key: key}})
		frames, err := video.Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		subject, _ := scene.Find(scene.Subjects, line.Subject)
		object, _ := scene.Find(scene.Objects, line.Object)
		found := detect.Track(frames, subject.Color, object.Color)
		size := frames[0].Bounds()
		track := contract.TrackLine{
			SampleID: id, PromptID: line.PromptID, Seed: uint64(i), Width: size.Dx(), Height: size.Dy(), FrameCount: len(frames),
			Status: contract.StatusTracked, Frames: found.Frames,
		}
		if found.Reason != "" { // the worker follows no sample that is INVALID
			track.Status, track.Reason, track.Frames = contract.StatusInvalid, found.Reason, []contract.TrackFrame{}
		}
		want[id] = track
	}
	got := trackByPython(t, python, dir, lines, index)
	tracked := 0
	for id, line := range want {
		own := got[id]
		if own.Counts == nil || own.Counts.Unseen > 0 && own.Status == contract.StatusTracked {
			t.Errorf("%s: counts %+v of a sample that is %s", id, own.Counts, own.Status)
		}
		own.Counts = nil // the synthetic runtime tells none
		if diff := cmp.Diff(line, own); diff != "" {
			t.Errorf("%s (-Go +Python):\n%s", id, diff)
		}
		if line.Status == contract.StatusTracked {
			tracked++
		}
	}
	if tracked < len(lines)/2 {
		t.Errorf("only %d of %d videos are tracked at all", tracked, len(lines))
	}
}

// trackByPython runs the stage track of the worker as a process and reads its part file.
func trackByPython(t *testing.T, python, dir string, lines []contract.PromptLine, index []contract.IndexLine) map[string]contract.TrackLine {
	t.Helper()
	var promptLines, indexLines bytes.Buffer
	for _, line := range lines {
		_ = json.NewEncoder(&promptLines).Encode(line)
	}
	for _, line := range index {
		_ = json.NewEncoder(&indexLines).Encode(line)
	}
	put(t, dir, "in/prompts.jsonl", promptLines.Bytes())
	put(t, dir, "in/index.jsonl", indexLines.Bytes())
	t.Setenv("WAN_DETECTOR", "colour-blobs")
	var about struct{ Detector contract.Detector }
	if err := json.Unmarshal(run(t, python, "-c", "import json; from spatialalign_wan.tracking.blobs import ColourBlobs; print(json.dumps({'detector': vars(ColourBlobs().identity)}))"), &about); err != nil {
		t.Fatal(err)
	}
	spec := contract.Spec{ContractVersion: contract.Version, Stage: contract.Track, Output: "out", Track: &contract.TrackSpec{
		Prompts: contract.Artifact{Key: "in/prompts.jsonl"}, Index: contract.Artifact{Key: "in/index.jsonl"}, Detector: about.Detector,
	}}
	data, digest := spec.Encode()
	put(t, dir, "spec.json", data)
	cmd := exec.CommandContext(t.Context(), python, "-m", "spatialalign_wan", "track", contract.FlagSpec, filepath.Join(dir, "spec.json"), contract.FlagSpecDigest, digest)
	cmd.Env = append(os.Environ(), contract.EnvStore+"=file://"+dir, contract.EnvPodUID+"=uid-1", "SPATIALALIGN_PROGRESS_ADDRESS=127.0.0.1:0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	part, err := os.Open(filepath.Join(dir, "out/0-uid-1/0", contract.TrackPart(0)))
	if err != nil {
		t.Fatal(err)
	}
	defer part.Close()
	found := map[string]contract.TrackLine{}
	err = records.ReadTracks(part, "part", func(line *contract.TrackLine) error {
		kept := *line
		kept.Frames = append([]contract.TrackFrame{}, line.Frames...)
		for i, frame := range kept.Frames { // their memory is reused
			kept.Frames[i] = contract.TrackFrame{Index: frame.Index, Subject: boxOf(frame.Subject), Object: boxOf(frame.Object)}
		}
		found[line.SampleID] = kept
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func boxOf(b *contract.Box) *contract.Box {
	if b == nil {
		return nil
	}
	kept := *b
	return &kept
}

func put(t *testing.T, dir, key string, data []byte) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(key))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
