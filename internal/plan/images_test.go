package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// TestLineageImages: a record names what every stage ran, those of the batches and of the baseline among them.
func TestLineageImages(t *testing.T) {
	w := newWorld(t, rising)
	ran := func(k int32, stage v1alpha1.StageName, image, tracked string) {
		w.until(k, stage)
		c := w.child(stage)
		w.succeed(c)
		c.Outcome.Image, c.Outcome.TrackImage = image, tracked
		w.step()
	}
	ran(0, v1alpha1.StagePrepare, "operator@sha256:1", "")
	ran(1, v1alpha1.StageScore, "operator@sha256:2", "runtime@sha256:3")
	ran(1, v1alpha1.StagePair, "operator@sha256:4", "")
	ran(1, v1alpha1.StageTrain, "runtime@sha256:5", "")
	w.until(1, v1alpha1.StageLineage)
	if diff := cmp.Diff(map[string]string{
		"Baseline/Prepare": "operator@sha256:1", "Score": "operator@sha256:2", "Score/Track": "runtime@sha256:3", "Pair": "operator@sha256:4", "Train": "runtime@sha256:5",
	}, specOf(t, w.child(v1alpha1.StageLineage)).Lineage.Record.Images); diff != "" {
		t.Errorf("images of iteration 1 (-want +got):\n%s", diff)
	}
	w.until(2, v1alpha1.StageLineage)
	if images := specOf(t, w.child(v1alpha1.StageLineage)).Lineage.Record.Images; len(images) != 0 {
		t.Errorf("images of iteration 2 are %v, nobody told of any", images)
	}
	for _, rec := range w.run.Status.Iterations[1].Stages {
		if rec.Image+rec.TrackImage != "" {
			t.Errorf("%s: the images stay in status when the lineage has them", rec.Name)
		}
	}
}
