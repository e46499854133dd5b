package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"maps"
	"math"
	"slices"
	"strconv"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/contract"
)

// world is a run that never was, with the store that it would have left behind.
type world struct {
	t     *testing.T
	dir   string
	store *artifact.Store
	run   *v1alpha1.AlignmentRun
	// train and evaluation prompts.
	train, evaluation []contract.PromptLine
	seeds             int // per prompt
	video             image.Point
	frames            int
}

var begin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(seconds int) *metav1.Time {
	t := metav1.NewTime(begin.Add(time.Duration(seconds) * time.Second))
	return &t
}

// newWorld has the given iterations, all evaluated, in a folder; the third one's adapter is worse than the second's.
func newWorld(t *testing.T, iterations int) *world {
	t.Helper()
	dir := t.TempDir()
	w := newWorldIn(t, "file://"+dir, iterations)
	w.dir = dir
	return w
}

// newWorldIn has its store at a URL.
func newWorldIn(t *testing.T, url string, iterations int) *world {
	t.Helper()
	w := &world{t: t, seeds: 4, video: image.Pt(8, 6), frames: 2}
	var err error
	if w.store, err = artifact.Open(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.store.Close() })
	for i, relation := range []string{"LR", "LT", "RL", "RT", "TL", "TR"} {
		w.train = append(w.train, prompt("train", i, relation, []string{"cat", "dog"}[i%2], "stone"))
		w.evaluation = append(w.evaluation, prompt("eval", i, relation, []string{"cat", "goat"}[i/3], "stone"))
	}
	w.run = &v1alpha1.AlignmentRun{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "first-run", UID: "run-uid"},
		Spec: v1alpha1.AlignmentRunSpec{
			RuntimeRef: v1alpha1.RuntimeReference{Name: "synthetic"}, Iterations: int32(iterations),
			Sampling:   &v1alpha1.SamplingSpec{Seed: new(int64(1))},
			Pairing:    &v1alpha1.RunPairingSpec{PairingRules: v1alpha1.PairingRules{WinnerThreshold: "0.7", LoserThreshold: "0.7"}},
			Evaluation: &v1alpha1.EvaluationSpec{Seed: new(int64(0)), HeadlineThreshold: "0.7"},
		},
		Status: v1alpha1.AlignmentRunStatus{
			Phase: v1alpha1.PhaseSucceeded, StartTime: at(0), CompletionTime: at(50 * (iterations + 1)),
			Conditions: []metav1.Condition{{
				Type: v1alpha1.ConditionComplete, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonIterationsCompleted, Message: fmt.Sprintf("All %d iterations are evaluated.", iterations),
			}},
			Runtime: &v1alpha1.RuntimeSnapshot{Spec: v1alpha1.AlignmentRuntimeSpec{
				Model:    v1alpha1.ModelSpec{Name: "synthetic-base", Digest: v1alpha1.Digest(contract.Digest([]byte("model")))},
				Detector: v1alpha1.DetectorSpec{Name: "class-colours"},
			}},
		},
	}
	return w
}

// fill the store and the status.
func (w *world) fill() {
	iterations := int(w.run.Spec.Iterations)
	train, evaluation := w.lines("prompts/train.jsonl", w.train), w.lines("prompts/evaluation.jsonl", w.evaluation)
	w.run.Status.Prompts = &v1alpha1.ResolvedPrompts{
		Train:      v1alpha1.ResolvedPromptSet{Key: train.Key, Digest: train.Digest, Count: int64(len(w.train))},
		Evaluation: v1alpha1.ResolvedPromptSet{Key: evaluation.Key, Digest: evaluation.Digest, Count: int64(len(w.evaluation))},
	}
	shift := []float64{0, 0.16, 0.3, 0.24}
	best := float64(-1)
	for n := range iterations + 1 {
		it := v1alpha1.IterationStatus{Iteration: new(int32(n)), StartTime: at(50 * n), CompletionTime: at(50*n + 47)}
		if n > 0 {
			w.trained(&it, n, shift[n-1])
		}
		it.Evaluation = w.scored(fmt.Sprintf("runs/first-run/%d/evaluation", n), n, w.evaluation, shift[n], nil)
		accuracy, _ := summary(it.Evaluation, nil).At("0.7")
		if n > 0 {
			accepted := accuracy > best
			it.Decision = &v1alpha1.Decision{Accepted: &accepted, Message: fmt.Sprintf("Acc@0.7 is %.3f, the best one's %.3f; a gain of 0 is asked for.", accuracy, best)}
		}
		if accuracy > best {
			best = accuracy
			w.run.Status.Best = &v1alpha1.BestAdapter{Iteration: new(int32(n)), Accuracy: v1alpha1.Fraction(strconv.FormatFloat(accuracy, 'f', 6, 64)), Adapter: it.Adapter}
		}
		w.run.Status.Iterations = append(w.run.Status.Iterations, it)
	}
}

