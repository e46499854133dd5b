package retention

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/artifact/s3test"
	"github.com/spatialalign/operator/internal/artifact/storetest"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/stage"
)

// week is the minimum age, and later a time at which all that a test wrote is older.
const week = 7 * 24 * time.Hour

var (
	later    = time.Now().Add(2 * week)
	sampling = contract.Sampling{Model: contract.Model{Name: "m", Digest: contract.Digest([]byte("m"))}, NumericsRevision: "1", Steps: 4}
	detector = contract.Detector{Name: "d", Digest: contract.Digest([]byte("d")), Revision: "1"}
	prompt   = contract.PromptLine{PromptID: "a", Type: "LR", Subject: "cat", Object: "box", Prompt: "a cat left of a box, then right"}
)

// world is a store that stages have written to.
type world struct {
	testing.TB
	store *artifact.Store
}

func newWorld(t testing.TB, url string) *world {
	t.Helper()
	store, err := artifact.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return &world{t, store}
}

func (w *world) put(key, data string) contract.Artifact {
	w.Helper()
	return storetest.Put(w, w.store, key, data)
}

// sample stores a sample with its latent and the tracks of its video, and gives its id.
func (w *world) sample(seed uint64) string {
	w.Helper()
	sidecar := storetest.PutSample(w, w.store, sampling, prompt, seed)
	w.put(contract.TrackFileKey(contract.TrackKey(sidecar.Video.Digest, detector, prompt.Subject, prompt.Object)), "tracks")
	return sidecar.SampleID
}

// run writes what the stages of a run leave: prompts, an index of the samples, an adapter.
func (w *world) run(uid string, samples ...string) {
	w.Helper()
	dir := "runs/" + uid + "/0001/prepare/0-pod/0/"
	storetest.PutLines(w, w.store, dir+"prompts-train.jsonl", prompt)
	slices.Sort(samples)
	var index []contract.IndexLine
	for _, id := range samples {
		index = append(index, contract.IndexLine{SampleID: id, PromptID: prompt.PromptID})
	}
	storetest.PutLines(w, w.store, dir+"index-train.jsonl", index...)
	w.put("runs/"+uid+"/0001/train/0-pod/0/adapter.safetensors", "weights of "+uid)
}

func (w *world) keys() []string {
	w.Helper()
	keys, err := w.store.List(w.Context(), "")
	if err != nil {
		w.Fatal(err)
	}
	return keys
}

// collect runs at a time when everything is old.
func (w *world) collect(roots Roots) *Result {
	w.Helper()
	return w.collectAt(later, roots)
}

func (w *world) collectAt(now time.Time, roots Roots) *Result {
	w.Helper()
	roots.Detectors = append(roots.Detectors, detector)
	result, err := Run(w.Context(), w.store, Question{Roots: roots, MinAgeSeconds: int64(week.Seconds()), Delete: true}, now, w.Logf)
	if err != nil {
		w.Fatal(err)
	}
	return result
}

func garbage(r *Result) map[string]int64 {
	files := map[string]int64{}
	for _, k := range r.Kinds {
		files[k.Kind] = k.Garbage.Files
	}
	return files
}

// TestStores runs what matters most on a folder and on a real S3 server.
func TestStores(t *testing.T) {
	server := s3test.Start(t)
	for name, url := range map[string]string{"folder": "file://" + t.TempDir(), "s3": server.URL("team")} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, url)
			kept, lost, both := w.sample(1), w.sample(2), w.sample(3)
			w.run("living", kept, both)
			spared := w.keys()
			spared = slices.DeleteFunc(spared, func(key string) bool { return strings.Contains(key, lost) })
			w.run("deleted", lost, both)
			mine := w.put("my/prompts.jsonl", "mine")
			raced := w.put(contract.SampleFileKey(kept, "pod-2", "video.gif"), "another pod's")
			all := w.keys()

			roots := Roots{UIDs: []string{"living"}, Detectors: []contract.Detector{detector}}
			dry, err := Run(t.Context(), w.store, Question{Roots: roots, MinAgeSeconds: int64(week.Seconds())}, later, t.Logf)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]int64{KindRun: 3, KindSample: 3, KindLeftover: 1, KindTrack: 1}
			if diff := cmp.Diff(want, garbage(dry)); diff != "" || dry.Deleted {
				t.Errorf("garbage of a dry run (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(all, w.keys()); diff != "" {
				t.Errorf("a dry run changed the store (-before +after):\n%s", diff)
			}

			done := w.collect(roots)
			if diff := cmp.Diff(want, garbage(done)); diff != "" || !done.Deleted {
				t.Errorf("garbage (-want +got):\n%s", diff)
			}
			left := w.keys()
			for _, key := range spared {
				track := strings.HasPrefix(key, "tracks/")
				if !track && !slices.Contains(left, key) {
					t.Errorf("%s is gone", key)
				}
			}
			if !slices.Contains(left, mine.Key) || slices.Contains(left, raced.Key) {
				t.Errorf("left: %q", left)
			}
			if again := w.collect(roots); garbage(again)[KindSample]+garbage(again)[KindTrack]+garbage(again)[KindRun]+garbage(again)[KindLeftover] != 0 {
				t.Errorf("a second time there is garbage: %v", garbage(again))
			}
		})
	}
}

