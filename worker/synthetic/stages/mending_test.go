package stages_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/stage"
)

// remove a file from the store, as a failing disk might.
func (w *world) remove(key string) {
	w.Helper()
	if err := os.Remove(filepath.Join(w.dir, filepath.FromSlash(key))); err != nil {
		w.Fatal(err)
	}
}

// Whatever happens to a stored sample, sampling again makes it again, once, with the same bits; until then
// tracking says which sample is lost, where videos are required.
func TestADamagedSampleIsMended(t *testing.T) {
	flip := func(w *world, f contract.File) {
		data := w.read(contract.Artifact{Key: f.Key, Digest: f.Digest})
		data[len(data)/2] ^= 1
		w.write(f.Key, data)
	}
	for _, c := range []struct {
		name   string
		damage func(w *world, s *contract.Sidecar)
		// tracked: nothing that tracking needs is damaged.
		tracked bool
		// otherwise: what tracking ends with when videos are not required.
		otherwise contract.ExitCode
	}{
		{"its video is lost", func(w *world, s *contract.Sidecar) { w.remove(s.Video.Key) }, false, contract.ExitBadInput},
		{"its video is cut", func(w *world, s *contract.Sidecar) { w.write(s.Video.Key, []byte("GIF89a")) }, false, contract.ExitBadInput},
		{"its video is changed", func(w *world, s *contract.Sidecar) { flip(w, s.Video) }, false, contract.ExitBadInput},
		{"its latent is lost", func(w *world, s *contract.Sidecar) { w.remove(s.Latent.Key) }, false, contract.ExitBadInput},
		{"its latent is changed", func(w *world, s *contract.Sidecar) { flip(w, *s.Latent) }, true, contract.ExitDone},
		{"its sidecar is lost", func(w *world, s *contract.Sidecar) { w.remove(contract.SidecarKey(s.SampleID)) }, false, contract.ExitDone},
		{"its sidecar is cut", func(w *world, s *contract.Sidecar) { w.write(contract.SidecarKey(s.SampleID), []byte(`{"sampleID":"`)) }, false, contract.ExitBadInput},
		{"its sidecar is another's", func(w *world, s *contract.Sidecar) {
			other := w.index(w.sampling())[1]
			w.write(contract.SidecarKey(s.SampleID), w.read(contract.Artifact{Key: contract.SidecarKey(other.SampleID)}))
		}, false, contract.ExitBadInput},
		{"its sidecar tells of other sampling", func(w *world, s *contract.Sidecar) {
			data := w.read(contract.Artifact{Key: contract.SidecarKey(s.SampleID)})
			w.write(contract.SidecarKey(s.SampleID), bytes.Replace(data, []byte(`"steps":12`), []byte(`"steps":11`), 1))
		}, true, contract.ExitDone},
		{"all of it is lost", func(w *world, s *contract.Sidecar) {
			w.remove(s.Video.Key)
			w.remove(s.Latent.Key)
			w.remove(contract.SidecarKey(s.SampleID))
		}, false, contract.ExitDone},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			lines := w.index(w.sampling())
			index := writeLines(w, "index.jsonl", lines)
			spec := w.sampleSpec(index)
			w.run(spec, call{})
			before := w.sidecar(lines[0])
			c.damage(w, before)

			lenient, strict := w.trackSpec(index), w.trackSpec(index)
			strict.Track.RequireVideos = true
			lenient.Output, strict.Output = "run/lenient", "run/strict"
			if c.tracked {
				w.run(strict, call{})
			} else {
				w.run(strict, call{wantCode: contract.ExitBadInput, wantMessage: "sample " + before.SampleID + ": its sidecar or video is missing or damaged"})
			}
			w.run(lenient, call{wantCode: c.otherwise})

			spec.Output = "run/mending"
			w.run(spec, call{pod: "pod-mending", wantCounts: map[string]int64{"generated": 1, "reused": 11}})
			after, err := stage.ResolveSample(t.Context(), w.store, lines[0])
			if err != nil {
				t.Fatal(err)
			}
			if after.Video.Digest != before.Video.Digest || after.Latent.Digest != before.Latent.Digest {
				t.Error("the sample has other bits than before")
			}
			for _, file := range []contract.File{after.Video, *after.Latent} {
				if err := w.store.Verify(t.Context(), file); err != nil {
					t.Error(err)
				}
			}
			spec.Output, strict.Output = "run/afterwards", "run/tracked"
			w.run(spec, call{wantCounts: map[string]int64{"generated": 0, "reused": 12}})
			w.run(strict, call{wantCounts: map[string]int64{"total": 12}})
		})
	}
}

