package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"image"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/artifact/s3test"
	"github.com/spatialalign/operator/internal/golden"
)

func TestReport(t *testing.T) {
	w := newWorld(t, 3)
	w.fill()
	files := w.report()
	for _, name := range []string{"index.html", "accuracy.svg", "report.json"} {
		golden.Check(t, name, string(files[name]))
	}
	videos := 0
	for name := range files {
		if strings.HasPrefix(name, "videos/") && strings.HasSuffix(name, ".gif") {
			videos++
		}
	}
	if embedded := strings.Count(string(files["index.html"]), "data:image/gif;base64,"); videos == 0 || embedded < videos {
		t.Errorf("%d videos as files, %d embedded", videos, embedded)
	}
}

func TestPageStandsAlone(t *testing.T) {
	w := newWorld(t, 2)
	w.fill()
	page := string(w.report()["index.html"])
	for _, outside := range []string{"http://", "https://", "<script", "<link", "url("} {
		if strings.Contains(page, outside) {
			t.Errorf("the page has %q", outside)
		}
	}
}

func TestAccuracyPictureIsXML(t *testing.T) {
	w := newWorld(t, 2)
	w.fill()
	decoder := xml.NewDecoder(strings.NewReader(string(w.report()["accuracy.svg"])))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatUsersWriteIsEscaped(t *testing.T) {
	w := newWorld(t, 1)
	w.evaluation[0].Prompt = `<script>alert("x")</script>`
	w.run.Status.Conditions[0].Message = `<img src=x onerror=alert(1)>`
	w.fill()
	page := string(w.report()["index.html"])
	for _, raw := range []string{`<script>`, `<img src=x`} {
		if strings.Contains(page, raw) {
			t.Errorf("the page has %s", raw)
		}
	}
	if !strings.Contains(page, `&lt;script&gt;`) {
		t.Error("the prompt is not shown")
	}
}

func TestReportShowsWhatExists(t *testing.T) {
	for _, tc := range []struct {
		name     string
		change   func(*world)
		problems []string
		files    []string
	}{
		{"a run that has not begun", func(w *world) { w.run.Status = v1alpha1.AlignmentRunStatus{} }, nil, []string{"index.html", "report.json"}},
		{"scores that were deleted", func(w *world) {
			w.remove(w.run.Status.Iterations[1].Evaluation.Scores.Key)
		}, []string{"iteration 1, evaluation scores: read runs/first-run/1/evaluation/scores.jsonl"}, nil},
		{"scores that were changed", func(w *world) {
			w.write("runs/first-run/0/evaluation/scores.jsonl", []byte("{}\n"))
		}, []string{"iteration 0, evaluation scores: read runs/first-run/0/evaluation/scores.jsonl: its digest is"}, nil},
		{"prompts that were deleted", func(w *world) { w.remove(w.run.Status.Prompts.Train.Key) }, []string{"training prompts: read prompts/train.jsonl"}, nil},
		{"an adapter of another manifest", func(w *world) {
			w.run.Status.Iterations[1].Adapter.Digest = w.run.Status.Prompts.Train.Digest
		}, []string{"iteration 1, training metrics: runs/first-run/1/train/0-pod/0/manifest.json: it is not the manifest of the adapter"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, 1)
			w.fill()
			tc.change(w)
			files := w.report()
			page := string(files["index.html"])
			for _, problem := range tc.problems {
				if !strings.Contains(page, problem) {
					t.Errorf("the page does not say %q", problem)
				}
			}
			if tc.files != nil && !slices.Equal(names(files), tc.files) {
				t.Errorf("files %v, want %v", names(files), tc.files)
			}
		})
	}
}

func TestVideosOfSamplesMayBeGone(t *testing.T) {
	w := newWorld(t, 1)
	w.fill()
	if err := os.RemoveAll(filepath.Join(w.dir, "samples")); err != nil {
		t.Fatal(err)
	}
	files := w.report()
	if page := string(files["index.html"]); !strings.Contains(page, "no video") || !strings.Contains(page, "video of sample") {
		t.Error("the page does not say which videos are missing")
	}
	if len(files) != 3 {
		t.Errorf("files %v", names(files))
	}
}