// TestAge: what is younger than the minimum age stays, with all that belongs to it; a run that nobody
// knows yet but has written lately is a living one.
func TestAge(t *testing.T) {
	w := newWorld(t, "file://"+t.TempDir())
	sample := w.sample(1)
	w.run("unknown", sample)
	before := w.keys()
	result := w.collectAt(time.Now(), Roots{})
	if diff := cmp.Diff(before, w.keys()); diff != "" {
		t.Errorf("young files (-before +after):\n%s", diff)
	}
	if k := result.Kinds[1]; k.Kept.Files != 3 {
		t.Errorf("its sample is in use: %+v", k)
	}
	if w.collect(Roots{}); len(w.keys()) != 0 {
		t.Errorf("left when old: %q", w.keys())
	}
}

// TestRootsElsewhere: what living objects name of a deleted run stays, and what that names in turn.
func TestRootsElsewhere(t *testing.T) {
	for name, c := range map[string]struct {
		root func(w *world, sample string) contract.Artifact
		kept []string // parts of keys
	}{
		"an adapter": {func(*world, string) contract.Artifact {
			return contract.Artifact{Key: "runs/deleted/0001/train/0-pod/0/adapter.safetensors"}
		}, []string{"adapter.safetensors"}},
		"pairs": {func(w *world, sample string) contract.Artifact {
			return storetest.PutLines(w, w.store, "runs/deleted/0001/pair/0-pod/0/pairs.jsonl", contract.PairLine{PromptID: "a", Winner: sample, Loser: "gone", WinnerScore: 1})
		}, []string{"pairs.jsonl", "sample.json", "video.gif", "latent.bin"}},
		"a user's own index, with a mark and another name": {func(w *world, sample string) contract.Artifact {
			line, _ := json.Marshal(contract.IndexLine{SampleID: sample, PromptID: "a"})
			return w.put("my/set.jsonl", "\ufeff"+string(line)+"\n")
		}, []string{"my/set.jsonl", "sample.json", "video.gif", "latent.bin"}},
		"a lineage": {func(w *world, sample string) contract.Artifact {
			pairs := storetest.PutLines(w, w.store, "runs/deleted/0001/pair/0-pod/0/pairs.jsonl", contract.PairLine{PromptID: "a", Winner: sample, Loser: "gone", WinnerScore: 1})
			record := contract.LineageRecord{ContractVersion: contract.Version, Spec: json.RawMessage("{}"), Runtime: json.RawMessage("{}"),
				Artifacts: map[string]contract.Artifact{"pairs": pairs}}
			first := storetest.PutLines(w, w.store, "runs/deleted/0001/lineage/0-pod/0/lineage.json", record)
			record.Artifacts, record.Previous = nil, &first
			return storetest.PutLines(w, w.store, "runs/deleted/0002/lineage/0-pod/0/lineage.json", record)
		}, []string{"0001/lineage/0-pod/0/lineage.json", "0002/lineage/0-pod/0/lineage.json", "pairs.jsonl", "sample.json", "video.gif", "latent.bin"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "file://"+t.TempDir())
			sample := w.sample(1)
			w.run("deleted", sample)
			w.collect(Roots{Artifacts: []contract.Artifact{c.root(w, sample)}})
			left := w.keys()
			for _, part := range c.kept {
				if !slices.ContainsFunc(left, func(key string) bool { return strings.HasSuffix(key, part) }) {
					t.Errorf("%s is gone", part)
				}
			}
			if len(left) != len(c.kept) {
				t.Errorf("left: %q, want %q alone", left, c.kept)
			}
		})
	}
}

