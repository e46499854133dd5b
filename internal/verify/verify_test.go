package verify

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/artifact/storetest"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/lineage"
)

var (
	sampling = contract.Sampling{Model: contract.Model{Name: "m", Digest: contract.Digest([]byte("m"))}, NumericsRevision: "1", Steps: 4}
	prompt   = contract.PromptLine{PromptID: "a", Type: "LR", Subject: "cat", Object: "box", Scene: "In a room,", Prompt: "a cat left of a box, then right"}
)

// world is the store of a run of one iteration: two training samples, their pair, and an evaluation of
// which one sample is missing.
type world struct {
	*testing.T
	dir     string
	store   *artifact.Store
	run     *v1alpha1.AlignmentRun
	samples []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	store, err := artifact.Open(t.Context(), "file://"+dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	w := &world{T: t, dir: dir, store: store}
	w.samples = []string{w.sample(1), w.sample(2), w.sample(3)}
	prompts := storetest.PutLines(w, w.store, "runs/u/0/prompts-train.jsonl", prompt)
	pairs := storetest.PutLines(w, w.store, "runs/u/1/pairs.jsonl", contract.PairLine{PromptID: "a", Iteration: 1, Winner: w.samples[0], Loser: w.samples[1], WinnerScore: 0.9, LoserScore: 0.1})
	adapter := w.put("runs/u/1/adapter.safetensors", "weights")
	score := 0.9
	scores := storetest.PutLines(w, w.store, "runs/u/1/scores.jsonl",
		contract.ScoreLine{SampleID: w.samples[2], PromptID: "a", Seed: 3, Status: contract.StatusScored, Score: &score, Terms: &contract.Terms{}, UsableFrames: 24},
		contract.ScoreLine{SampleID: strings.Repeat("0", 64), PromptID: "a", Seed: 4, Status: contract.StatusMissing},
	)
	record := w.record(nil, map[string]contract.Artifact{"adapter": adapter, "pairs": pairs, "scores/0": scores})
	w.run = &v1alpha1.AlignmentRun{
		ObjectMeta: metav1.ObjectMeta{Name: "first-run"},
		Status: v1alpha1.AlignmentRunStatus{
			Runtime: &v1alpha1.RuntimeSnapshot{},
			Prompts: &v1alpha1.ResolvedPrompts{Train: v1alpha1.ResolvedPromptSet{Key: v1alpha1.ArtifactKey(prompts.Key), Digest: v1alpha1.Digest(prompts.Digest)}},
			Best:    &v1alpha1.BestAdapter{Adapter: reference(adapter)},
			Iterations: []v1alpha1.IterationStatus{{
				Iteration: new(int32(1)), Adapter: reference(adapter), Evaluation: &v1alpha1.ScoreSummary{Scores: reference(scores)}, Lineage: reference(record),
			}},
		},
	}
	return w
}

func reference(a contract.Artifact) *v1alpha1.ArtifactReference {
	return &v1alpha1.ArtifactReference{Key: v1alpha1.ArtifactKey(a.Key), Digest: v1alpha1.Digest(a.Digest)}
}

func (w *world) put(key, data string) contract.Artifact {
	w.Helper()
	return storetest.Put(w, w.store, key, data)
}

func (w *world) record(previous *contract.Artifact, artifacts map[string]contract.Artifact) contract.Artifact {
	w.Helper()
	data, err := lineage.Encode(&contract.LineageRecord{
		ContractVersion: contract.Version, Spec: json.RawMessage("{}"), Runtime: json.RawMessage("{}"), Artifacts: artifacts, Previous: previous,
	})
	if err != nil {
		w.Fatal(err)
	}
	return w.put("runs/u/1/lineage.json", string(data))
}

// sample stores a sample with a latent.
func (w *world) sample(seed uint64) string {
	w.Helper()
	return storetest.PutSample(w, w.store, sampling, prompt, seed).SampleID
}

func (w *world) check() *Result {
	w.Helper()
	question, err := QuestionOf(w.run)
	if err != nil {
		w.Fatal(err)
	}
	data, err := json.Marshal(question)
	if err != nil {
		w.Fatal(err)
	}
	answer, err := Answer(w.Context(), w.store, data, w.Logf)
	if err != nil {
		w.Fatal(err)
	}
	var result Result
	if err := json.Unmarshal(answer, &result); err != nil {
		w.Fatal(err)
	}
	return &result
}

// TestWhole: everything is counted once, however often it is named.
func TestWhole(t *testing.T) {
	result := newWorld(t).check()
	if diff := cmp.Diff([]Kind{
		{"adapter", 1, 0}, {"latent", 3, 0}, {"lineage", 1, 0}, {"pairs", 1, 0}, {"prompts", 1, 0}, {"sample", 3, 0}, {"scores", 1, 0}, {"video", 3, 0},
	}, result.Kinds); diff != "" || len(result.Defects) != 0 {
		t.Errorf("kinds (-want +got):\n%s%v", diff, result.Defects)
	}
}

// TestDefects: whatever is damaged is found, with its key and what is wrong, and the rest is checked all
// the same.
func TestDefects(t *testing.T) {
	const notTheSame = "the file is truncated or was changed"
	for name, c := range map[string]struct {
		damage func(w *world)
		want   []string
	}{
		"an adapter that was changed": {func(w *world) { w.put("runs/u/1/adapter.safetensors", "others!") },
			[]string{"adapter runs/u/1/adapter.safetensors: " + notTheSame}},
		"pairs that are gone": {func(w *world) { w.remove("runs/u/1/pairs.jsonl") },
			[]string{"pairs runs/u/1/pairs.jsonl: missing"}},
		"a video that was cut": {func(w *world) { w.put(contract.SampleFileKey(w.samples[0], "pod-1", "video.gif"), "video") },
			[]string{"video VIDEO0: 5 bytes, not 10: " + notTheSame}},
		"a latent with one other byte": {func(w *world) { w.put(contract.SampleFileKey(w.samples[1], "pod-1", "latent.bin"), "latent.bim2") },
			[]string{"latent LATENT1: " + notTheSame}},
		"a sidecar that is gone": {func(w *world) { w.remove(contract.SidecarKey(w.samples[2])) },
			[]string{"sample SIDECAR2: missing"}},
		"a sidecar of another sample": {func(w *world) {
			data, _ := os.ReadFile(w.path(contract.SidecarKey(w.samples[1])))
			w.put(contract.SidecarKey(w.samples[0]), string(data))
		}, []string{"sample SIDECAR0: it is of sample"}},
		"a sidecar that tells of another model": {func(w *world) {
			data, _ := os.ReadFile(w.path(contract.SidecarKey(w.samples[0])))
			w.put(contract.SidecarKey(w.samples[0]), strings.Replace(string(data), `"steps":4`, `"steps":5`, 1))
		}, []string{"sample SIDECAR0: model, adapter, settings, prompt and seed of the sidecar do not make the sample's id"}},
		"scores that are no scores": {func(w *world) {
			w.run.Status.Iterations[0].Evaluation.Scores = reference(w.put("runs/u/2/scores.jsonl", "{}"))
		}, []string{"scores runs/u/2/scores.jsonl: "}},
		"a lineage that is damaged": {func(w *world) { w.put("runs/u/1/lineage.json", "{}") },
			[]string{"lineage runs/u/1/lineage.json: " + notTheSame}},
		"a lineage whose predecessor is gone": {func(w *world) {
			gone := contract.Artifact{Key: "runs/u/0/lineage.json", Digest: contract.Digest(nil)}
			w.run.Status.Iterations[0].Lineage = reference(w.record(&gone, nil))
		}, []string{"lineage runs/u/0/lineage.json: missing"}},
		"two at once": {func(w *world) {
			w.remove("runs/u/1/pairs.jsonl")
			w.remove("runs/u/1/adapter.safetensors")
		}, []string{"adapter runs/u/1/adapter.safetensors: missing", "pairs runs/u/1/pairs.jsonl: missing"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.damage(w)
			result := w.check()
			if len(result.Defects) != len(c.want) {
				t.Fatalf("defects %v, want %q", result.Defects, c.want)
			}
			for i, want := range c.want {
				for k, id := range w.samples {
					want = strings.NewReplacer(
						fmt.Sprint("VIDEO", k), contract.SampleFileKey(id, "pod-1", "video.gif"),
						fmt.Sprint("LATENT", k), contract.SampleFileKey(id, "pod-1", "latent.bin"),
						fmt.Sprint("SIDECAR", k), contract.SidecarKey(id),
					).Replace(want)
				}
				place, problem, _ := strings.Cut(want, ": ")
				d := result.Defects[i]
				if got := d.Kind + " " + d.Key; got != place || !strings.Contains(d.Problem, problem) {
					t.Errorf("defect %d is %q: %q, want %q", i, got, d.Problem, want)
				}
			}
		})
	}
}

func (w *world) path(key string) string { return filepath.Join(w.dir, filepath.FromSlash(key)) }

func (w *world) remove(key string) {
	w.Helper()
	if err := os.Remove(w.path(key)); err != nil {
		w.Fatal(err)
	}
}

// TestQuestionsThatAreNone are refused.
func TestQuestionsThatAreNone(t *testing.T) {
	w := newWorld(t)
	for _, question := range []string{"", "{}x", `{"magic":1}`} {
		if _, err := Answer(t.Context(), w.store, []byte(question), t.Logf); err == nil {
			t.Errorf("question %q was accepted", question)
		}
	}
}

// TestUnrecorded: of the iterations of a run that has ended, those without a lineage are named, and why they have none.
func TestUnrecorded(t *testing.T) {
	stage := func(state v1alpha1.StageState, message string) []v1alpha1.StageStatus {
		return []v1alpha1.StageStatus{{Name: v1alpha1.StageTrain, State: v1alpha1.StageStopped}, {Name: v1alpha1.StageLineage, State: state, Message: message}}
	}
	run := &v1alpha1.AlignmentRun{Status: v1alpha1.AlignmentRunStatus{Iterations: []v1alpha1.IterationStatus{
		{Iteration: new(int32(0))}, {Iteration: new(int32(1)), Lineage: &v1alpha1.ArtifactReference{}},
		{Iteration: new(int32(2)), Stages: stage(v1alpha1.StageFailed, "Storage: access denied")},
		{Iteration: new(int32(3)), Stages: stage(v1alpha1.StageRunning, "")}, {Iteration: new(int32(4))},
	}}}
	if got := Unrecorded(run); got != nil {
		t.Errorf("of a run that goes on: %q", got)
	}
	run.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionFailed, Status: metav1.ConditionTrue}}
	want := []string{
		"iteration 2 has no lineage: its stage is Failed: Storage: access denied", "iteration 3 has no lineage: it is being written",
		"iteration 4 has no lineage: the run ended before its samples were complete, or with an operator that did not write one then; what it made stands in status",
	}
	if diff := cmp.Diff(want, Unrecorded(run)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