// TestReportOnS3: the report from a bucket is that from a folder, and says what is missing or changed.
func TestReportOnS3(t *testing.T) {
	server := s3test.Start(t)
	folder, bucket := newWorld(t, 2), newWorldIn(t, server.URL("team"), 2)
	for _, w := range []*world{folder, bucket} {
		w.fill()
	}
	whole := bucket.report()
	if diff := cmp.Diff(folder.report(), whole); diff != "" {
		t.Errorf("(-folder +bucket):\n%s", diff)
	}
	bucket.remove(bucket.run.Status.Iterations[1].Evaluation.Scores.Key)
	bucket.write("runs/first-run/2/evaluation/scores.jsonl", []byte("{}\n"))
	damaged := bucket.report()
	for _, problem := range []string{"read runs/first-run/1/evaluation/scores.jsonl", "read runs/first-run/2/evaluation/scores.jsonl: its digest is"} {
		if bytes.Contains(whole["index.html"], []byte(problem)) || !bytes.Contains(damaged["index.html"], []byte(problem)) {
			t.Errorf("%q is said of a whole store, or not of a damaged one", problem)
		}
	}
}

func TestStoreThatRefusesIsAnError(t *testing.T) {
	w := newWorld(t, 1)
	w.fill()
	closed, err := artifact.Open(t.Context(), "file://"+w.dir)
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	if _, err := Gather(t.Context(), closed, PlanOf(w.run)); err == nil {
		t.Error("a closed store is no error")
	}
}

func TestGalleries(t *testing.T) {
	w := newWorld(t, 3)
	w.fill()
	bundle, err := Gather(t.Context(), w.store, PlanOf(w.run))
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, gallery := range bundle.Findings.Galleries {
		kinds = append(kinds, gallery.Kind+"/"+label(gallery.Iteration))
		for _, row := range gallery.Rows {
			switch {
			case gallery.Kind == BeforeAfter && row.Left.Seed != row.Right.Seed:
				t.Errorf("prompt %s: seeds %d and %d", row.PromptID, row.Left.Seed, row.Right.Seed)
			case gallery.Kind == WinnersLosers && *row.Left.Score < *row.Right.Score:
				t.Errorf("prompt %s: the winner has %v, the loser %v", row.PromptID, *row.Left.Score, *row.Right.Score)
			}
		}
	}
	if want := []string{"BeforeAfter/2", "WinnersLosers/1", "WinnersLosers/3"}; !slices.Equal(kinds, want) {
		t.Errorf("galleries %v, want %v: the best iteration, the first and the last", kinds, want)
	}
	for _, g := range bundle.Findings.Iterations[0].Evaluation.Groups {
		if (g.Name == GroupSeen || g.Name == GroupUnseen) && g.Total != 12 {
			t.Errorf("%s has %d samples: three of the six prompts show a goat, which no training prompt does", g.Name, g.Total)
		}
	}
}

// TestReportOfFullSize has as many prompts as the published sets. REPORT_EXAMPLE names a folder to look at it.
func TestReportOfFullSize(t *testing.T) {
	w := newWorld(t, 3)
	w.seeds, w.video, w.frames = 2, image.Pt(64, 48), 24
	for i := 6; i < 30; i++ {
		relation := []string{"LR", "LT", "RL", "RT", "TL", "TR"}[i%6]
		w.train = append(w.train, prompt("train", i, relation, "rabbit", "tree"))
		w.evaluation = append(w.evaluation, prompt("eval", i, relation, "rabbit", "bench"))
	}
	w.fill()
	dir := os.Getenv("REPORT_EXAMPLE")
	if dir == "" {
		dir = t.TempDir()
	}
	if err := writeFiles(dir, w.report()); err != nil {
		t.Fatal(err)
	}
}
