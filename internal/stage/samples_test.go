package stage_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/stage"
)

var line = contract.IndexLine{SampleID: contract.SampleKey(sampling, "a cat", 7), PromptID: "p1", Seed: 7}

// sampleOf stores a pod's files of the sample and gives their sidecar.
func sampleOf(t testing.TB, s *artifact.Store, podUID string, latent bool) *contract.Sidecar {
	t.Helper()
	write := func(name string) contract.File {
		f, err := s.Write(t.Context(), contract.SampleFileKey(line.SampleID, podUID, name), strings.NewReader(name+" of "+podUID))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	sidecar := &contract.Sidecar{
		SampleID: line.SampleID, PromptID: line.PromptID, Seed: line.Seed, Sampling: sampling,
		Video: write("video.gif"), Width: 64, Height: 48, FrameCount: 24,
	}
	if latent {
		f := write("latent.safetensors")
		sidecar.Latent = &f
	}
	return sidecar
}

func TestResolveSample(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := stage.ResolveSample(t.Context(), s, line); !artifact.IsMissing(err) {
		t.Errorf("before it is made: %v", err)
	}
	made := sampleOf(t, s, "uid-a", true)
	if _, err := stage.CommitSample(t.Context(), s, made); err != nil {
		t.Fatal(err)
	}
	got, err := stage.ResolveSample(t.Context(), s, line)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(made, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	video, err := stage.ResolveVideo(t.Context(), s, line)
	if want := (contract.Artifact{Key: made.Video.Key, Digest: made.Video.Digest}); err != nil || video != want {
		t.Errorf("ResolveVideo = %v, %v; want %v", video, err, want)
	}
	brought := line
	brought.Video = &contract.Artifact{Key: "mine.mp4"}
	if video, err := stage.ResolveVideo(t.Context(), s, brought); err != nil || video != *brought.Video {
		t.Errorf("ResolveVideo of a user's video = %v, %v", video, err)
	}
}

// TestDamagedSample: a sample that is not whole is corrupt, so that it is made again.
func TestDamagedSample(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, dir string, s *contract.Sidecar){
		"another seed":         func(_ *testing.T, _ string, s *contract.Sidecar) { s.Seed++ },
		"another prompt":       func(_ *testing.T, _ string, s *contract.Sidecar) { s.PromptID = "p2" },
		"another sample":       func(_ *testing.T, _ string, s *contract.Sidecar) { s.SampleID = "0" },
		"no frames":            func(_ *testing.T, _ string, s *contract.Sidecar) { s.FrameCount = 0 },
		"a key outside":        func(_ *testing.T, _ string, s *contract.Sidecar) { s.Video.Key = "../video" },
		"no digest":            func(_ *testing.T, _ string, s *contract.Sidecar) { s.Latent.Digest = "" },
		"the video is cut":     func(t *testing.T, dir string, s *contract.Sidecar) { truncate(t, filepath.Join(dir, s.Video.Key)) },
		"the latent is cut":    func(t *testing.T, dir string, s *contract.Sidecar) { truncate(t, filepath.Join(dir, s.Latent.Key)) },
		"the video is missing": func(_ *testing.T, _ string, s *contract.Sidecar) { s.Video.Key = "nowhere" },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			sidecar := sampleOf(t, s, "uid-a", true)
			damage(t, dir, sidecar)
			data, err := json.Marshal(sidecar)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.WriteIfAbsent(t.Context(), contract.SidecarKey(line.SampleID), data); err != nil {
				t.Fatal(err)
			}
			if _, err := stage.ResolveSample(t.Context(), s, line); !artifact.IsCorrupt(err) {
				t.Errorf("resolving: %v", err)
			}
			again := sampleOf(t, s, "uid-b", true)
			if _, err := stage.CommitSample(t.Context(), s, again); err != nil {
				t.Fatal(err)
			}
			if got, err := stage.ResolveSample(t.Context(), s, line); err != nil || got.Video != again.Video {
				t.Errorf("made again: %v, %v", got, err)
			}
		})
	}
	t.Run("a sidecar cut at any byte", func(t *testing.T) {
		dir := t.TempDir()
		s := open(t, dir)
		if _, err := stage.CommitSample(t.Context(), s, sampleOf(t, s, "uid-a", true)); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, contract.SidecarKey(line.SampleID))
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for n := range whole {
			if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := stage.ResolveSample(t.Context(), s, line); !artifact.IsCorrupt(err) {
				t.Errorf("cut after %d bytes: %v", n, err)
			}
		}
	})
}