func prompt(set string, i int, relation, subject, object string) contract.PromptLine {
	return contract.PromptLine{
		PromptID: fmt.Sprintf("%s-%02d", set, i), Type: relation, Subject: subject, Object: object,
		Prompt: fmt.Sprintf("On a meadow, a %s is on the %s of a %s, then it moves to the %s of the %s.", subject, relationNames[relation[0]], object, relationNames[relation[1]], object),
	}
}

func (w *world) trained(it *v1alpha1.IterationStatus, n int, shift float64) {
	var pairs []contract.PairLine
	it.Samples = w.scored(fmt.Sprintf("runs/first-run/%d/samples", n), n, w.train, shift, &pairs)
	file := w.lines(fmt.Sprintf("runs/first-run/%d/pairs.jsonl", n), pairs)
	it.Pairs = &v1alpha1.PairSummary{
		Pairs: new(int64(len(pairs))), UsablePrompts: new(int64(6)), Winners: new(int64(11)), Losers: new(int64(12)), Invalid: new(int64(1)), Artifact: &file,
	}
	var course bytes.Buffer
	for step := 1; step <= 120; step++ {
		loss := 0.69*math.Exp(-float64(step)/90) + 0.02*draw("loss", n, step)
		fmt.Fprintf(&course, `{"step":%d,"loss":%.4f,"margin":"%.4f"}`+"\n", step, loss, 2*(0.7-loss))
	}
	dir := fmt.Sprintf("runs/first-run/%d/train/0-pod/0", n)
	metrics := w.write(dir+"/metrics.jsonl", course.Bytes())
	adapter := w.write(dir+"/adapter.safetensors", fmt.Appendf(nil, "adapter %d", n))
	manifest, err := json.Marshal(contract.Manifest{
		ContractVersion: contract.Version, Stage: contract.Train, SpecDigest: contract.Digest(nil), PodUID: "pod", Shards: 1,
		Outputs: map[string]contract.Artifact{"adapter": *artifactOf(&adapter), "metrics": *artifactOf(&metrics)}, Files: []contract.File{},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.write(dir+"/manifest.json", manifest)
	it.Adapter = &adapter
	it.Training = []v1alpha1.NamedMetric{{Name: "loss", Value: "0.18"}}
}

// scored writes samples and their scores, and collects pairs where they are asked for.
func (w *world) scored(prefix string, n int, prompts []contract.PromptLine, shift float64, pairs *[]contract.PairLine) *v1alpha1.ScoreSummary {
	var lines []contract.ScoreLine
	var winners, losers []contract.ScoreLine
	reached := make([]int, 10)
	s := &v1alpha1.ScoreSummary{Missing: new(int64(0)), Guards: []v1alpha1.NamedMetric{{Name: "subjectJump", Value: "0.31"}, {Name: "validFraction", Value: "0.96"}}}
	sum, invalid := 0.0, 0
	for _, p := range prompts {
		winners, losers = nil, nil
		for seed := range w.seeds {
			id := fmt.Sprintf("%x", contract.Hash64(prefix, p.PromptID, fmt.Sprint(seed)))
			line := contract.ScoreLine{SampleID: id, PromptID: p.PromptID, Seed: uint64(seed), Status: contract.StatusScored, UsableFrames: 24}
			value := 0.5 + shift + 0.9*(draw(p.PromptID, n, seed)-0.5)
			value = math.Round(min(max(value, 0), 1)*1e4) / 1e4
			if draw("invalid"+p.PromptID, n, seed) < 0.05 {
				line.Status, line.Reason = contract.StatusInvalid, contract.ReasonNoStableRun
				invalid++
			} else {
				line.Score = &value
				line.Terms = &contract.Terms{Initial: value, Final: value}
				sum += value
				for tenth := range reached {
					if value >= float64(tenth)/10 {
						reached[tenth]++
					}
				}
				if value >= 0.7 {
					winners = append(winners, line)
				} else {
					losers = append(losers, line)
				}
			}
			w.sample(id, p, uint64(seed), value)
			lines = append(lines, line)
		}
		for i := range min(len(winners), len(losers)) {
			if pairs != nil {
				*pairs = append(*pairs, contract.PairLine{
					PromptID: p.PromptID, Iteration: n, Winner: winners[i].SampleID, Loser: losers[i].SampleID,
					WinnerScore: *winners[i].Score, LoserScore: *losers[i].Score,
				})
			}
		}
	}
	total := len(lines)
	s.Total, s.Scored, s.Invalid = new(int64(total)), new(int64(total-invalid)), new(int64(invalid))
	s.MeanScore = v1alpha1.Fraction(fmt.Sprintf("%.3f", sum/float64(total-invalid)))
	for tenth, count := range reached {
		s.Accuracy = append(s.Accuracy, v1alpha1.AccuracyAt{
			Threshold: v1alpha1.Fraction(fmt.Sprintf("%.1f", float64(tenth)/10)), Value: v1alpha1.Fraction(fmt.Sprintf("%.6f", float64(count)/float64(total))),
		})
	}
	slices.SortFunc(lines, func(a, b contract.ScoreLine) int { return bytes.Compare([]byte(a.SampleID), []byte(b.SampleID)) })
	file := w.lines(prefix+"/scores.jsonl", lines)
	s.Scores = &file
	return s
}

// draw is a number in [0,1) that depends on its arguments alone.
func draw(what string, n, i int) float64 {
	return float64(contract.Hash64(what, fmt.Sprint(n), fmt.Sprint(i))>>11) / (1 << 53)
}

// sample writes a video, in which a square moves as far as its score is high, and the sidecar.
func (w *world) sample(id string, p contract.PromptLine, seed uint64, score float64) {
	palette := color.Palette{color.RGBA{0x9c, 0xc2, 0x7a, 0xff}, color.RGBA{0x7d, 0x7d, 0x85, 0xff}, color.RGBA{0xd9, 0x8a, 0x3a, 0xff}}
	g := gif.GIF{}
	side := w.video.Y / 4
	for frame := range w.frames {
		picture := image.NewPaletted(image.Rectangle{Max: w.video}, palette)
		square(picture, w.video.X/2, w.video.Y/2, side, 1)
		way := float64(frame) / float64(max(w.frames-1, 1)) * score
		square(picture, side+int(way*float64(w.video.X-2*side)), w.video.Y/2, side, 2)
		g.Image, g.Delay = append(g.Image, picture), append(g.Delay, 8)
	}
	var data bytes.Buffer
	if err := gif.EncodeAll(&data, &g); err != nil {
		w.t.Fatal(err)
	}
	video := w.write(contract.SampleFileKey(id, "pod", "video.gif"), data.Bytes())
	sidecar, err := json.Marshal(contract.Sidecar{
		SampleID: id, PromptID: p.PromptID, Seed: seed, Width: w.video.X, Height: w.video.Y, FrameCount: w.frames,
		Video: contract.File{Key: string(video.Key), Size: int64(data.Len()), Digest: string(video.Digest)},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.write(contract.SidecarKey(id), sidecar)
}

func square(picture *image.Paletted, x, y, side int, c uint8) {
	for dx := range side {
		for dy := range side {
			picture.SetColorIndex(x-side/2+dx, y-side/2+dy, c)
		}
	}
}

func (w *world) write(key string, data []byte) v1alpha1.ArtifactReference {
	file, err := w.store.Write(w.t.Context(), key, bytes.NewReader(data))
	if err != nil {
		w.t.Fatal(err)
	}
	return v1alpha1.ArtifactReference{Key: v1alpha1.ArtifactKey(file.Key), Digest: v1alpha1.Digest(file.Digest)}
}

// lines writes anything as JSONL.
func (w *world) lines(key string, lines any) v1alpha1.ArtifactReference {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	var err error
	switch lines := lines.(type) {
	case []contract.PromptLine:
		for _, line := range lines {
			err = encoder.Encode(line)
		}
	case []contract.ScoreLine:
		for _, line := range lines {
			err = encoder.Encode(line)
		}
	case []contract.PairLine:
		for _, line := range lines {
			err = encoder.Encode(line)
		}
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return w.write(key, b.Bytes())
}

// remove a file of the store.
func (w *world) remove(key v1alpha1.ArtifactKey) {
	if err := w.store.Delete(w.t.Context(), string(key)); err != nil {
		w.t.Fatal(err)
	}
}

// report goes all the way of kubectl align report: question, answer, bundle, compose, render.
func (w *world) report() map[string][]byte {
	w.t.Helper()
	question, err := json.Marshal(PlanOf(w.run))
	if err != nil {
		w.t.Fatal(err)
	}
	answer, err := Answer(w.t.Context(), w.store, question, w.t.Logf)
	if err != nil {
		w.t.Fatal(err)
	}
	received, err := ReadBundle(bytes.NewReader(answer))
	if err != nil {
		w.t.Fatal(err)
	}
	files, err := Render(Compose(w.run, received.Findings, begin.Add(time.Hour)), received.Videos)
	if err != nil {
		w.t.Fatal(err)
	}
	return files
}

func names(files map[string][]byte) []string { return slices.Sorted(maps.Keys(files)) }