// A user's own index may name samples that nobody made; videos that were made for the index are required.
func TestRequiredVideosAreNeverInvalidForWantOfThem(t *testing.T) {
	w := newWorld(t)
	absent := contract.IndexLine{SampleID: strings.Repeat("f", 64), PromptID: w.prompts[0].PromptID, Seed: 1}
	spec := w.trackSpec(writeLines(w, "index.jsonl", []contract.IndexLine{absent}))
	w.run(spec, call{wantCounts: map[string]int64{"total": 1, "tracked": 0, "invalid": 1}})
	spec.Track.RequireVideos = true
	w.run(spec, call{wantCode: contract.ExitBadInput, wantMessage: absent.SampleID})
	spec.Track.Index = writeLines(w, "brought.jsonl", []contract.IndexLine{
		{SampleID: "mine", PromptID: absent.PromptID, Video: &contract.Artifact{Key: "mine/nowhere.gif"}},
	})
	w.run(spec, call{wantCode: contract.ExitBadInput, wantMessage: "sample mine"})
}

// Kept tracks that are not what was kept, for this video and these words, are found anew and replaced.
func TestDamagedTracksAreFoundAnew(t *testing.T) {
	w := newWorld(t)
	lines := w.index(w.sampling())
	index := writeLines(w, "index.jsonl", lines)
	w.run(w.sampleSpec(index), call{})
	want := w.tracksOf(w.run(w.trackSpec(index), call{}))
	key := func(line contract.IndexLine) string {
		return contract.TrackFileKey(contract.TrackKey(w.sidecar(line).Video.Digest, w.info.Detector, w.subject(line), w.object(line)))
	}
	good, other := w.read(contract.Artifact{Key: key(lines[0])}), w.read(contract.Artifact{Key: key(lines[1])})
	for name, damaged := range map[string][]byte{
		"empty":                 nil,
		"truncated":             good[:len(good)/2],
		"not JSON":              []byte("\x00\x01"),
		"another box":           bytes.Replace(good, []byte(`"index":3,`), []byte(`"index":4,`), 1),
		"another video":         other,
		"something behind it":   append(bytes.Clone(good), good...),
		"an unknown field":      bytes.Replace(good, []byte(`{"trackKey"`), []byte(`{"magic":1,"trackKey"`), 1),
		"a bare track line":     []byte(`{"sampleID":"","promptID":"","seed":0,"width":64,"height":48,"frameCount":24,"status":"Tracked","reason":"","frames":[]}`),
		"more than ever needed": bytes.Repeat([]byte(" "), 5<<20),
	} {
		t.Run(name, func(t *testing.T) {
			sub := *w
			sub.T = t
			if bytes.Equal(damaged, good) {
				t.Fatal("nothing is damaged")
			}
			sub.write(key(lines[0]), damaged)
			spec := sub.trackSpec(index)
			spec.Output = "run/" + strings.ReplaceAll(name, " ", "-")
			got := sub.tracksOf(sub.run(spec, call{wantCounts: map[string]int64{"reused": 11}}))
			if len(got) != len(want) || got[0].SampleID != want[0].SampleID || len(got[0].Frames) != len(want[0].Frames) {
				t.Errorf("tracks are %+v, were %+v", got[0], want[0])
			}
			if now := sub.read(contract.Artifact{Key: key(lines[0])}); !bytes.Equal(now, good) {
				t.Errorf("what is kept is now %q", now)
			}
		})
	}
}