// TestCommitSample: of several pods that made the same sample one wins, and all are told which.
func TestCommitSample(t *testing.T) {
	s := open(t, t.TempDir())
	const pods = 8
	results := make([]*contract.Sidecar, pods)
	var group sync.WaitGroup
	for i := range pods {
		sidecar := sampleOf(t, s, "uid-"+string(rune('a'+i)), false)
		group.Go(func() {
			var err error
			if results[i], err = stage.CommitSample(t.Context(), s, sidecar); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for _, got := range results[1:] {
		if diff := cmp.Diff(results[0], got); diff != "" {
			t.Fatalf("two pods have different winners:\n%s", diff)
		}
	}
	late := sampleOf(t, s, "uid-late", false)
	if got, err := stage.CommitSample(t.Context(), s, late); err != nil || got.Video != results[0].Video {
		t.Errorf("a late pod gets %v, %v; want the winner's", got, err)
	}
	withLatent := sampleOf(t, s, "uid-latent", true)
	if got, err := stage.CommitSample(t.Context(), s, withLatent); err != nil || got.Latent == nil {
		t.Errorf("a pod that kept the latent, where the winner did not, gets %v, %v", got, err)
	}
}

func truncate(t *testing.T, path string) {
	t.Helper()
	if err := os.Truncate(path, 3); err != nil {
		t.Fatal(err)
	}
}

// FuzzReadSidecar: whatever lies where a sidecar should be, it is read without a panic; what is refused is corrupt, so that the
// sample is made again, and what is accepted is of the sample, names files within the store, and means the same when written again.
func FuzzReadSidecar(f *testing.F) {
	dir := f.TempDir()
	store := open(f, dir)
	for _, latent := range []bool{true, false} {
		data, err := json.Marshal(sampleOf(f, store, "uid", latent))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(data[:len(data)/2])
		f.Add(bytes.Replace(data, []byte(`"width":64`), []byte(`"width":64,"width":65,"more":1e400`), 1))
	}
	for _, hostile := range []string{"", "null", "[]", `{"latent":{},"video":null}`, `{"seed":-1}`, `{"width":1e3}`, strings.Repeat(`{"sampling":`, 40)} {
		f.Add([]byte(hostile))
	}
	path := filepath.Join(dir, contract.SidecarKey(line.SampleID))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		write := func(data []byte) { // not by the store, which waits for the disk
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(data)
		sidecar, err := stage.ReadSidecar(t.Context(), store, line.SampleID)
		if err != nil {
			if !artifact.IsCorrupt(err) {
				t.Errorf("%q: %v", data, err)
			}
			return
		}
		files := []contract.File{sidecar.Video}
		if sidecar.Latent != nil {
			files = append(files, *sidecar.Latent)
		}
		for _, file := range files {
			if contract.ValidKey(file.Key) != nil || !artifact.ValidDigest(file.Digest) || file.Size < 0 {
				t.Errorf("%q names the file %+v", data, file)
			}
		}
		again, err := json.Marshal(sidecar)
		if err != nil {
			t.Fatal(err)
		}
		write(again)
		if got, err := stage.ReadSidecar(t.Context(), store, line.SampleID); sidecar.SampleID != line.SampleID || !cmp.Equal(got, sidecar, cmpopts.EquateEmpty()) {
			t.Errorf("accepted %q as %+v, and again as %+v, %v", data, sidecar, got, err)
		}
	})
}