// TestNothingIsDeletedBlindly: a root that cannot be read stops everything; one that is gone names nothing.
func TestNothingIsDeletedBlindly(t *testing.T) {
	w := newWorld(t, "file://"+t.TempDir())
	w.run("living", w.sample(1))
	w.run("deleted", w.sample(2))
	roots := Roots{UIDs: []string{"living"}, Artifacts: []contract.Artifact{{Key: "my/gone.jsonl"}}}
	w.put("runs/living/0001/score/0-pod/0/scores.jsonl", "{damaged")
	before := w.keys()
	_, err := Run(t.Context(), w.store, Question{Roots: roots, MinAgeSeconds: 1, Delete: true}, later, t.Logf)
	if err == nil || !strings.Contains(err.Error(), "a root could not be read") || !strings.Contains(err.Error(), "scores.jsonl:1") {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff(before, w.keys()); diff != "" {
		t.Errorf("deleted all the same (-before +after):\n%s", diff)
	}
	w.put("runs/living/0001/score/0-pod/0/scores.jsonl", "")
	if result := w.collect(roots); !slices.Equal(result.Gone, []string{"my/gone.jsonl"}) || garbage(result)[KindRun] != 3 {
		t.Errorf("%+v", result)
	}
	if _, err := Run(t.Context(), w.store, Question{MinAgeSeconds: -1}, later, t.Logf); err == nil {
		t.Error("a negative age was accepted")
	}
	for _, question := range []string{"", "{}x", `{"magic":1}`} {
		if _, err := Answer(t.Context(), w.store, []byte(question), t.Logf); err == nil {
			t.Errorf("question %q was accepted", question)
		}
	}
}

// TestDamagedSidecar: what lies beside a damaged sidecar in use stays, as the sample may be mended.
func TestDamagedSidecar(t *testing.T) {
	w := newWorld(t, "file://"+t.TempDir())
	sample := w.sample(1)
	w.run("living", sample)
	w.put(contract.SidecarKey(sample), "{damaged")
	w.collect(Roots{UIDs: []string{"living"}})
	for _, name := range []string{"video.gif", "latent.bin"} {
		if !slices.Contains(w.keys(), contract.SampleFileKey(sample, "pod-1", name)) {
			t.Errorf("%s is gone", name)
		}
	}
}

// TestInUseStays: whichever runs live and whatever samples they share, all that they need is left, whole,
// and nothing else.
func TestInUseStays(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w := newWorld(t, "file://"+t.TempDir())
		ids := make([]string, rapid.IntRange(1, 4).Draw(r, "samples"))
		for i := range ids {
			ids[i] = w.sample(uint64(i))
		}
		needed, roots := map[string]bool{}, Roots{}
		for n := range rapid.IntRange(0, 3).Draw(r, "runs") {
			own := rapid.SliceOfNDistinct(rapid.SampledFrom(ids), 0, len(ids), rapid.ID[string]).Draw(r, "own")
			uid := fmt.Sprint("uid-", n)
			w.run(uid, own...)
			if rapid.Bool().Draw(r, "lives") {
				roots.UIDs = append(roots.UIDs, uid)
				for _, id := range own {
					needed[id] = true
				}
			}
		}
		w.collect(roots)
		left, tracks, runs := map[string]bool{}, 0, map[string]bool{}
		for _, key := range w.keys() {
			switch {
			case strings.HasPrefix(key, samplesPlace):
				left[sampleID(key)] = true
			case strings.HasPrefix(key, tracksPlace):
				tracks++
			default:
				runs[owner(key)] = true
			}
		}
		if diff := cmp.Diff(needed, left); diff != "" {
			r.Fatalf("samples (-needed +left):\n%s", diff)
		}
		if tracks != len(needed) || len(runs) != len(roots.UIDs) {
			r.Fatalf("%d tracks of %d samples, %v of %v runs", tracks, len(needed), runs, roots.UIDs)
		}
		for id := range needed {
			sidecar, err := stage.ReadSidecar(t.Context(), w.store, id)
			if err != nil {
				r.Fatal(err)
			}
			for _, f := range []contract.File{sidecar.Video, *sidecar.Latent} {
				if err := w.store.Verify(t.Context(), f); err != nil {
					r.Fatal(err)
				}
			}
		}
	})
}

// TestLateComers: a sample that comes into use while the garbage is listed is spared.
func TestLateComers(t *testing.T) {
	w := newWorld(t, "file://"+t.TempDir())
	sample, lost := w.sample(1), w.sample(2)
	roots, late := Roots{UIDs: []string{"late"}, Detectors: []contract.Detector{detector}}, false
	result, err := Run(t.Context(), w.store, Question{Roots: roots, Delete: true}, later, func(string, ...any) {
		if late {
			w.run("late", sample) // once the marks are made
		}
		late = true
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stage.ReadSidecar(t.Context(), w.store, sample); err != nil {
		t.Error(err)
	}
	if _, err := stage.ReadSidecar(t.Context(), w.store, lost); err == nil {
		t.Error("the other sample is still there")
	}
	if k := result.Kinds[1]; k.Kept.Files != 3 || k.Garbage.Files != 3 {
		t.Errorf("%+v", k)
	}
}
